"use strict";
// The heat map of methods and classes, and its difference to the row that the reader chooses.

{
  const maps = JSON.parse(document.getElementById("data-classes").textContent);
  const part = name => document.getElementById(`heat-${name}`);
  const table = document.querySelector("table.heat");
  const note = document.querySelector("#heat-map .note");

  function cell(value, strength, name) {
    const found = document.createElement("td");
    found.textContent = value === null ? "–" : value.toFixed(Math.abs(value) < 9.95 ? 1 : 0);
    if (value !== null) {
      found.style.setProperty("--strength", `${Math.round(75 * strength)}%`);
      found.className = value < 0 ? "below" : "above";
      found.title = name;
    }
    return found;
  }

  function heading(text, scope) {
    const found = document.createElement("th");
    const inner = document.createElement("span");
    inner.textContent = text;
    found.scope = scope;
    found.append(inner);
    return found;
  }

  function show() {
    const map = maps[part("score").value];
    const base = part("base").value === "" ? null : map.values[part("base").value];
    const wanted = part("filter").value.trim().toLowerCase();
    const columns = [...map.classes.keys()].filter(i => map.classes[i].toLowerCase().includes(wanted));
    const value = (row, i) => base === null ? row[i]
      : row[i] === null || base[i] === null ? null : row[i] - base[i];
    const found = map.values.flatMap(row => columns.map(i => Math.abs(value(row, i) ?? 0)));
    const largest = base === null ? 100 : Math.max(1, ...found);
    const head = document.createElement("tr");
    head.append(heading("", "col"), ...columns.map(i => heading(map.classes[i], "col")));
    const rows = map.values.map((row, place) => {
      const line = document.createElement("tr");
      const cells = columns.map(i => {
        const shown = value(row, i);
        return cell(shown, Math.abs(shown ?? 0) / largest, `${map.methods[place]}, ${map.classes[i]}`);
      });
      line.append(heading(map.methods[place], "row"), ...cells);
      return line;
    });
    const parts = [document.createElement("thead"), document.createElement("tbody")];
    parts[0].append(head);
    parts[1].append(...rows);
    table.replaceChildren(...parts);
    note.textContent = columns.length < map.classes.length ? `${columns.length} of ${map.classes.length} classes` : "";
  }

  function fillBases() {
    fill(part("base"), maps[part("score").value].methods);
    part("base").prepend(new Option("none", ""));
    part("base").value = "";
  }

  if (maps.length === 0) note.textContent = "Nothing to show yet.";
  else {
    fill(part("score"), maps.map(map => map.title));
    fillBases();
    part("score").addEventListener("change", () => { fillBases(); show(); });
    part("base").addEventListener("change", show);
    part("filter").addEventListener("input", show);
    show();
  }
}
