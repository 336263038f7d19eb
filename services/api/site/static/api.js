// The site may be served under a path: the folder that has static/DIGEST/ with this script in it.
export const PREFIX = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

// One request to the API with JSON in and out. Throws an error with the detail of the problem.

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
  let response;
  try {
    response = await fetch(PREFIX + path, options);
  } catch {
    throw new Error("The server did not answer. Check your connection and try again.");
  }
  const text = await response.text();
  const answer = text ? JSON.parse(text) : null;
  if (!response.ok) throw Object.assign(new Error(answer?.detail ?? "That did not work."), { status: response.status });
  return { answer, etag: response.headers.get("ETag") };
}

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
