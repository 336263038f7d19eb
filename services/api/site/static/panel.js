// The panel on the editors' desk: seat, revise, move, retire and restore reviewers.

import { call, exchange } from "./api.js";
import { act, afterWrites, on, report, wrote } from "./desk.js";

const form = document.querySelector("[data-put-reviewer]");
let loaded = { slug: null, etag: null }; // the reviewer in the form, at the revision that was loaded

on("[data-put-reviewer]", async (_, { slug, ...body }) => {
  const revised = loaded.slug === slug ? loaded.etag : '"0"'; // revision 0: not seated yet
  const { answer, etag } = await exchange("PUT", `/v1/reviewers/${slug}`, body, { "If-Match": revised });
  await wrote(answer);
  if (answer.position && answer.revision === 1) {
    form.reset();
    loaded = { slug: null, etag: null };
    return `${body.name} is on the panel.`;
  }
  loaded = { slug, etag };
  return answer.position ? `${body.name} is revised.` : "Nothing to change.";
});

act("revise", async ({ dataset: { slug } }) => {
  const { answer, etag } = await exchange("GET", afterWrites(`/v1/reviewers/${slug}`));
  loaded = { slug, etag };
  for (const name of ["slug", "name", "tagline", "bio"]) form.elements[name].value = answer[name];
  report(form, `Revision ${answer.revision}.`);
  form.elements.name.focus();
});

act("up", (item) => move(item, -1));
act("down", (item) => move(item, 1));

act("retire-reviewer", async ({ dataset: { slug } }) => {
  await wrote(await call("POST", `/v1/reviewers/${slug}/retire`));
  return `${slug} is retired.`;
});

act("restore", async ({ dataset: { slug } }) => {
  await wrote(await call("POST", `/v1/reviewers/${slug}/restore`));
  return `${slug} is back on the panel.`;
});

async function move({ dataset: { slug } }, by) {
  const order = [...document.querySelectorAll("[data-panel] [data-slug]:not([data-retired])")].map((each) => each.dataset.slug);
  const at = order.indexOf(slug);
  [order[at], order[at + by]] = [order[at + by], order[at]];
  await wrote(await call("PUT", "/v1/reviewers/order", { order }));
  return `${slug} is ${at + by + 1} of ${order.length}.`;
}
