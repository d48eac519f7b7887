"use strict";

// Sorts rows inside each group; rows without a value stay last in both directions.
function sortBy(table, index, direction) {
  const sign = direction === "ascending" ? 1 : -1;
  for (const body of table.tBodies) {
    const rows = Array.from(body.rows).filter((row) => !row.classList.contains("group"));
    const keyed = rows.map((row) => ({ row, key: keyOf(row.cells[index]) }));
    keyed.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
      const order = typeof a.key === "number" ? a.key - b.key : a.key.localeCompare(b.key, "en");
      return sign * order;
    });
    body.append(...keyed.map((entry) => entry.row));
  }
}

function keyOf(cell) {
  if (!("value" in cell.dataset)) return null;
  const number = Number(cell.dataset.value);
  return cell.tagName === "TH" || Number.isNaN(number) ? cell.dataset.value : number;
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, index) => {
    head.querySelector("button").addEventListener("click", () => {
      const opposite = { ascending: "descending", descending: "ascending" };
      const direction = opposite[head.getAttribute("aria-sort")] || head.dataset.first;
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", direction);
      sortBy(table, index, direction);
    });
  });
}
