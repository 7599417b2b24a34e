// Rows of a list that are ticked, and a bar that says how many, and does something with them.
// (The form has fields called id, so that form.id is one of them.)
const boxes = (form) => [...document.querySelectorAll(`input[type=checkbox][form="${form.getAttribute("id")}"]`)];

// What is asked before it is done names those that are ticked.
function named(ticked) {
  const names = ticked.map((box) => box.dataset.name), first = names.slice(0, 3);
  const more = names.length - first.length;
  if (more > 0) return first.join(", ") + ` and ${more} more`;
  return first.length > 1 ? first.slice(0, -1).join(", ") + " and " + first.at(-1) : first[0];
}

function show(form) {
  const of = (button) => boxes(form).filter((box) => box.checked && (!button || !button.dataset.only || box.dataset.is === button.dataset.only));
  const ticked = of(), all = boxes(form), every = form.querySelector("[data-tick-all]");
  form.querySelector("[data-ticked]").textContent = ticked.length === 0 ? form.dataset.none : `${ticked.length} ticked`;
  every.hidden = all.length < 2;
  const box = every.querySelector("input");
  box.checked = ticked.length > 0 && ticked.length === all.length;
  box.indeterminate = ticked.length > 0 && ticked.length < all.length;
  for (const button of form.querySelectorAll("button[name=do]")) {
    const mine = of(button);
    button.disabled = mine.length === 0;
    if (button.dataset.ask && mine.length > 0) button.dataset.confirm = button.dataset.ask.replace("{ticked}", () => named(mine));
  }
}

const forms = (root) => root.querySelectorAll("form[data-ticks]");
document.addEventListener("change", (e) => {
  const form = e.target.closest("form[data-ticks]") ?? e.target.form;
  if (!form?.matches("[data-ticks]") || e.target.type !== "checkbox") return;
  if (e.target.closest("[data-tick-all]")) boxes(form).forEach((box) => { box.checked = e.target.checked; });
  show(form);
});
document.addEventListener("htmx:afterSwap", () => { forms(document).forEach(show); });
window.addEventListener("pageshow", () => { forms(document).forEach(show); }); // a browser keeps ticks when one comes back
forms(document).forEach(show);
