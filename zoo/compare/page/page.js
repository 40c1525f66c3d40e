"use strict";

/** What a row is sorted by in a column: a number, a text, or null. */
function valueOf(row, column) {
  const value = row.cells[column].dataset.v;
  if (value === undefined) return null;
  return value.trim() === "" || Number.isNaN(Number(value)) ? value : Number(value);
}

/** Orders two values upwards; what is missing comes last either way. */
function order(a, b, up) {
  if (a === null || b === null) return (a === null) - (b === null);
  const before = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  return up ? before : -before;
}

/** Sorts a table by the column of a head, the other way round when it is sorted by it. */
function sortBy(head) {
  const now = head.getAttribute("aria-sort");
  const up = now === "none" ? head.dataset.first === "up" : now === "descending";
  for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const body = head.closest("table").tBodies[0];
  const keyed = Array.from(body.rows, (row) => [valueOf(row, head.cellIndex), row]);
  keyed.sort((a, b) => order(a[0], b[0], up));
  body.append(...keyed.map(([, row]) => row));
}

/** Shows the rows that hold a text, in all tables of a panel. */
function filter(field) {
  const wanted = field.value.trim().toLowerCase();
  for (const row of field.closest(".panel").querySelectorAll("tbody tr")) {
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
  }
}

/** Shows the table that was chosen, and none beside it. */
function choose(list) {
  for (const option of list.options) document.getElementById(option.value).hidden = !option.selected;
}

/** Shows one data set, or all of them. */
function only(data) {
  for (const panel of document.querySelectorAll(".panel")) panel.hidden = data !== "" && ![data, ""].includes(panel.dataset.set);
  window.dispatchEvent(new Event("resize")); // pictures that were hidden have no width yet
}

function listen() {
  for (const head of document.querySelectorAll("thead th")) head.firstChild.addEventListener("click", () => sortBy(head));
  for (const field of document.querySelectorAll(".filter")) field.addEventListener("input", () => filter(field));
  for (const list of document.querySelectorAll(".choose")) list.addEventListener("change", () => choose(list));
  const data = document.getElementById("data");
  if (data) data.addEventListener("change", () => only(data.value));
  window.addEventListener("beforeprint", () => window.dispatchEvent(new Event("resize")));
}

/** Draws the pictures one after the other, so that the page can be used meanwhile. */
async function draw() {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const how = { actions: false, renderer: "svg", mode: "vega-lite", config: read("config") };
  for (const [id, spec] of Object.entries(read("specs"))) {
    await vegaEmbed(document.getElementById(id), spec, how);
    await new Promise((resume) => setTimeout(resume));
  }
  document.documentElement.dataset.drawn = "yes";
}

listen();
draw();
