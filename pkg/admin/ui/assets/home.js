// The dashboard while one looks at it: a strip of what has ended in the last two minutes, which
// comes from the live stream; a button that stops all that moves; and no part is exchanged that
// is pointed at, or has the focus.

const bin = 2000, bins = 60, width = 720, height = 72;
const now = document.querySelector("[data-now]");
const state = document.querySelector(".livestate");
let still = false;

if (now) {
  const svg = now.querySelector("svg"), rate = now.querySelector("[data-nowrate]");
  const skew = Date.now() - Number(now.dataset.now); // of this clock before the server's
  const counts = new Map();
  const kinds = ["done", "failed", "cancelled"];
  const of = { success: 0, failure: 1, cancelled: 2 };
  const bars = [];
  for (let i = 0; i < bins; i++) {
    bars.push(kinds.map((kind) => {
      const r = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      r.setAttribute("class", "bar " + kind);
      r.setAttribute("x", (i + 0.15) * width / bins);
      r.setAttribute("width", 0.7 * width / bins);
      r.setAttribute("height", 0);
      svg.append(r);
      return r;
    }));
  }
  document.addEventListener("rowbell:live", (e) => {
    if (e.detail.type !== "execution") return;
    const event = JSON.parse(e.detail.data), kind = of[event.execution?.status];
    if (kind === undefined) return;
    const at = Math.floor(Date.parse(event.at) / bin);
    const n = counts.get(at) ?? [0, 0, 0];
    n[kind]++;
    counts.set(at, n);
  });
  const nice = (n) => { for (let step = 1; ; step *= 10) for (const f of [4, 10, 20]) if (f * step >= n) return f * step; };
  const draw = () => {
    if (still || document.hidden) return;
    const last = Math.floor((Date.now() - skew) / bin) - 1; // what ends now is told in a moment
    let most = 1, minute = 0;
    for (const [at, n] of counts) {
      const sum = n[0] + n[1] + n[2];
      if (at <= last - bins) { counts.delete(at); continue; }
      most = Math.max(most, sum);
      if (at > last - 60000 / bin) minute += sum;
    }
    const top = nice(most);
    for (let i = 0; i < bins; i++) {
      const n = counts.get(last - bins + 1 + i) ?? [0, 0, 0];
      let y = height;
      n.forEach((count, kind) => {
        const h = count === 0 ? 0 : Math.max(count / top * height, 2);
        y -= h;
        bars[i][kind].setAttribute("y", y);
        bars[i][kind].setAttribute("height", h);
      });
    }
    rate.textContent = minute.toLocaleString("en");
  };
  draw();
  setInterval(draw, matchMedia("(prefers-reduced-motion: reduce)").matches ? 10000 : 1000);
}

if (state) {
  const text = state.querySelector("[data-livetext]"), button = state.querySelector("button");
  const root = document.documentElement;
  const show = () => {
    const away = root.dataset.stream === "away";
    state.dataset.state = still ? "still" : away ? "away" : "live";
    text.textContent = still ? "Paused" : away ? "Not connected" : "Live";
    button.textContent = still ? "Go on" : "Pause";
  };
  button.addEventListener("click", () => {
    still = !still;
    document.dispatchEvent(new CustomEvent("rowbell:still", { detail: still }));
    show();
  });
  new MutationObserver(show).observe(root, { attributeFilter: ["data-stream"] });
  state.hidden = false;
  show();
}

// What is pointed at, or has the focus, stays as it is.
const held = (el) => el.matches(":hover") || el.contains(document.activeElement);
let before = new Set();
document.addEventListener("htmx:oobBeforeSwap", (e) => {
  const target = e.detail.target;
  if (held(target)) { e.detail.shouldSwap = false; return; }
  if (target.id === "latest") before = new Set([...target.querySelectorAll("li")].map((li) => li.dataset.id));
});
document.addEventListener("htmx:oobAfterSwap", (e) => {
  const target = e.detail.target;
  if (target.id !== "latest" || before.size === 0) return;
  target.querySelectorAll("li").forEach((li) => { if (!before.has(li.dataset.id)) li.classList.add("fresh"); });
});
document.addEventListener("htmx:beforeSwap", (e) => {
  const target = e.detail.target;
  if (["figures", "concerns"].includes(target.id) && target.contains(document.activeElement)) e.detail.shouldSwap = false;
});
