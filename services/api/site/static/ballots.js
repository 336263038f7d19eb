// Own votes: a press is shown at once; the answer confirms or undoes it.

import { OptimisticValue } from "./api.js";
import { catchUp } from "./tallies.js";
import { callAsVisitor } from "./visitor.js";

export async function ballots() {
  const votes = new Map([...document.querySelectorAll("[data-ballot]")].map((root) => [root.dataset.ballot, ballot(root)]));
  if (!votes.size) return;
  const { items } = await callAsVisitor("GET", `/v1/me/votes?tools=${[...votes.keys()].join(",")}`).catch(() => ({ items: [] }));
  for (const vote of items) votes.get(vote.tool)?.confirm(vote.choice);
}

function ballot(root) {
  const tool = root.dataset.ballot;
  const buttons = [...root.querySelectorAll("[data-choice]")];
  const vote = new OptimisticValue({
    send: (choice) => send(tool, choice),
    show: (choice) => buttons.forEach((each) => each.setAttribute("aria-pressed", String(each.dataset.choice === choice))),
    explain: (words) => (root.querySelector("[data-part=note]").textContent = words),
  });
  for (const button of buttons) {
    button.addEventListener("click", () => vote.set(vote.wanted === button.dataset.choice ? null : button.dataset.choice));
  }
  return vote;
}

async function send(tool, choice) {
  const answer = choice ? await callAsVisitor("POST", "/v1/votes", { tool, choice }) : await callAsVisitor("DELETE", `/v1/votes/${tool}`);
  catchUp(tool, answer.position);
  return answer.choice;
}
