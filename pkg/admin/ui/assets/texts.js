// Values that are put into a text where its cursor is.
const field = document.querySelector("#template textarea[name=source]");
document.addEventListener("click", (e) => {
  const button = e.target.closest("[data-insert]");
  if (!button || !field || field.readOnly) return;
  field.setRangeText(button.dataset.insert, field.selectionStart, field.selectionEnd, "end");
  field.focus();
  field.dispatchEvent(new Event("input", { bubbles: true }));
});
// What was written and not saved isn't lost by a click beside it.
const form = document.getElementById("template"), before = field?.value;
let saved = false;
form?.addEventListener("submit", () => { saved = true; });
window.addEventListener("beforeunload", (e) => { if (!saved && field && field.value !== before) e.preventDefault(); });
