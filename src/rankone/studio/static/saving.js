// A view as one file that opens without a server: what it shows, with its styles, without a script or a link out of it.
import { why } from "/static/api.js";
import { notice, place, subject, workspace } from "/static/store.js";

const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
/** What can only be used where the studio runs. */
const LIVE = "button, form, .does, .back, input[type=range], input[type=checkbox], select, textarea, iframe, script, [role=status]:empty";

const FIGURES = "input[type=number], input[inputmode=decimal]";

export async function savePage() {
  try {
    const styles = await Promise.all(["theme", "layout"].map(async (name) => (await fetch(`/static/${name}.css`)).text()));
    const page = standing(/** @type {HTMLElement} */ (document.getElementById("main")));
    // The styles go in last: this document's own policy would refuse them. No text before </head> holds a "<" unescaped.
    const whole = page.documentElement.outerHTML.replace("</head>", () => `<style>${styles.join("\n")}</style></head>`);
    const file = new Blob([`<!doctype html>\n${whole}\n`], { type: "text/html" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `${[place.value.view, place.value.of].filter(Boolean).join("-").replace(/[^\w.-]+/g, "_").slice(0, 80)}.html`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch (error) {
    notice.value = `The page could not be saved: ${why(error)}`;
  }
}

/** A document of what is shown. Foreign text comes over as text nodes, so that it is escaped where it is written. @param {HTMLElement} shown */
function standing(shown) {
  const page = document.implementation.createHTMLDocument(`${shown.querySelector("h1")?.textContent ?? "RankOne"} – RankOne`);
  page.documentElement.lang = "en";
  page.head.prepend(made(page, "meta", { charset: "utf-8" }), made(page, "meta", { "http-equiv": "Content-Security-Policy", content: POLICY }));
  page.head.append(made(page, "meta", { name: "viewport", content: "width=device-width, initial-scale=1" }));
  const main = page.importNode(shown, true);
  const values = [...shown.querySelectorAll(FIGURES)].map((field) => /** @type {HTMLInputElement} */ (field).value);
  main.querySelectorAll(FIGURES).forEach((field, i) => field.replaceWith(made(page, "strong", {}, values[i])));
  main.querySelectorAll("form").forEach((form) => form.closest("details")?.remove());
  main.querySelectorAll(".heat button").forEach((head) => head.replaceWith(made(page, "span", { class: head.className }, head.textContent ?? "")));
  main.querySelectorAll(LIVE).forEach((element) => element.remove());
  main.querySelectorAll("table").forEach(emptied);
  main.querySelectorAll("section:not(:has(> :not(h2)))").forEach((empty) => empty.remove());
  main.querySelectorAll("a").forEach((link) => link.replaceWith(...link.childNodes));
  main.querySelectorAll("details").forEach((one) => one.setAttribute("open", ""));
  const comments = page.createTreeWalker(main, NodeFilter.SHOW_COMMENT);
  while (comments.nextNode()) comments.currentNode.nodeValue = "";
  page.body.append(main, made(page, "footer", { class: "evidence" }, about()));
  return page;
}

/** Columns that held nothing but buttons go with them. @param {HTMLTableElement} table */
function emptied({ tHead, tBodies: [body] }) {
  const rows = [...(body?.rows ?? [])].map((row) => [...row.cells]);
  [...(tHead?.rows[0].cells ?? [])].forEach((title, i) => {
    const cells = rows.flatMap((row) => row[i] ?? []);
    if (!cells.some((cell) => cell.textContent?.trim() || cell.querySelector("svg"))) for (const cell of [title, ...cells]) cell.remove();
  });
}

/** What the figures are of. */
function about() {
  const { parameters = 0 } = subject.value ?? {};
  const counted = parameters ? `, ${parameters.toLocaleString("en")} parameters` : "";
  return `${workspace.value?.options.model ?? ""}${counted}; RankOne ${workspace.value?.version ?? ""}, ${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC; ${location.hash}`;
}

/** @param {Document} page @param {string} name @param {Record<string, string>} attributes @param {string} [text] */
function made(page, name, attributes, text = "") {
  const element = page.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.append(text);
  return element;
}
