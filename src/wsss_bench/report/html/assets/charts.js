"use strict";
// Draws the figures; a list box for each choice that leads to one.

function fill(select, labels) {
  select.replaceChildren(...labels.map((label, position) => new Option(label, position)));
}

{
  const charts = JSON.parse(document.getElementById("data-charts").textContent);
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function themed(layout) {
    const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line") };
    const found = {
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 13, color: colour("--text") },
      hoverlabel: { bgcolor: colour("--surface"), bordercolor: colour("--line"), font: { color: colour("--text") } },
    };
    for (const name of ["xaxis", "yaxis"]) found[name] = { ...layout[name], ...axis };
    return found;
  }

  function draw(chart) {
    const { figure, note } = chart.leaf;
    const settings = { displaylogo: false, responsive: true, displayModeBar: false };
    Plotly.react(chart.plot, structuredClone(figure.data), themed(figure.layout), settings);
    chart.note.textContent = note;
  }

  function choose(chart, level) {
    let node = { options: charts[chart.name] };
    chart.selects.forEach((select, place) => {
      if (place > level) { // the same choice as before where there is one
        const before = select.selectedOptions[0]?.textContent;
        fill(select, node.options.map(option => option.label));
        select.value = Math.max(0, node.options.findIndex(option => option.label === before));
      }
      node = node.options[select.value];
    });
    chart.leaf = node;
    draw(chart);
  }

  function build(element) {
    const name = element.dataset.chart;
    if (charts[name].length === 0) {
      element.querySelector(".note").textContent = "Nothing to show yet.";
      return [];
    }
    const levels = element.dataset.levels.split("|");
    const chart = { name, plot: element.querySelector(".plot"), note: element.querySelector(".note") };
    chart.selects = levels.map((level, place) => {
      const label = document.createElement("label");
      const select = document.createElement("select");
      label.append(`${level} `, select);
      element.querySelector(".controls").append(label);
      select.addEventListener("change", () => choose(chart, place));
      return select;
    });
    choose(chart, -1);
    return [chart];
  }

  const built = [...document.querySelectorAll("[data-chart]")].flatMap(build);
  document.addEventListener("theme", () => built.forEach(draw));
}
