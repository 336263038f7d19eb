// The shelf: the bookmark buttons, the drawer and the page show the same list.

import { OptimisticValue, PREFIX } from "./api.js";
import { callAsVisitor } from "./visitor.js";

const drawer = document.querySelector("[data-drawer]");
const shelves = [...document.querySelectorAll("[data-shelf]")];
const toggles = new Map();

export async function bookmarks() {
  for (const button of document.querySelectorAll("[data-bookmark]")) toggles.set(button.dataset.bookmark, toggleOf(button));
  document.querySelector("[data-open-drawer]").addEventListener("click", open);
  document.querySelector("[data-close-drawer]").addEventListener("click", () => drawer.close());
  drawer.addEventListener("click", (event) => event.target === drawer && drawer.close());
  await load();
}

function open(event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  drawer.showModal();
  load();
}

async function load() {
  try {
    const { items } = await callAsVisitor("GET", "/v1/me/bookmarks");
    const saved = new Set(items.map((each) => each.tool.slug));
    for (const [tool, toggle] of toggles) toggle.confirm(saved.has(tool));
    shelves.forEach((shelf) => list(shelf, items));
    count(items.length);
  } catch (problem) {
    shelves.forEach((shelf) => state(shelf, "failed", problem.message));
  }
}

function toggleOf(button) {
  const toggle = new OptimisticValue({
    confirmed: false,
    send: (wanted) => save(button.dataset.bookmark, wanted),
    show: (saved) => {
      button.setAttribute("aria-pressed", String(saved));
      button.querySelector("[data-part=word]").textContent = saved ? "Bookmarked" : "Bookmark";
    },
    explain: (words) => (button.nextElementSibling.textContent = words),
  });
  button.addEventListener("click", () => toggle.set(!toggle.wanted));
  return toggle;
}

async function save(tool, wanted) {
  await callAsVisitor(wanted ? "PUT" : "DELETE", `/v1/me/bookmarks/${tool}`);
  await load();
  return wanted;
}

function list(shelf, items) {
  const at = [...shelf.querySelectorAll("button")].indexOf(document.activeElement);
  shelf.querySelector("[data-when=list]").replaceChildren(...items.map((each) => line(each, shelf)));
  state(shelf, items.length ? "list" : "empty");
  if (at >= 0) ([...shelf.querySelectorAll("button")].slice(0, at + 1).at(-1) ?? shelf).focus();
}

function state(shelf, name, words = "") {
  shelf.dataset.state = name;
  shelf.querySelector("[data-when=failed]").textContent = words;
}

function count(saved) {
  const badge = document.querySelector("[data-part=saved]");
  badge.textContent = saved;
  badge.hidden = saved === 0;
}

function line({ tool, note, tags, saved_at }, shelf) {
  const item = document.querySelector("[data-line]").content.firstElementChild.cloneNode(true);
  const part = (name) => item.querySelector(`[data-part=${name}]`);
  part("name").textContent = tool.name;
  item.querySelector("a").href = `${PREFIX}/tools/${tool.slug}`;
  part("label").textContent = tool.verdict_label;
  part("label").classList.add(tool.verdict_label.toLowerCase());
  part("when").textContent = new Date(saved_at).toLocaleDateString("en-GB", { dateStyle: "long" });
  part("when").dateTime = saved_at;
  part("kept").textContent = note;
  part("kept").hidden = !note || shelf.dataset.shelf === "page";
  item.querySelector("button").setAttribute("aria-label", `Remove ${tool.name}`);
  item.querySelector("button").addEventListener("click", () => remove(tool.slug, shelf));
  if (shelf.dataset.shelf === "page") editNote(item, tool.slug, note, tags);
  else item.querySelector("label").remove();
  return item;
}

async function remove(tool, shelf) {
  if (toggles.has(tool)) return toggles.get(tool).set(false);
  await save(tool, false).catch((problem) => state(shelf, "failed", problem.message));
}

// Enter saves, Shift and Enter begin a new line.
function editNote(item, tool, note, tags) {
  const input = item.querySelector("textarea");
  const answer = item.querySelector("[data-part=answer]");
  let sent = note;
  input.value = note;
  const save = async () => {
    if (input.value === sent) return;
    sent = input.value;
    await callAsVisitor("PUT", `/v1/me/bookmarks/${tool}`, { note: sent, tags }).then(
      () => (answer.textContent = "Note kept."),
      (problem) => {
        sent = null;
        answer.textContent = problem.message;
      },
    );
  };
  input.addEventListener("change", save);
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    save();
  });
}
