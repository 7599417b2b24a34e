// Runs that have ended since the list was made: how many, and a way to them. The list itself
// doesn't move while somebody reads it.
const note = document.getElementById("newer");
let count = 0;
note?.addEventListener("live", () => {
  count += 1;
  note.querySelector("[data-count]").textContent = count === 1 ? "Another run has ended." : `${count} more runs have ended.`;
  note.hidden = false;
});
note?.querySelector("[data-newer]").addEventListener("click", () => {
  const to = new URL(location.href);
  to.searchParams.delete("cursor");
  location.assign(to);
});
