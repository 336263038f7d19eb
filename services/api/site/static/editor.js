// The editors' desk: log in, put a tool, publish a take.

import { call } from "./api.js";

const logIn = document.querySelector("[data-log-in]");
const desk = document.querySelector("[data-desk]");
const putTool = document.querySelector("[data-put-tool]");
const putTake = document.querySelector("[data-put-take]");

on(logIn, async ({ name, password }) => {
  seat(await call("POST", "/v1/session", { name, password }));
  logIn.reset();
  return "";
});

on(putTool, async ({ slug, category_slug, category_name, entry, detail, url, ...rest }) => {
  const category = { slug: category_slug, name: category_name };
  const body = { ...rest, category, pricing: { entry, detail }, url: url || null };
  const answer = await call("PUT", `/v1/tools/${slug}`, body);
  return answer.position ? `Revision ${answer.revision} is in the log at ${answer.position}.` : "Nothing to change.";
});

on(putTake, async ({ tool, reviewer, score, choice, text }) => {
  const answer = await call("PUT", `/v1/tools/${tool}/takes/${reviewer}`, { score: Number(score), choice, text });
  return answer.position ? `Revision ${answer.revision} is in the log at ${answer.position}.` : "Nothing to change.";
});

document.querySelector("[data-log-out]").addEventListener("click", async () => {
  await call("DELETE", "/v1/session").catch(() => null);
  seat(null);
});

document.querySelector("[data-load]").addEventListener("click", async () => {
  const fields = putTool.elements;
  if (!fields.slug.reportValidity()) return;
  try {
    const card = await call("GET", `/v1/tools/${fields.slug.value}`);
    for (const name of ["name", "tagline", "best_for", "description", "url"]) fields[name].value = card[name] ?? "";
    fields.category_slug.value = card.category.slug;
    fields.category_name.value = card.category.name;
    fields.entry.value = card.pricing.entry;
    fields.detail.value = card.pricing.detail;
    tell(putTool, `Revision ${card.revision}.`);
  } catch (problem) {
    tell(putTool, problem.message, true);
  }
});

putTool.elements.category_slug.addEventListener("change", (event) => {
  const known = [...document.querySelectorAll("#categories option")].find((each) => each.value === event.target.value);
  if (known) putTool.elements.category_name.value = known.textContent;
});

seat(await call("GET", "/v1/session").catch(() => null));

function seat(login) {
  logIn.hidden = login !== null;
  desk.hidden = login === null;
  putTool.hidden = login?.role !== "editor";
  if (login) document.querySelector("[data-part=who]").textContent = `${login.name} (${login.role})`;
}

function on(form, send) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button:not([type=button])");
    button.disabled = true;
    try {
      tell(form, await send(Object.fromEntries(new FormData(form))));
    } catch (problem) {
      tell(form, problem.message, true);
    }
    button.disabled = false;
  });
}

function tell(form, words, wrong = false) {
  const answer = form.querySelector("[data-part=answer]");
  answer.toggleAttribute("data-wrong", wrong);
  answer.textContent = words;
}
