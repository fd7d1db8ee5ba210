// Before anything is painted: the theme that this browser chose. Without a choice, the system's.
(function () {
  "use strict";
  try {
    var chosen = localStorage.getItem("tocsin.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch (error) { /* storage may be forbidden; then the system's theme it is */ }
})();
