"use strict";
function sortBy(table, column, direction) {
  const value = (row) => row.cells[column].dataset.sort;
  const compare = (a, b) => {
    const left = value(a), right = value(b);
    if (left === "" || right === "") return (left === "") - (right === "");
    const numeric = a.cells[column].classList.contains("number");
    return direction * (numeric ? left - right : left.localeCompare(right, "en", { numeric: true }));
  };
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort(compare));
}
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => header.querySelector("button").addEventListener("click", () => {
    const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    headers.forEach((other) => other.setAttribute("aria-sort", "none"));
    header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    sortBy(table, column, direction);
  }));
}
const toggles = [...document.querySelectorAll(".toggles input")];
for (const field of document.querySelectorAll("input[data-table]")) {
  const rows = [...document.getElementById(field.dataset.table).tBodies[0].rows];
  const texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent.toLowerCase()));
  const whole = new Set(texts.flat()); // a word that is some cell's whole content must match whole
  const status = document.querySelector(`[data-count="${field.dataset.table}"]`);
  const count = () => {
    const off = toggles.filter((box) => !box.checked).map((box) => box.id.replace("show-", ""));
    const shown = rows.filter((row) => !row.hidden && !off.some((name) => row.classList.contains(name)));
    status.textContent = `${shown.length} of ${rows.length} rows`;
  };
  const matches = (word, cells) => cells.some((cell) => whole.has(word) ? cell === word : cell.includes(word));
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, index) => { row.hidden = !words.every((word) => matches(word, texts[index])); });
    count();
  });
  toggles.forEach((box) => box.addEventListener("change", count));
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
