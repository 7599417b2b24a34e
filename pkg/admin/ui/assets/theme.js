// Before the page is drawn, so that it doesn't flash: the theme that was chosen last.
(() => {
  let theme = null;
  try { theme = localStorage.getItem("rowbell-theme"); } catch { /* no storage: the system's */ }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
