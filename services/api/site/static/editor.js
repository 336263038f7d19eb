// The editors' desk. The page has only the forms that the login may use, so any of them may be missing.

import { call, exchange } from "./api.js";
import { act, afterWrites, on, report, wrote } from "./desk.js";

const dialog = document.querySelector("[data-ask]");
let loaded = { slug: null, etag: null }; // the tool in the form, at the revision that was loaded
const take = document.querySelector("[data-put-take]");

on("[data-put-tool]", async (_, { slug, category_slug, category_name, entry, detail, url, ...rest }) => {
  const category = { slug: category_slug, name: category_name };
  const body = { ...rest, category, pricing: { entry, detail }, url: url || null };
  const revised = loaded.slug === slug ? loaded.etag : '"0"'; // revision 0: not listed yet
  const { answer, etag } = await exchange("PUT", `/v1/tools/${slug}`, body, { "If-Match": revised });
  loaded = { slug, etag };
  return describe(answer);
});

document.querySelector("[data-load]")?.addEventListener("click", async ({ target: { form } }) => {
  const { slug } = form.elements;
  if (!slug.reportValidity()) return;
  try {
    const { answer: card, etag } = await read(slug.value);
    loaded = { slug: slug.value, etag };
    fill(form.elements, card);
    report(form, card.retired_at ? "This tool is retired and can no longer be revised." : `Revision ${card.revision}.`);
  } catch (problem) {
    report(form, problem.message, true);
  }
});

document.querySelector("[name=category_slug]")?.addEventListener("change", ({ target }) => {
  const known = [...target.list.options].find((each) => each.value === target.value);
  if (known) target.form.elements.category_name.value = known.textContent;
});

on("[data-put-take]", async (_, { tool, reviewer, score, choice, text }) =>
  describe(await call("PUT", `/v1/tools/${tool}/takes/${reviewer}`, { score: Number(score), choice, text })),
);

take?.querySelector("[data-load-take]").addEventListener("click", async () => {
  const { tool, reviewer } = take.elements;
  if (tool.reportValidity()) await loadTake(tool.value, reviewer.value);
});

act("revise-take", async ({ dataset: { tool, reviewer } }) => {
  take.elements.tool.value = tool;
  take.elements.reviewer.value = reviewer;
  await loadTake(tool, reviewer);
  take.elements.text.focus();
});

act("withdraw", async ({ dataset: { tool, reviewer } }) => {
  await wrote(await call("DELETE", `/v1/tools/${tool}/takes/${reviewer}`));
  return `The take of ${reviewer} on ${tool} is withdrawn. Its history stays.`;
});

on("[data-retire]", async (form, { slug }) => {
  const { answer: card, etag } = await read(slug);
  if (card.retired_at) return "This tool is already retired.";
  if (!(await confirmed(card))) return "Nothing was retired.";
  const { answer } = await exchange("POST", `/v1/tools/${slug}/retire`, undefined, { "If-Match": etag });
  form.reset();
  return describe(answer);
});

async function loadTake(tool, reviewer) {
  try {
    const { answer } = await read(tool);
    const found = answer.scorecard.find((row) => row.reviewer.slug === reviewer)?.take;
    for (const name of ["score", "choice", "text"]) take.elements[name].value = found?.[name] ?? "";
    report(take, found ? `Revision ${found.revision}.` : "No take stands.");
  } catch (problem) {
    report(take, problem.message, true);
  }
}

function read(slug) {
  return exchange("GET", afterWrites(`/v1/tools/${slug}`));
}

function fill(fields, card) {
  for (const name of ["name", "tagline", "best_for", "description", "url"]) fields[name].value = card[name] ?? "";
  fields.category_slug.value = card.category.slug;
  fields.category_name.value = card.category.name;
  fields.entry.value = card.pricing.entry;
  fields.detail.value = card.pricing.detail;
}

function confirmed({ name, tally: { total } }) {
  dialog.querySelector("[data-part=name]").textContent = name;
  const votes = total === 1 ? "1 vote stays as it is." : `${total.toLocaleString("en")} votes stay as they are.`;
  dialog.querySelector("[data-part=votes]").textContent = total ? votes : "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((answer) => dialog.addEventListener("close", () => answer(dialog.returnValue === "retire"), { once: true }));
}

async function describe({ revision, position }) {
  if (!position) return "Nothing to change.";
  await wrote({ position });
  return `Revision ${revision} is in the log at ${position}.`;
}
