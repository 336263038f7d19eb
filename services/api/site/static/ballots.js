// Own votes: a press shows at once, the answer confirms it or takes it back.

import { call, Wish } from "./api.js";
import { catchUp } from "./tallies.js";

export async function ballots() {
  const wishes = new Map([...document.querySelectorAll("[data-ballot]")].map((root) => [root.dataset.ballot, ballot(root)]));
  if (!wishes.size) return;
  const { items } = await call("GET", `/v1/me/votes?tools=${[...wishes.keys()].join(",")}`).catch(() => ({ items: [] }));
  for (const vote of items) wishes.get(vote.tool)?.stands(vote.choice);
}

function ballot(root) {
  const tool = root.dataset.ballot;
  const buttons = [...root.querySelectorAll("[data-choice]")];
  const wish = new Wish({
    send: (choice) => send(tool, choice),
    show: (choice) => buttons.forEach((each) => each.setAttribute("aria-pressed", String(each.dataset.choice === choice))),
    explain: (words) => (root.querySelector("[data-part=note]").textContent = words),
  });
  for (const button of buttons) {
    button.addEventListener("click", () => wish.want(wish.wanted === button.dataset.choice ? null : button.dataset.choice));
  }
  return wish;
}

async function send(tool, choice) {
  const answer = choice ? await call("POST", "/v1/votes", { tool, choice }) : await call("DELETE", `/v1/votes/${tool}`);
  catchUp(tool, answer.position);
  return answer.choice;
}
