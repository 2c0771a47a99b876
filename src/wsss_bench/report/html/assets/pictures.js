"use strict";
// The same image through all methods and stages: steps through the images, and compares two pictures.

{
  const galleries = JSON.parse(document.getElementById("data-pictures").textContent)
    .filter(gallery => gallery.images.length > 0);
  const part = name => document.getElementById(name);
  const state = { gallery: galleries[0], image: 0 };

  // Shows one picture of a sheet: the sheet as background, so large that the picture fills the element.
  function show(element, image, sheet, position, name) {
    const { file, columns, rows } = image[sheet];
    element.classList.remove("photos", "masks");
    const gap = 2;
    const place = (index, number) => number > 1 ? `${100 * index / (number - 1)}%` : "0";
    const size = (side, number) => `${100 * (number * (side + gap) - gap) / side}%`;
    element.classList.add("picture", sheet);
    element.style.aspectRatio = `${image.width} / ${image.height}`;
    element.style.backgroundImage = `url("pictures/${file}")`;
    element.style.backgroundSize = `${size(image.width, columns)} ${size(image.height, rows)}`;
    element.style.backgroundPosition =
      `${place(position % columns, columns)} ${place(Math.floor(position / columns), rows)}`;
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", name);
  }

  // All pictures of an image that can be compared: [name, sheet, position].
  function pictures(image) {
    const found = [["image", "photos", 0], ["truth", "masks", 0]];
    state.gallery.methods.forEach((method, row) => {
      if (image.maps[row] !== null) found.push([`${method.name}: score map`, "photos", image.maps[row]]);
      state.gallery.columns.forEach((column, place) => {
        const cell = image.cells[row][place];
        if ("mask" in cell) {
          found.push([`${method.name}: ${column}`, "masks", cell.mask]);
          found.push([`${method.name}: ${column}, errors`, "masks", cell.errors]);
        }
      });
    });
    return found;
  }

  function compare() {
    const image = state.gallery.images[state.image];
    const all = pictures(image);
    for (const side of ["left", "right"]) {
      const chosen = all.find(([name]) => name === part(side).value) ?? all[0];
      show(part(`${side}-picture`), image, chosen[1], chosen[2], chosen[0]);
    }
    part("right-picture").style.clipPath = `inset(0 0 0 ${part("slider").value}%)`;
    part("compare").style.setProperty("--cut", `${part("slider").value}%`);
  }

  function offer(side, names, otherwise) {
    const before = part(side).value;
    part(side).replaceChildren(...names.map(name => new Option(name)));
    part(side).value = names.includes(before) ? before : names[Math.min(otherwise, names.length - 1)];
  }

  function heading(text, scope) {
    const found = document.createElement("th");
    found.scope = scope;
    found.textContent = text;
    return found;
  }

  function picture(image, sheet, position, name, caption) {
    const cell = document.createElement("td");
    const shown = document.createElement("div");
    const text = document.createElement("small");
    show(shown, image, sheet, position, name);
    text.textContent = caption;
    cell.append(shown, text);
    return cell;
  }

  function empty(why) {
    const cell = document.createElement("td");
    cell.className = "empty";
    cell.textContent = why || "–";
    return cell;
  }

  // The mask of a method, or its errors.
  function result(image, row, place, view) {
    const cell = image.cells[row][place];
    const name = `${view} of ${state.gallery.methods[row].name}, ${state.gallery.columns[place]}`;
    return "mask" in cell ? picture(image, "masks", cell[view], name, cell.miou?.toFixed(1) ?? "") : empty(cell.why);
  }

  function scoreMap(image, row) {
    const { name, hasMaps } = state.gallery.methods[row];
    const position = image.maps[row];
    if (position === null) return empty(hasMaps ? image.cells[row][0].why : "");
    return picture(image, "photos", position, `score map of ${name}`, "");
  }

  // What is shown of each method: [name, cell of the method with this number].
  function stages(image) {
    const { methods, columns } = state.gallery;
    const view = document.querySelector("#view input:checked").value;
    const maps = methods.some(method => method.hasMaps);
    const single = columns.length === 1 && !maps;
    part("view").hidden = single;
    if (single) return ["mask", "errors"].map(kind => [kind, row => result(image, row, 0, kind)]);
    const results = columns.map((name, place) => [name, row => result(image, row, place, view)]);
    const map = [`score map${image.shownClass && `: ${image.shownClass}`}`, row => scoreMap(image, row)];
    return maps ? [map, ...results] : results;
  }

  // Methods against stages; the longer of the two goes to the right.
  function matrix(image) {
    const names = state.gallery.methods.map(method => method.name);
    const shown = stages(image);
    const across = names.length > shown.length;
    const lines = across
      ? shown.map(([stage, cell]) => [stage, names.map((_, row) => cell(row))])
      : names.map((name, row) => [name, shown.map(([, cell]) => cell(row))]);
    const top = document.createElement("thead");
    const body = document.createElement("tbody");
    const head = across ? names : shown.map(([stage]) => stage);
    top.insertRow().append(heading("", "col"), ...head.map(text => heading(text, "col")));
    for (const [name, cells] of lines) body.insertRow().append(heading(name, "row"), ...cells);
    part("matrix").replaceChildren(top, body);
    part("matrix").style.setProperty("--columns", head.length);
  }

  function legend(image) {
    part("class-legend").replaceChildren(...image.classes.map(([name, colour]) => {
      const item = document.createElement("li");
      const chip = document.createElement("i");
      chip.className = "chip";
      chip.style.background = colour;
      item.append(chip, ` ${name}`);
      return item;
    }));
  }

  function select(position) {
    const { images } = state.gallery;
    state.image = (position + images.length) % images.length;
    const image = images[state.image];
    part("place").textContent = `${state.image + 1} of ${images.length}`;
    part("why").textContent = `${image.id}: ${image.reason}`;
    state.buttons.forEach((button, place) => {
      if (place === state.image) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
    show(part("photo"), image, "photos", 0, `image ${image.id}`);
    show(part("truth"), image, "masks", 0, "truth");
    legend(image);
    matrix(image);
    const names = pictures(image).map(([name]) => name);
    offer("left", names, 0);
    offer("right", names, 2);
    compare();
  }

  function openGallery() {
    state.gallery = galleries[part("gallery").value];
    state.buttons = state.gallery.images.map((image, position) => {
      const button = document.createElement("button");
      button.type = "button";
      show(button, image, "photos", 0, `image ${position + 1}: ${image.reason}`);
      button.removeAttribute("role");
      button.title = image.reason;
      button.addEventListener("click", () => select(position));
      return button;
    });
    for (const strip of document.querySelectorAll("#strips .strip")) {
      const { images } = state.gallery;
      strip.replaceChildren(...state.buttons.filter((_, place) => images[place].rule === strip.dataset.rule));
      strip.parentElement.hidden = strip.children.length === 0;
    }
    select(0);
  }

  function step(event) {
    const change = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const taken = event.target.closest("input, select, textarea, .scroll, .plot");
    const section = part("pictures").getBoundingClientRect();
    const inView = section.top < innerHeight && section.bottom > 0;
    if (!change || taken || !inView || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    select(state.image + change);
  }

  if (galleries.length > 0) {
    fill(part("gallery"), galleries.map(gallery => gallery.title));
    part("gallery").parentElement.hidden = galleries.length < 2;
    part("gallery").addEventListener("change", openGallery);
    part("view").addEventListener("change", () => matrix(state.gallery.images[state.image]));
    part("previous").addEventListener("click", () => select(state.image - 1));
    part("next").addEventListener("click", () => select(state.image + 1));
    for (const name of ["left", "right"]) part(name).addEventListener("change", compare);
    part("slider").addEventListener("input", compare);
    document.addEventListener("keydown", step);
    openGallery();
  }
}
