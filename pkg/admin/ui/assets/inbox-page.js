// The inbox's pages: they follow what comes, tell the page that shows them, and know the zone.

const base = document.querySelector(".rail .brand")?.getAttribute("href") ?? "/";
const tell = (message) => { if (window.parent !== window) window.parent.postMessage({ rowbell: message.kind, ...message }, "*"); };

let first = true;
const stream = new EventSource(base + "inbox/unread");
stream.addEventListener("unread", (e) => {
  tell({ kind: "unread", count: Number(e.data) });
  // Something has come or was read elsewhere: the list is shown anew, unless it is in use.
  if (!first && !document.hidden && document.querySelector("[data-inbox]") && !document.querySelector("[data-inbox] :focus")) location.reload();
  first = false;
});
window.addEventListener("pagehide", () => stream.close());

// Who opens what a notification is about has read it.
for (const link of document.querySelectorAll("a[data-reads]")) {
  link.addEventListener("click", () => {
    fetch(base + "inbox/mark", { method: "POST", keepalive: true, body: new URLSearchParams({ mark: "read", id: link.dataset.reads }) });
  });
}

for (const form of document.querySelectorAll("form[data-zone]")) {
  if (!form.elements.zone.value) form.elements.zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
}
