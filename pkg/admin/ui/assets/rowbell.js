// What pages do beside their HTML. All of them work without, but for what says so.

const each = (root, selector, f) => { if (root.matches?.(selector)) f(root); root.querySelectorAll(selector).forEach(f); };

// Times: in the browser's zone and language.
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
function times(root) {
  each(root, "time[datetime]", (t) => { t.title = exact.format(new Date(t.dateTime)); });
}

// Copy buttons: of a text, or of a path of these pages.
document.addEventListener("click", async (e) => {
  const button = e.target.closest("[data-copy]");
  if (!button) return;
  const text = button.dataset.copy.startsWith("/") ? location.origin + location.pathname : button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
    const before = button.innerHTML;
    button.textContent = "Copied";
    setTimeout(() => { button.innerHTML = before; }, 1500);
  } catch { window.prompt("Copy this", text); }
});

// A form that does what can't be undone asks first, or the button of it that does.
document.addEventListener("submit", (e) => {
  const form = e.target, by = e.submitter, ask = by?.dataset.confirm ?? form.dataset.confirm;
  if (!ask) return;
  if (form.dataset.sure) { delete form.dataset.sure; return; } // once: whoever comes back to the page is asked again
  e.preventDefault();
  const dialog = document.createElement("dialog");
  const inner = document.createElement("form");
  inner.method = "dialog";
  const text = document.createElement("p");
  text.id = "ask"; text.textContent = ask;
  dialog.setAttribute("aria-labelledby", "ask");
  const row = document.createElement("div");
  row.className = "actions";
  const action = by ?? form.querySelector("button:not([type=button])");
  for (const [value, label, kind] of [["no", "Not now", ""], ["yes", action?.textContent ?? "Yes", "first"]]) {
    const b = document.createElement("button");
    b.value = value; b.textContent = label; b.className = kind;
    row.append(b);
  }
  inner.append(text, row); dialog.append(inner); document.body.append(dialog);
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (dialog.returnValue === "yes") { form.dataset.sure = "yes"; form.requestSubmit(by); }
  });
  dialog.showModal();
});

// The theme: as the system has it, light, or dark.
const themes = ["system", "light", "dark"];
each(document, "[data-theme-next]", (button) => {
  const name = button.querySelector("[data-theme-name]");
  const now = () => document.documentElement.dataset.theme ?? "system";
  const show = () => { name.textContent = now(); };
  button.hidden = false;
  show();
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(now()) + 1) % themes.length];
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try { localStorage.setItem("rowbell-theme", next); } catch { /* it counts for this page */ }
    show();
  });
});

// A menu that was opened closes with Escape, and when something else is clicked.
document.addEventListener("keydown", (e) => {
  if (e.key !== "Escape") return;
  each(document, ".whoami details[open], .where details[open]", (d) => { d.open = false; d.querySelector("summary").focus(); });
});
document.addEventListener("click", (e) => {
  each(document, ".whoami details[open], .where details[open]", (d) => { if (!d.contains(e.target)) d.open = false; });
});

// A link that a host application has signed stands behind #, where no server sees it.
each(document, "form[data-enter]", (form) => {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  history.replaceState(null, "", location.pathname + location.search);
  if (!token) { document.getElementById("entering").textContent = "There is no link to come in by: open this page from your application."; return; }
  form.elements.token.value = token;
  form.submit();
});

// In another page's frame: it may know how to sign in anew.
if (document.querySelector("form[data-ended]") && window.parent !== window) window.parent.postMessage({ rowbell: "ended" }, "*");

// Parts that follow what happens: the stream says what, and htmx fetches the part anew, at
// most each data-every milliseconds. Who looks may stop it (WCAG 2.2.2).
let stream = null, still = false;
const root = document.documentElement;
const waits = new Map(); // by id, which outlives the part that is exchanged
function stir(el) {
  if (document.hidden || still) { el.dataset.stale = ""; return; }
  const id = el.id, every = Number(el.dataset.every ?? 0);
  const wait = every > 0 && waits.get(id);
  if (wait) { wait.again = true; return; }
  delete el.dataset.stale;
  el.dispatchEvent(new CustomEvent("live"));
  if (every === 0) return;
  const mine = { again: false };
  waits.set(id, mine);
  setTimeout(() => {
    waits.delete(id);
    const part = document.getElementById(id);
    if (mine.again && part) stir(part);
  }, every);
}
function follow() {
  const wanted = new Set();
  each(document, "[data-live]", (el) => { el.dataset.live.split(" ").forEach((t) => wanted.add(t)); });
  if (wanted.size === 0 || stream) return;
  const base = document.querySelector(".rail .brand")?.getAttribute("href") ?? "/";
  const query = new URLSearchParams([...wanted].map((t) => ["type", t]));
  const of = document.querySelector("[data-live][data-workflow]");
  if (of) query.set("workflow_id", of.dataset.workflow); // all that it is about
  if (document.querySelector("[data-now]")) query.set("ago", "2m"); // its chart begins with what was
  stream = new EventSource(base + "live?" + query);
  stream.addEventListener("open", () => { root.dataset.stream = "open"; });
  stream.addEventListener("error", () => { root.dataset.stream = "away"; });
  for (const type of wanted) {
    stream.addEventListener(type, (e) => {
      document.dispatchEvent(new CustomEvent("rowbell:live", { detail: { type, data: e.data } }));
      each(document, `[data-live~="${type}"]`, stir);
    });
  }
}

// A part that can't be fetched: that is said, with a way to ask for all of it again.
document.addEventListener("htmx:sendError", () => {
  if (document.getElementById("unreachable")) return;
  const note = document.createElement("p"), again = document.createElement("a");
  note.id = "unreachable"; note.className = "note bad"; note.setAttribute("role", "alert");
  again.className = "button"; again.href = location.href; again.textContent = "Try again";
  note.append("The server can’t be reached. What you see is as it was. ", again);
  document.getElementById("main").prepend(note);
});
document.addEventListener("htmx:afterOnLoad", () => { document.getElementById("unreachable")?.remove(); });
const catchUp = () => { if (!document.hidden && !still) each(document, "[data-stale]", stir); };
document.addEventListener("visibilitychange", catchUp);
document.addEventListener("htmx:beforeRequest", (e) => { if (still && e.target.hasAttribute("data-live")) e.preventDefault(); });
document.addEventListener("rowbell:still", (e) => { still = e.detail; catchUp(); });
document.addEventListener("htmx:afterSwap", (e) => { times(e.detail.elt); });
times(document);
follow();
document.addEventListener("rowbell:rest", () => { stream?.close(); stream = null; delete root.dataset.stream; }); // nothing is followed any more
window.addEventListener("pagehide", () => { stream?.close(); stream = null; });
window.addEventListener("pageshow", follow);
