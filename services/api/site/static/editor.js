// The editors' desk. The page holds only what the login may do, so a form may be missing.

import { call, exchange } from "./api.js";
import { on, tell } from "./desk.js";

const ask = document.querySelector("[data-ask]");
let loaded = { slug: null, etag: null }; // the tool on the form, as it stood
let written = null; // the position of our last write: what is read afterwards shows it

on("[data-put-tool]", async (_, { slug, category_slug, category_name, entry, detail, url, ...rest }) => {
  const category = { slug: category_slug, name: category_name };
  const body = { ...rest, category, pricing: { entry, detail }, url: url || null };
  const revised = loaded.slug === slug ? loaded.etag : '"0"'; // revision 0 is "none yet"
  const { answer, etag } = await exchange("PUT", `/v1/tools/${slug}`, body, { "If-Match": revised });
  loaded = { slug, etag };
  return said(answer);
});

document.querySelector("[data-load]")?.addEventListener("click", async ({ target: { form } }) => {
  const { slug } = form.elements;
  if (!slug.reportValidity()) return;
  try {
    const { answer: card, etag } = await read(slug.value);
    loaded = { slug: slug.value, etag };
    fill(form.elements, card);
    tell(form, card.retired_at ? "This tool is retired and can no longer be revised." : `Revision ${card.revision}.`);
  } catch (problem) {
    tell(form, problem.message, true);
  }
});

document.querySelector("[name=category_slug]")?.addEventListener("change", ({ target }) => {
  const known = [...target.list.options].find((each) => each.value === target.value);
  if (known) target.form.elements.category_name.value = known.textContent;
});

on("[data-put-take]", async (_, { tool, reviewer, score, choice, text }) =>
  said(await call("PUT", `/v1/tools/${tool}/takes/${reviewer}`, { score: Number(score), choice, text })),
);

on("[data-retire]", async (form, { slug }) => {
  const { answer: card, etag } = await read(slug);
  if (card.retired_at) return "This tool is already retired.";
  if (!(await confirmed(card))) return "Nothing was retired.";
  const { answer } = await exchange("POST", `/v1/tools/${slug}/retire`, undefined, { "If-Match": etag });
  form.reset();
  return said(answer);
});

function read(slug) {
  return exchange("GET", `/v1/tools/${slug}${written ? `?min_position=${written}` : ""}`);
}

function fill(fields, card) {
  for (const name of ["name", "tagline", "best_for", "description", "url"]) fields[name].value = card[name] ?? "";
  fields.category_slug.value = card.category.slug;
  fields.category_name.value = card.category.name;
  fields.entry.value = card.pricing.entry;
  fields.detail.value = card.pricing.detail;
}

function confirmed({ name, tally: { total } }) {
  ask.querySelector("[data-part=name]").textContent = name;
  const votes = total === 1 ? "1 vote stays as it is." : `${total.toLocaleString("en")} votes stay as they are.`;
  ask.querySelector("[data-part=votes]").textContent = total ? votes : "";
  ask.returnValue = "";
  ask.showModal();
  return new Promise((answer) => ask.addEventListener("close", () => answer(ask.returnValue === "retire"), { once: true }));
}

function said({ revision, position }) {
  if (!position) return "Nothing to change.";
  written = position;
  return `Revision ${revision} is in the log at ${position}.`;
}
