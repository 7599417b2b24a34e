// <rowbell-inbox>: a bell with the number of what is unread, and the inbox below it.
//
//   <script type="module" src="https://bell.example.com/rowbell-inbox.js"></script>
//   <rowbell-inbox token="a link that your server has signed"></rowbell-inbox>
//
// A link ends after 15 minutes at most. Set the attribute anew before that, or give a function
// that fetches one: document.querySelector("rowbell-inbox").renew = async () => "…". What the
// inbox shows stays in a frame of its own, apart from the page and its scripts.

const home = new URL(".", import.meta.url);

const styles = `
  :host { display: inline-block; position: relative; font: 1rem/1.5 system-ui, sans-serif; }
  button { position: relative; display: inline-grid; place-items: center; inline-size: 2.5rem; block-size: 2.5rem; padding: 0; border: 1px solid transparent; border-radius: 8px; background: none; color: inherit; cursor: pointer; }
  button:hover { border-color: currentColor; }
  button:focus-visible { outline: 3px solid #0b6a79; outline-offset: 2px; }
  svg { inline-size: 1.5rem; block-size: 1.5rem; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }
  b { position: absolute; inset-block-start: 0; inset-inline-end: 0; min-inline-size: 1.2rem; padding: 0 .3rem; border-radius: 99px; background: #b3261e; color: #fff; font: 600 .75rem/1.2rem system-ui, sans-serif; }
  b[hidden], .panel[hidden] { display: none; }
  .panel { position: absolute; inset-block-start: calc(100% + .4rem); inset-inline-end: 0; inline-size: min(26rem, 92vw); block-size: min(34rem, 80vh); border: 1px solid #c9c3b3; border-radius: 12px; overflow: hidden; background: Canvas; box-shadow: 0 10px 40px rgb(0 0 0 / 20%); z-index: 1000; }
  iframe { inline-size: 100%; block-size: 100%; border: 0; }
`;

class RowbellInbox extends HTMLElement {
  static observedAttributes = ["token"];
  #root = this.attachShadow({ mode: "open" });
  #frame; #count; #button; #panel; #renewing = false;

  // renew returns a fresh link; set it, or set the attribute token.
  renew = null;

  constructor() {
    super();
    this.#root.innerHTML = `<style>${styles}</style><button type="button" aria-haspopup="dialog" aria-expanded="false"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M6 17V11a6 6 0 0 1 12 0v6l1.5 2h-15z"/><path d="M10 21.5h4"/><path d="M12 5V2.500"/></svg><b hidden></b></button><div class="panel" role="dialog" aria-label="Inbox" hidden><iframe title="Inbox"></iframe></div>`;
    [this.#button, this.#count, this.#panel, this.#frame] = ["button", "b", ".panel", "iframe"].map((s) => this.#root.querySelector(s));
    this.#button.addEventListener("click", () => this.toggle());
    this.#say(0);
  }

  connectedCallback() {
    window.addEventListener("message", this.#heard);
    document.addEventListener("click", this.#outside);
    document.addEventListener("keydown", this.#escape);
    this.#enter();
  }

  disconnectedCallback() {
    window.removeEventListener("message", this.#heard);
    document.removeEventListener("click", this.#outside);
    document.removeEventListener("keydown", this.#escape);
  }

  attributeChangedCallback() { if (this.isConnected) this.#enter(); }

  // toggle shows the inbox, or hides it.
  toggle(show = this.#panel.hidden) {
    this.#panel.hidden = !show;
    this.#button.setAttribute("aria-expanded", String(show));
    if (show) this.#frame.focus(); else this.#button.focus();
  }

  // #enter signs in in the frame. The link stands behind #, which is sent to nobody.
  #enter() {
    const token = this.getAttribute("token");
    if (token) this.#frame.src = new URL("enter?to=/inbox#token=" + encodeURIComponent(token), home).href;
  }

  #say(n) {
    this.#count.hidden = n === 0;
    this.#count.textContent = n > 99 ? "99+" : String(n);
    this.#button.setAttribute("aria-label", n === 0 ? "Inbox" : `Inbox, ${n} unread`);
  }

  #heard = async (e) => {
    if (e.source !== this.#frame.contentWindow || e.origin !== home.origin) return;
    if (e.data?.rowbell === "unread" && Number.isInteger(e.data.count)) {
      this.#say(e.data.count);
      this.dispatchEvent(new CustomEvent("unread", { detail: e.data.count, bubbles: true }));
    }
    if (e.data?.rowbell === "ended" && !this.#renewing) {
      this.dispatchEvent(new CustomEvent("ended", { bubbles: true }));
      if (!this.renew) return;
      this.#renewing = true;
      try { this.setAttribute("token", await this.renew()); } finally { setTimeout(() => { this.#renewing = false; }, 5000); }
    }
  };

  #outside = (e) => { if (!this.#panel.hidden && !e.composedPath().includes(this)) this.toggle(false); };
  #escape = (e) => { if (e.key === "Escape" && !this.#panel.hidden) this.toggle(false); };
}

customElements.define("rowbell-inbox", RowbellInbox);
