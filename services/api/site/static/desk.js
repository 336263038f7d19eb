// Shared by the editors' pages: logging in and out, forms and buttons that report their result, and fresh parts of the page.

import { call } from "./api.js";

let written = null; // the position of our last write, which later reads wait for

on("[data-log-in]", async (_, { name, password }) => {
  await call("POST", "/v1/session", { name, password });
  location.reload();
});

document.querySelector("[data-log-out]")?.addEventListener("click", async () => {
  await call("DELETE", "/v1/session").catch(() => null);
  location.reload();
});

// Submits each matching form with `send`, and shows the text that it returns or the message of its error.
export function on(selector, send) {
  for (const form of document.querySelectorAll(selector)) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button:not([type=button])");
      await attempt(button, form, () => send(form, Object.fromEntries(new FormData(form))));
    });
  }
}

// Runs `work` when a button with this data-act is pressed, also one that is put into the page later.
// A button with data-sure asks to be pressed again.
export function act(name, work) {
  document.addEventListener("click", async ({ target }) => {
    const button = target.closest(`[data-act="${name}"]`);
    if (!button || (button.dataset.sure && !makeSure(button, button.dataset.sure))) return;
    const reporter = button.closest("[data-report], section");
    await attempt(button, reporter, () => work(button.closest("li"), button));
  });
}

async function attempt(button, reporter, work) {
  if (button.ariaDisabled) return;
  button.ariaDisabled = "true"; // unlike disabled, it keeps the focus
  try {
    report(reporter, await work());
  } catch (problem) {
    report(reporter, problem.message, true);
  }
  button.ariaDisabled = null;
}

// Whether the button was pressed twice. After the first time it shows `words` until it loses the focus.
export function makeSure(button, words) {
  if (button.textContent === words) return true;
  const [before, label] = [button.textContent, button.ariaLabel];
  button.textContent = words;
  button.ariaLabel = label && `${words}: ${label}`;
  button.addEventListener("blur", () => {
    button.textContent = before;
    button.ariaLabel = label;
  }, { once: true });
  button.focus();
  return false;
}

export function report(form, words = "", wrong = false) {
  const answer = form.querySelector("[data-part=answer]");
  answer.toggleAttribute("data-wrong", wrong);
  answer.textContent = words ?? "";
}

// Notes a write, and puts its effects on the page.
export async function wrote({ position }) {
  if (!position) return;
  written = position;
  await refresh();
}

// The address with the position that the answer has to include.
export function afterWrites(address) {
  return written ? `${address}?min_position=${written}` : address;
}

// Replaces every part of the page that has data-fresh by what the server shows now. Forms keep what was typed.
export async function refresh() {
  const response = await fetch(afterWrites(location.pathname), { headers: { Accept: "text/html" } });
  if (!response.ok) return;
  const now = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of document.querySelectorAll("[data-fresh]")) {
    const fresh = now.querySelector(`[data-fresh="${part.dataset.fresh}"]`);
    if (fresh) replace(part, document.adoptNode(fresh));
  }
}

function replace(part, fresh) {
  const focused = part.contains(document.activeElement) ? document.activeElement.ariaLabel : null;
  const chosen = part.value;
  part.replaceWith(fresh);
  if (chosen && [...fresh.options].some((each) => each.value === chosen)) fresh.value = chosen;
  if (focused) fresh.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
}
