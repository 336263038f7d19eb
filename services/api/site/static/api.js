// One request to the API: JSON in and out; an error carries the problem's detail.

export async function call(method, path, body) {
  return (await exchange(method, path, body)).answer;
}

// The same, with the ETag of the answer, and headers of one's own. Text is sent as it is.
export async function exchange(method, path, body, headers = {}) {
  const options = { method, headers: { Accept: "application/json", ...headers }, credentials: "same-origin" };
  if (body !== undefined) {
    options.headers["Content-Type"] ??= "application/json";
    options.body = typeof body === "string" ? body : JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server did not answer. Check your connection and try again.");
  }
  const text = await response.text();
  const answer = text ? JSON.parse(text) : null;
  if (!response.ok) throw Object.assign(new Error(answer?.detail ?? "That did not work."), { status: response.status });
  return { answer, etag: response.headers.get("ETag") };
}

// Makes the world agree with the last wish: one request at a time, and back to what stands when one fails.
export class Wish {
  constructor({ standing = null, send, show, explain }) {
    Object.assign(this, { standing, wanted: standing, send, show, explain, busy: false });
  }

  stands(value) {
    if (this.busy) return;
    this.standing = this.wanted = value;
    this.show(value);
  }

  async want(value) {
    this.wanted = value;
    this.show(value);
    this.explain("");
    if (this.busy) return;
    this.busy = true;
    while (this.wanted !== this.standing) await this.#attempt(this.wanted);
    this.busy = false;
  }

  async #attempt(value) {
    try {
      this.standing = await this.send(value);
      if (this.wanted === value) this.wanted = this.standing;
    } catch (problem) {
      this.wanted = this.standing;
      this.explain(problem.message);
    }
    this.show(this.wanted);
  }
}
