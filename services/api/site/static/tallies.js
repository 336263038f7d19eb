// Live tallies: every element with data-tally shows the newest tally that the stream has sent.

import { call, PREFIX } from "./api.js";

const watched = [...new Set([...document.querySelectorAll("[data-tally]")].map((each) => each.dataset.tally))].slice(0, 100);
const indicator = document.querySelector("[data-live]");
const latest = new Map();
let stream = null;
let retry = 0;

// "0.7500" is parsed as whole ten-thousandths, so that halves round up exactly.
const tenThousandths = (share) => Math.round(Number(share) * 10_000);

export function percent(share) {
  const parts = tenThousandths(share);
  if (parts > 0 && parts < 50) return "<1%";
  if (parts >= 9950 && parts < 10_000) return ">99%";
  return `${Math.round(parts / 100)}%`;
}

export function watch() {
  if (!watched.length) return;
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pageshow", (event) => event.persisted && open());
  window.addEventListener("pagehide", close);
  open();
}

// After a vote without an open stream: read the tally that contains it.
export async function catchUp(tool, position) {
  if (stream?.readyState === EventSource.OPEN) return;
  show(await call("GET", `/v1/tools/${tool}/tally?min_position=${position}`).catch(() => null));
}

function open() {
  close();
  stream = new EventSource(`${PREFIX}/v1/tallies/stream?tools=${watched.join(",")}`);
  stream.addEventListener("open", () => showConnection("live"));
  stream.addEventListener("tally", (event) => show(JSON.parse(event.data)));
  stream.addEventListener("error", () => {
    showConnection("reconnecting");
    if (stream?.readyState === EventSource.CLOSED) retry = setTimeout(open, 3000 + Math.random() * 2000);
  });
}

function close() {
  clearTimeout(retry);
  stream?.close();
  stream = null;
}

function showConnection(state) {
  indicator.hidden = false;
  indicator.dataset.live = state;
  indicator.querySelector("[data-part=live]").textContent = state;
}

function show(tally) {
  if (!tally) return;
  const before = latest.get(tally.tool);
  latest.set(tally.tool, tally);
  for (const root of document.querySelectorAll(`[data-tally="${tally.tool}"]`)) fill(root, tally);
  if (before && (before.ship !== tally.ship || before.skip !== tally.skip)) announce(tally);
}

function fill(root, tally) {
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const write = (name, text) => {
    const element = part(name);
    if (!element || element.textContent === text) return;
    element.textContent = text;
    element.classList.remove("moved");
    requestAnimationFrame(() => element.classList.add("moved"));
  };
  part("empty").hidden = tally.total > 0;
  part("counted").hidden = tally.total === 0;
  if (tally.total === 0) return;
  const [low, high] = tally.interval;
  write("share", percent(tally.share));
  write("total", tally.total.toLocaleString("en"));
  write("noun", tally.total === 1 ? "vote" : "votes");
  write("verb", tally.total === 1 ? "says" : "say");
  write("ship", tally.ship.toLocaleString("en"));
  write("skip", tally.skip.toLocaleString("en"));
  write("interval", `${percent(low)} to ${percent(high)}`);
  part("preliminary")?.toggleAttribute("hidden", !tally.preliminary);
  part("fill")?.setAttribute("width", `${tally.share * 100}%`);
  part("whisker")?.setAttribute("x", `${low * 100}%`);
  part("whisker")?.setAttribute("width", `${(high - low) * 100}%`);
}

// Announced to screen readers at most every four seconds, and then only the newest.
let pending = null;
let quiet = false;

function announce(tally) {
  pending = tally;
  if (!quiet) speak();
}

function spoken({ ship, skip, total, share }) {
  const say = total === 1 ? "says" : "say";
  return `${ship.toLocaleString("en")} ship, ${skip.toLocaleString("en")} skip, ${percent(share)} of ${total.toLocaleString("en")} ${total === 1 ? "vote" : "votes"} ${say} ship`;
}

function speak() {
  quiet = pending !== null;
  if (!pending) return;
  const name = document.querySelector(`[data-tally="${pending.tool}"]`).dataset.name;
  const words = pending.total ? spoken(pending) : "no community votes";
  document.querySelector("[data-announce]").textContent = `${name}: ${words}.`;
  pending = null;
  setTimeout(speak, 4000);
}
