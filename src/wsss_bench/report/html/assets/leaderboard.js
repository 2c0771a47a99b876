"use strict";
// Sorts and filters the leaderboard.

{
  const table = document.getElementById("scores");
  const filters = [...document.querySelectorAll("[data-filter]")];

  function filter() {
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = filters.some(select => {
        const wanted = select.value;
        const ranking = select.dataset.filter === "readout" && select.selectedIndex === 1; // "scores that rank"
        return ranking ? !("ranks" in row.dataset) : wanted !== "" && row.dataset[select.dataset.filter] !== wanted;
      });
      shown += !row.hidden;
    }
    const visible = [...table.tBodies[0].rows].filter(row => !row.hidden);
    const axes = new Set(visible.map(row => row.dataset.axis));
    const product = filters.find(select => select.dataset.filter === "product").value;
    table.classList.toggle("one-product", product !== "");
    table.querySelector("thead .seeds button").textContent =
      product && axes.size === 1 ? `Random seeds, ${[...axes][0]}` : "Random seeds";
    document.getElementById("shown").textContent = `${shown} of ${table.tBodies[0].rows.length} scores`;
  }

  function key(row, column) {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    return text !== "" && isFinite(text) ? Number(text) : text;
  }

  function sort(heading) {
    const headings = [...heading.parentElement.cells];
    const descending = heading.getAttribute("aria-sort") === "ascending"
      || (!heading.hasAttribute("aria-sort") && heading.matches(".number, .seeds"));
    for (const other of headings) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const column = headings.indexOf(heading);
    const rows = [...table.tBodies[0].rows].sort((one, other) => {
      const [a, b] = [key(one, column), key(other, column)];
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
      return descending ? -order : order;
    });
    table.tBodies[0].append(...rows);
  }

  if (table) {
    for (const select of filters) select.addEventListener("change", filter);
    for (const heading of table.tHead.rows[0].cells) {
      heading.firstElementChild.addEventListener("click", () => sort(heading));
    }
    filter();
  }
}
