// A run that is under way is followed until it has ended: when the live stream says something
// of it, and each few seconds besides, since an attempt after which another one follows is no
// event there. What is the same stays the same element, so that focus and what is open stay.
const root = document.getElementById("run");
const underWay = () => root?.dataset.run !== undefined;
const each = 5000, atLeast = 500; // milliseconds
let busy = false, again = false, timer;

const key = (node) => node.nodeType === Node.ELEMENT_NODE ? node.dataset.key ?? node.id : "";
const like = (a, b) => a && a.nodeType === b.nodeType && a.nodeName === b.nodeName && key(a) === key(b);

// morph makes a what b is, with as little as possible.
function morph(a, b) {
  if (a.isEqualNode(b)) return;
  if (a.nodeType !== Node.ELEMENT_NODE) { a.nodeValue = b.nodeValue; return; }
  for (const name of a.getAttributeNames()) {
    if (!b.hasAttribute(name) && !(a.nodeName === "DETAILS" && name === "open")) a.removeAttribute(name);
  }
  for (const name of b.getAttributeNames()) {
    if (a.getAttribute(name) !== b.getAttribute(name)) a.setAttribute(name, b.getAttribute(name));
  }
  let at = a.firstChild;
  for (const next of [...b.childNodes]) {
    let same = at;
    while (same && !like(same, next)) same = same.nextSibling;
    if (!same || (key(next) === "" && same !== at && next.nodeType === Node.TEXT_NODE)) { a.insertBefore(next, at); continue; }
    while (at !== same) { const gone = at; at = at.nextSibling; gone.remove(); }
    at = same.nextSibling;
    morph(same, next);
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
}

async function refresh() {
  if (!underWay() || document.hidden) return;
  if (busy) { again = true; return; }
  busy = true;
  clearTimeout(timer);
  try {
    const answer = await fetch(location.href, { headers: { "HX-Request": "true", "HX-Target": "run" } });
    if (answer.ok) {
      const part = document.createElement("template");
      part.innerHTML = await answer.text();
      const next = part.content.getElementById("run");
      if (next) {
        const focus = document.activeElement, near = root.contains(focus) && focus.closest("li, .head");
        morph(root, next);
        if (near && !focus.isConnected) near.querySelector("button, summary, a")?.focus(); // what had it is gone
        document.dispatchEvent(new CustomEvent("htmx:afterSwap", { detail: { elt: root } })); // its times
      }
    }
  } catch { /* it can't be reached just now */ }
  busy = false;
  show();
  if (!underWay()) { document.dispatchEvent(new CustomEvent("rowbell:rest")); return; }
  timer = setTimeout(refresh, again ? atLeast : each);
  again = false;
}

function show() {
  const says = root?.querySelector("[data-follows]");
  if (says) says.hidden = false;
}

if (underWay()) {
  document.addEventListener("rowbell:live", (e) => {
    const of = JSON.parse(e.detail.data);
    if ((of.execution?.id ?? of.delivery?.execution_id) === root.dataset.run) refresh();
  });
  document.addEventListener("visibilitychange", refresh);
  show();
  timer = setTimeout(refresh, each);
}
