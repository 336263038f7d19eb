// Webhooks on the editors' desk: open, test, list deliveries, redeliver.

import { call } from "./api.js";
import { makeSure, on, report } from "./desk.js";

const desk = document.querySelector("[data-webhooks]");
const moment = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const POLL_MS = 1_000; // while a message waits for its attempt
const POLLS_MAX = 15;

if (desk) list();

on("[data-open-webhook]", async (form, { url, tools, description }) => {
  const slugs = tools.split(/[\s,]+/).filter(Boolean);
  const { secret } = await call("POST", "/v1/webhooks", { url, description, tools: slugs.length ? slugs : null });
  form.reset();
  show(secret, url);
  await list();
  return "The webhook is open.";
});

async function list() {
  const { items } = await call("GET", "/v1/webhooks");
  part(desk, "none").hidden = items.length > 0;
  part(desk, "hooks").replaceChildren(...items.map(line));
}

function line(webhook) {
  const { item, press } = copy("[data-webhook]");
  const address = `/v1/webhooks/${webhook.id}`;
  part(item, "url").textContent = webhook.url;
  part(item, "description").textContent = webhook.description;
  part(item, "state").textContent = stateOf(webhook);
  button(item, "enable").hidden = !webhook.disabled_at;
  button(item, "test").hidden = Boolean(webhook.disabled_at);
  press("test", async () => {
    const { id } = await call("POST", `${address}/test`);
    await follow(item, address, id);
  });
  press("log", async () => {
    if (part(item, "log").hidden) await log(item, address);
    else fold(item, true);
  });
  press("rotate", async () => {
    show((await call("POST", `${address}/rotate`)).secret, webhook.url);
    return "For 24 hours messages are signed with both secrets.";
  });
  press("enable", async () => {
    await call("POST", `${address}/enable`);
    await list();
  });
  press("remove", async (pressed) => {
    if (!makeSure(pressed, "Remove it for good")) return;
    await call("DELETE", address);
    await list();
  });
  return item;
}

async function log(item, address) {
  const { items } = await call("GET", `${address}/deliveries`);
  part(item, "log").replaceChildren(...items.map((each) => sent(each, item, address)));
  fold(item, false);
  report(item, items.length ? "" : "Nothing was sent yet.");
  return items;
}

// Lists the deliveries until the message has been attempted.
async function follow(item, address, id) {
  for (let polls = 0; polls < POLLS_MAX && item.isConnected; polls++) {
    const asked = (await log(item, address)).find((each) => each.id === id);
    if (!asked || asked.state !== "pending" || asked.error) return;
    await new Promise((later) => setTimeout(later, POLL_MS));
  }
}

function sent(delivery, hook, address) {
  const { item, press } = copy("[data-delivery]");
  part(item, "what").textContent = delivery.tool ?? delivery.type;
  part(item, "state").textContent = delivery.state;
  part(item, "when").textContent = moment.format(new Date(delivery.updated_at));
  part(item, "when").dateTime = delivery.updated_at;
  part(item, "answered").textContent = answered(delivery);
  press("redeliver", async () => {
    await call("POST", `${address}/deliveries/${delivery.id}/redeliver`);
    await follow(hook, address, delivery.id);
  }, hook);
  return item;
}

function answered({ attempts, status, error, response, next_at }) {
  const result = error ?? (status ? `the receiver answered ${status}` : "");
  const tries = attempts === 1 ? "1 attempt" : `${attempts} attempts`;
  const next = next_at && error ? `next ${moment.format(new Date(next_at))}` : "";
  return [tries, result, response, next].filter(Boolean).join(" · ");
}

function stateOf({ description, tools, failing_since, disabled_at, reason }) {
  const subject = `${description ? "· " : ""}${tools ? tools.join(", ") : "all tools"}`;
  if (disabled_at) return `${subject} · disabled ${moment.format(new Date(disabled_at))}: ${reason}`;
  return failing_since ? `${subject} · failing since ${moment.format(new Date(failing_since))}` : subject;
}

function show(secret, url) {
  part(desk, "secret").textContent = `The secret of ${url}, shown this once: ${secret}`;
}

function copy(template) {
  const item = document.querySelector(template).content.firstElementChild.cloneNode(true);
  const press = (name, work, reporter = item) =>
    button(item, name).addEventListener("click", async ({ currentTarget }) => {
      if (currentTarget.ariaDisabled) return;
      currentTarget.ariaDisabled = "true";
      try {
        const words = await work(currentTarget);
        if (words) report(reporter, words);
      } catch (problem) {
        report(reporter, problem.message, true);
      }
      currentTarget.ariaDisabled = null;
    });
  return { item, press };
}

function fold(item, hidden) {
  part(item, "log").hidden = hidden;
  button(item, "log").ariaExpanded = String(!hidden);
}

function part(item, name) {
  return item.querySelector(`[data-part=${name}]`);
}

function button(item, name) {
  return item.querySelector(`[data-do=${name}]`);
}
