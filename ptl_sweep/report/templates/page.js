"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

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
for (const table of all("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  const buttons = headers.map((header) => header.querySelector("button"));
  headers.forEach((header, column) => buttons[column].addEventListener("click", () => {
    const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    headers.forEach((other) => other.setAttribute("aria-sort", "none"));
    header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    sortBy(table, column, direction);
  }));
  // one stop of the Tab key for each table: arrows go from header to header
  table.tHead.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (!next) return;
    event.preventDefault();
    buttons.forEach((button) => { button.tabIndex = button === next ? 0 : -1; });
    next.focus();
  });
}

const toggles = all(".toggles input");
for (const field of all("input[data-table]")) {
  const rows = [...document.getElementById(field.dataset.table).tBodies[0].rows];
  const texts = rows.map((row) => [...row.cells].map((cell) => (cell.title || cell.textContent).toLowerCase()));
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

// tables as text: the rows that are visible, in the order in which they stand
const text = (cell) => (cell.title || cell.textContent).trim().replace(/\s+/g, " ");
const tex = (words) => words.replace(/[\\{}$&#%_~^]/g, (sign) => ({
  "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
}[sign] || `\\${sign}`)).replace(/[²≥≤→]/g, (sign) => ({
  "²": "\\textsuperscript{2}", "≥": "$\\geq$", "≤": "$\\leq$", "→": "$\\rightarrow$",
}[sign]));
const formats = {
  markdown(head, rows, numeric) {
    const line = (cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
    return [line(head), line(numeric.map((is) => is ? "---:" : "---")), ...rows.map(line)].join("\n");
  },
  latex(head, rows, numeric) {
    const line = (cells) => `${cells.map(tex).join(" & ")} \\\\`;
    const columns = numeric.map((is) => is ? "r" : "l").join("");
    return [`\\begin{tabular}{${columns}}`, "\\toprule", line(head), "\\midrule", ...rows.map(line),
      "\\bottomrule", "\\end{tabular}"].join("\n");
  },
};
function tableText(table, format) {
  const headers = [...table.tHead.rows[0].cells];
  const head = headers.map((cell) => all("span", cell).map((part) => part.textContent).join(", "));
  const rows = [...table.tBodies[0].rows].filter((row) => row.getClientRects().length);
  const numeric = headers.map((cell) => cell.classList.contains("number"));
  return `${formats[format](head, rows.map((row) => [...row.cells].map(text)), numeric)}\n`;
}
for (const button of all("[data-copy]")) {
  button.addEventListener("click", async () => {
    const words = tableText(document.getElementById(button.dataset.of), button.dataset.copy);
    const status = button.parentElement.querySelector("[role=status]");
    try {
      await navigator.clipboard.writeText(words);
      status.textContent = "copied";
    } catch {
      status.textContent = "this browser does not let a page copy";
    }
  });
}

// pictures at full width, one after the other; arrows turn the pages
const viewer = document.getElementById("viewer");
function enlarge(figures, index) {
  const stage = viewer.querySelector(".stage");
  viewer.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) turn(step);
  };
  const turn = (step) => {
    index = (index + step + figures.length) % figures.length;
    stage.replaceChildren(figures[index].cloneNode(true));
  };
  viewer.querySelector(".previous").onclick = () => turn(-1);
  viewer.querySelector(".next").onclick = () => turn(1);
  viewer.querySelector(".close").onclick = () => viewer.close();
  turn(0);
  viewer.showModal();
}
for (const gallery of all("[data-gallery]")) {
  const figures = all("figure", gallery);
  figures.forEach((figure, index) => all("img", figure).forEach((image) => {
    image.addEventListener("click", () => enlarge(figures, index));
  }));
  gallery.querySelector(".enlarge button").addEventListener("click", () => enlarge(figures, 0));
}

// what a link leads to must be visible, and what scrolls must be reached by keyboard
const reveal = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target?.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
  target?.scrollIntoView();
};
addEventListener("hashchange", reveal);
if (location.hash) reveal();
document.getElementById("unfold")?.addEventListener("click", (event) => {
  const folds = all("main details");
  const open = folds.some((part) => !part.open);
  folds.forEach((part) => { part.open = open; });
  event.target.textContent = open ? "Fold everything" : "Unfold everything";
});
const reach = () => all(".plot .scroll").forEach((part) => {
  if (part.scrollWidth > part.clientWidth) part.tabIndex = 0; else part.removeAttribute("tabindex");
});
addEventListener("resize", reach);
reach();
