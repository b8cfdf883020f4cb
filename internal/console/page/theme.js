// Before anything is drawn: the theme that was chosen here, else the system's.
(function () {
  var theme = null;
  try { theme = localStorage.getItem("theme"); } catch (e) { /* storage is off */ }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
