// What the shell adds to the tables of a view once it is drawn.
// On a narrow screen a row of a wide table is a card (layout.css), in which every figure says what it is.

/** Give the cells of such tables the titles of their columns; a title for readers of the screen alone is not shown. @param {ParentNode} shown */
export function carded(shown) {
  for (const table of /** @type {NodeListOf<HTMLTableElement>} */ (shown.querySelectorAll("table.stacks"))) {
    const titles = [...(table.tHead?.rows[0].cells ?? [])].map((head) => (head.querySelector(".unseen") ? "" : (head.textContent ?? "").trim()));
    for (const row of table.tBodies[0]?.rows ?? []) titles.forEach((title, i) => row.cells[i]?.setAttribute("data-label", title));
  }
}

/** What may have to be scrolled sideways can be by keyboard, and says what it holds. @param {ParentNode} shown */
export function scrolled(shown) {
  for (const wide of shown.querySelectorAll(".wide, .curves")) {
    const heading = wide.closest("section, details")?.querySelector("h2, h3, summary") ?? shown.querySelector("h1");
    const name = (wide.querySelector("caption") ?? heading)?.textContent?.trim().slice(0, 120) || "table";
    for (const [key, value] of Object.entries({ tabindex: "0", role: "group", "aria-label": name })) if (wide.getAttribute(key) !== value) wide.setAttribute(key, value);
  }
}
