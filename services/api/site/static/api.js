// The site may be served under a path: the folder that has static/DIGEST/ with this script in it.
export const PREFIX = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

// One request to the API with JSON in and out. Throws an error with the detail of the problem.

const SECONDS_MAX = 20;

export async function call(method, path, body) {
  return (await exchange(method, path, body)).answer;
}

// The same, with additional headers, and with the ETag of the answer. A string is sent unchanged.
export async function exchange(method, path, body, headers = {}, more = {}) {
  const options = { method, headers: { Accept: "application/json", ...headers }, credentials: "same-origin", ...more };
  if (body !== undefined) {
    options.headers["Content-Type"] ??= "application/json";
    options.body = typeof body === "string" ? body : JSON.stringify(body);
  }
  const { response, answer } = await send(path, options);
  if (!response.ok) throw Object.assign(new Error(answer.detail), { status: response.status });
  return { answer, etag: response.headers.get("ETag") };
}

// The answer of the API. What stands between may answer in its place, for example a proxy with a page of its own.
async function send(path, options) {
  try {
    const response = await fetch(PREFIX + path, { ...options, signal: AbortSignal.timeout(SECONDS_MAX * 1000) });
    const text = await response.text();
    const answer = response.status === 204 ? null : JSON.parse(text);
    if (response.ok ? isAnswer(response, answer) : isProblem(answer)) return { response, answer };
  } catch {
    // The network, the time limit, or a body that is not JSON.
  }
  throw new Error("The server did not answer. Try again.");
}

const isAnswer = (response, answer) => response.status === 204 || (typeof answer === "object" && answer !== null);

const isProblem = (answer) => typeof answer?.detail === "string" && String(answer.type).startsWith("urn:shiplog:");

// An optimistic update: a value is shown at once and sent, one request at a time; if one fails, the last
// confirmed value is shown again.
export class OptimisticValue {
  constructor({ confirmed = null, send, show, explain }) {
    Object.assign(this, { confirmed, wanted: confirmed, send, show, explain, busy: false });
  }

  confirm(value) {
    if (this.busy) return;
    this.confirmed = this.wanted = value;
    this.show(value);
  }

  async set(value) {
    this.wanted = value;
    this.show(value);
    this.explain("");
    if (this.busy) return;
    this.busy = true;
    while (this.wanted !== this.confirmed) await this.#attempt(this.wanted);
    this.busy = false;
  }

  async #attempt(value) {
    try {
      this.confirmed = await this.send(value);
      if (this.wanted === value) this.wanted = this.confirmed;
    } catch (problem) {
      this.wanted = this.confirmed;
      this.explain(problem.message);
    }
    this.show(this.wanted);
  }
}
