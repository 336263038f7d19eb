// Shared by the editors' pages: logging in and out, and forms that report their result.

import { call } from "./api.js";

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
      if (button.ariaDisabled) return;
      button.ariaDisabled = "true"; // unlike disabled, it keeps the focus
      try {
        report(form, await send(form, Object.fromEntries(new FormData(form))));
      } catch (problem) {
        report(form, problem.message, true);
      }
      button.ariaDisabled = null;
    });
  }
}

export function report(form, words = "", wrong = false) {
  const answer = form.querySelector("[data-part=answer]");
  answer.toggleAttribute("data-wrong", wrong);
  answer.textContent = words;
}
