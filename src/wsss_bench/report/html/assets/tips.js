"use strict";
// One tooltip for all elements with data-tip: on hover, keyboard focus and tap.

{
  const tip = document.getElementById("tip");
  let owner = null;

  function place() {
    if (!owner) return;
    const box = owner.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left), innerWidth - tip.offsetWidth - 8);
    const above = box.bottom + tip.offsetHeight + 8 > innerHeight;
    tip.style.left = `${left}px`;
    tip.style.top = `${above ? box.top - tip.offsetHeight - 6 : box.bottom + 6}px`;
  }

  function show(found) {
    owner = found;
    tip.hidden = !owner;
    if (!owner) return;
    tip.textContent = owner.dataset.tip;
    owner.setAttribute("aria-describedby", "tip");
    place();
  }

  // A pointer that rests elsewhere, while the page scrolls to the focus, does not hide the tip of the focus.
  const ownerOf = element => element.closest("[data-tip]") ?? document.activeElement.closest("[data-tip]");

  for (const kind of ["mouseover", "focusin", "click"]) {
    document.addEventListener(kind, event => show(ownerOf(event.target)));
  }
  document.addEventListener("focusout", () => show(null));
  document.addEventListener("keydown", event => { if (event.key === "Escape") show(null); });
  addEventListener("scroll", place, { capture: true, passive: true }); // focus may scroll to its element
}
