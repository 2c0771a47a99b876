"use strict";
// Light or dark: the choice of the reader, else that of the system. Runs before the page is drawn.

const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
}

function remembered(value) {
  try { // a browser may refuse it for local files
    if (value) localStorage.setItem("wsss_bench theme", value);
    return localStorage.getItem("wsss_bench theme");
  } catch { return value; }
}

if (remembered()) root.dataset.theme = remembered();

addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("theme");
  const show = () => {
    button.setAttribute("aria-pressed", isDark());
    button.textContent = isDark() ? "Light" : "Dark";
    document.dispatchEvent(new Event("theme"));
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered(root.dataset.theme);
    show();
  });
  system.addEventListener("change", show);
  show();
});
