// The filter of the list of tools: hides the tools that do not contain every word.

export function filter() {
  const form = document.querySelector("[data-filter]");
  if (!form) return;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.elements.find.addEventListener("input", () => narrow(form));
  narrow(form);
}

function narrow(form) {
  const words = form.elements.find.value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const group of document.querySelectorAll("[data-group]")) {
    const category = group.querySelector("h3").textContent.toLowerCase();
    const shown = [...group.querySelectorAll("[data-tool]")].filter((entry) => {
      entry.hidden = !words.every((word) => entry.dataset.text.includes(word) || category.includes(word));
      return !entry.hidden;
    });
    group.hidden = shown.length === 0;
    found += shown.length;
  }
  form.querySelector("[data-part=found]").textContent = words.length ? `${found} ${found === 1 ? "tool" : "tools"} found` : "";
}
