// Requests of a visitor. The server knows a visitor by a cookie that scripts cannot read, and sets it with the first answer. What a
// browser sends before that, from any of its tabs, carries one random claim, from which the server makes one identity. The claim is
// forgotten with the first answer that has made the cookie.

import { exchange } from "./api.js";

const NAME = "shiplog-claim";
let unstored = null; // the claim of this page, where the browser keeps no storage

export async function callAsVisitor(method, path, body) {
  const writes = method !== "GET";
  const claim = writes ? await makeClaim() : read();
  const headers = claim ? { "Shiplog-Visitor-Claim": claim } : {};
  const { answer } = await exchange(method, path, body, headers, { keepalive: writes });
  if (claim && read() === claim) write(null);
  return answer;
}

// Two tabs make one claim; where there are no locks (plain http), unless they begin within the same milliseconds.
async function makeClaim() {
  const make = () => read() ?? write(random());
  return navigator.locks ? navigator.locks.request(NAME, make) : make();
}

function random() {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace("=", "");
}

function read() {
  try {
    return localStorage.getItem(NAME) ?? unstored;
  } catch {
    return unstored;
  }
}

function write(claim) {
  unstored = claim;
  try {
    if (claim) localStorage.setItem(NAME, claim);
    else localStorage.removeItem(NAME);
  } catch {
    // Storage is blocked or full: the claim holds for this page.
  }
  return claim;
}
