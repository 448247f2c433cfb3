// On a narrow screen a row of a wide table is a card (layout.css), in which every figure says what it is.

/** Give the cells of such tables the titles of their columns; a title for readers of the screen alone is not shown. @param {ParentNode} shown */
export function carded(shown) {
  for (const table of /** @type {NodeListOf<HTMLTableElement>} */ (shown.querySelectorAll("table.stacks"))) {
    const titles = [...(table.tHead?.rows[0].cells ?? [])].map((head) => (head.querySelector(".unseen") ? "" : (head.textContent ?? "").trim()));
    for (const row of table.tBodies[0]?.rows ?? []) titles.forEach((title, i) => row.cells[i]?.setAttribute("data-label", title));
  }
}
