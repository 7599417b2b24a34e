// The designer: undo, values of the row in texts, moving actions by keys, and not losing what is
// typed while an answer is under way. All else is the server's.

const form = document.getElementById("design-form");

// What the form held when it was sent: what has changed since is put back after the answer.
let sent = null;
const held = () => new Map([...form.elements].filter((el) => el.id && el.name && el.type !== "hidden" && el.type !== "submit")
  .map((el) => [el.id, el.type === "checkbox" || el.type === "radio" ? String(el.checked) : el.value]));

form.addEventListener("htmx:configRequest", (e) => {
  // A button counts when it is pressed, and not when something else is changed after it.
  const pressed = e.detail.triggeringEvent;
  if (pressed) { // else it is undo
    const what = pressed.type === "submit" ? pressed.submitter?.value ?? "" : "";
    e.detail.formData.delete("do");
    if (what) e.detail.formData.set("do", what);
  }
  sent = held();
});

// Where the keyboard was, to be there again after the answer. Buttons are known by what they do;
// of one that is gone, the section gets it.
let late = [], place = null;
const found = (p) => (p.id && document.getElementById(p.id)) || (p.value && form.querySelector(`button[value="${CSS.escape(p.value)}"]`))
  || (p.section && form.querySelector(`section[aria-labelledby="${p.section}"] h2`));
form.addEventListener("htmx:beforeSwap", () => {
  const active = document.activeElement;
  place = active && form.contains(active) ? {
    id: active.id, value: active.name === "do" ? active.value : "", section: active.closest("section")?.getAttribute("aria-labelledby"),
    from: active.selectionStart, to: active.selectionEnd,
  } : null;
  late = [];
  if (!sent) return;
  for (const [id, value] of held()) if (sent.get(id) !== value && sent.has(id)) late.push([id, value]);
});

// Earlier documents, to go back to. They stay in this tab.
const key = "rowbell-undo " + location.pathname;
let past = [];
try { past = JSON.parse(sessionStorage.getItem(key)) ?? []; } catch { /* then there are none */ }
const now = () => document.getElementById("document").value;
function remember() {
  if (past.at(-1) !== now()) past.push(now());
  past = past.slice(-30);
  try { sessionStorage.setItem(key, JSON.stringify(past)); } catch { /* too much: undo works till the page is left */ }
  form.querySelector("[data-undo]").hidden = past.length < 2;
}
function undo() {
  if (past.length < 2) return;
  past.pop();
  window.htmx.ajax("POST", form.action, { source: form, target: "#designer", swap: "outerHTML", values: { do: "restore", document: past.at(-1), etag: form.elements.etag.value } });
}

form.addEventListener("htmx:afterSwap", (e) => {
  if (e.target.id !== "designer") return;
  let changed = false;
  for (const [id, value] of late) {
    const el = document.getElementById(id);
    if (!el) continue;
    if (el.type === "checkbox" || el.type === "radio") el.checked = value === "true";
    else el.value = value;
    changed = true;
  }
  const el = place && found(place);
  if (el) {
    if (el.tagName === "H2") el.tabIndex = -1;
    el.focus({ preventScroll: true });
    if (place.from != null) try { el.setSelectionRange(place.from, place.to); } catch { /* it has no selection */ }
  }
  const typing = el && late.some(([id]) => id === el.id);
  if (changed && !typing) form.dispatchEvent(new Event("change", { bubbles: true }));
  late = [];
  remember();
});

document.addEventListener("click", (e) => {
  if (e.target.closest("[data-undo]")) undo();
  const insert = e.target.closest("[data-insert]");
  if (insert) {
    const card = insert.closest("[data-action]");
    const into = last && card.contains(last) ? last : card.querySelector("[data-liquid]");
    if (!into) return;
    into.setRangeText(insert.dataset.insert, into.selectionStart ?? into.value.length, into.selectionEnd ?? into.value.length, "end");
    into.focus();
    into.dispatchEvent(new Event("change", { bubbles: true }));
  }
});

// The text in which values are inserted: the one that was written in last.
let last = null;
form.addEventListener("focusin", (e) => { if (e.target.matches("[data-liquid]")) last = e.target; });

// Alt and an arrow move the action that one is in.
form.addEventListener("keydown", (e) => {
  if (!e.altKey || (e.key !== "ArrowUp" && e.key !== "ArrowDown")) return;
  const button = e.target.closest("[data-action]")?.querySelector(`[data-key="${e.key}"]`);
  if (!button) return;
  e.preventDefault();
  button.click();
});
document.addEventListener("keydown", (e) => {
  if ((e.ctrlKey || e.metaKey) && e.key === "z" && !e.target.matches("input, textarea")) { e.preventDefault(); undo(); }
});

remember();
