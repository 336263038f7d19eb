// The rule lab: rulebooks are written, tried, adopted and rolled back; a running trial is polled until it ends.

import { call, exchange, PREFIX } from "./api.js";
import { on, report } from "./desk.js";

const POLL_MS = 600;
const editor = document.querySelector("[data-write] textarea");

on("[data-write]", async (_, { toml }) => {
  editor.removeAttribute("aria-invalid");
  try {
    const { answer } = await exchange("POST", "/v1/rulebooks", toml, { "Content-Type": "application/toml" });
    if (!answer.position) return "This rulebook is known already.";
    await reload(answer.position);
  } catch (problem) {
    throw new Error(markLine(problem.message));
  }
});

on("[data-try]", async (form) => {
  const { id } = await call("POST", `/v1/rulebooks/${form.dataset.try}/trial`);
  location.href = `${PREFIX}/editor/lab/trials/${id}`;
});

on("[data-adopt]", async (form, { reason, at }) => {
  const body = at ? { reason, effective_at: new Date(at).toISOString() } : { reason };
  const { position } = await call("POST", `/v1/rulebooks/${form.dataset.adopt}/adopt`, body);
  if (!position) return "It is so already.";
  await reload(position);
});

on("[data-call-off]", async (form) => {
  await reload((await call("POST", `/v1/rulebooks/${form.dataset.callOff}/call-off`)).position);
});

on("[data-roll-back]", async (_, { reason }) => {
  await reload((await call("POST", "/v1/rulebooks/roll-back", { reason })).position);
});

for (const button of document.querySelectorAll("[data-start-from]")) {
  button.addEventListener("click", () => {
    editor.value = button.parentElement.querySelector("[data-text]").textContent;
    editor.focus();
    editor.setSelectionRange(0, 0);
    editor.scrollTop = 0;
  });
}

const watched = document.querySelector("[data-trial]");
if (watched) {
  const address = `/v1/trials/${watched.dataset.trial}`;
  watched.querySelector("[data-cancel]").addEventListener("click", async () => {
    await call("POST", `${address}/cancel`).catch(({ message }) => report(watched, message, true));
  });
  watch(address);
}

async function watch(address) {
  const trial = await call("GET", address).catch(() => null); // a failed poll is repeated
  if (trial && trial.state !== "running") return location.reload();
  if (trial) show(trial);
  setTimeout(watch, POLL_MS, address);
}

function show({ progress: { done, total }, eta_seconds: eta }) {
  const part = (name) => watched.querySelector(`[data-part=${name}]`);
  Object.assign(watched.querySelector("progress"), { max: total || 1, value: done });
  part("done").textContent = done.toLocaleString("en");
  part("total").textContent = total.toLocaleString("en");
  part("eta").textContent = eta === null ? "" : `, about ${Math.ceil(eta)} s to go`;
}

// Reloads the page once the read models have folded the write.
async function reload(position) {
  await call("GET", `/v1/rulebooks?min_position=${position}`);
  location.reload();
}

// Selects the line that an error is about, and prefixes the message with its number.
function markLine(message) {
  const line = lineOf(message);
  editor.setAttribute("aria-invalid", "true");
  if (line === null) return message;
  const lines = editor.value.split("\n");
  const start = lines.slice(0, line).join("\n").length + (line ? 1 : 0);
  editor.focus();
  editor.setSelectionRange(start, start + lines[line].length);
  return `Line ${line + 1}. ${message}`;
}

function lineOf(message) {
  const lines = editor.value.split("\n");
  const numbered = message.match(/at line (\d+)/);
  if (numbered) return Math.min(Number(numbered[1]), lines.length) - 1;
  const named = message.match(/`([\w.-]+)/);
  return named && lineOfField(lines, named[1]);
}

// The line of the field, or of its table if the field is missing.
function lineOfField(lines, field) {
  let table = "";
  let heading = null;
  for (const [number, line] of lines.entries()) {
    const [, opened] = line.match(/^\s*\[\s*([\w.-]+)\s*\]/) ?? [];
    const [, key] = line.match(/^\s*([\w.-]+)\s*=/) ?? [];
    if (opened) table = opened;
    if (opened && field.startsWith(opened)) heading = number;
    if (key && (table ? `${table}.${key}` : key) === field) return number;
  }
  return heading;
}
