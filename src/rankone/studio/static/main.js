// The shell: navigation, the view that the address names, notices, keys.
import { effect } from "/static/vendor/signals-core.js";
import { html, nothing, render } from "/static/vendor/lit-html.js";
import { canRedo, canUndo, dials, link, load, notice, place, redo, subject, undo } from "/static/store.js";
import { carded, scrolled } from "/static/cards.js";
import { savePage } from "/static/saving.js";
import { partsView } from "/static/views/parts.js";
import { partView } from "/static/views/part.js";
import { dialsView } from "/static/views/dials.js";
import { promptView } from "/static/views/prompt.js";
import { editsView } from "/static/views/edits.js";
import { graphsView } from "/static/views/graphs.js";
import { runsView } from "/static/views/runs.js";
import { workspaceView } from "/static/views/workspace.js";

/** @type {Record<string, [string, () => unknown]>} */
const VIEWS = {
  parts: ["Parts", partsView],
  dials: ["Dials", dialsView],
  prompt: ["Text", promptView],
  edits: ["Edits", editsView],
  graphs: ["Graphs", graphsView],
  runs: ["Runs", runsView],
  workspace: ["Workspace", workspaceView],
};

// Views that are whole as they stand; a list draws only what is in sight.
const SAVED = { part: true, dials: true, prompt: true, edits: true };

const root = /** @type {HTMLElement} */ (document.getElementById("studio"));
root.replaceChildren();

effect(() => {
  const { view } = place.value;
  const known = view === "part" || Object.hasOwn(VIEWS, view);
  const shown = view === "part" ? partView : VIEWS[known ? view : "parts"][1];
  const pinned = Object.keys(dials.value).length;
  const about = subject.value;
  render(
    html`<a class="skip" href="#main" @click=${skip}>to the content</a>
      <header>
        <span class="brand">RankOne studio</span>
        <nav aria-label="views">
          ${Object.entries(VIEWS).map(
            ([key, [title]]) =>
              html`<a href=${link(key)} aria-current=${key === view || (key === "parts" && view === "part") ? "page" : "false"}
                >${title}${key === "dials" && pinned ? html` <span class="count">${pinned}</span>` : nothing}</a
              >`,
          )}
        </nav>
        <span class="about">${about ? `${about.model}, ${about.parameters.toLocaleString("en")} parameters, ${about.device}` : "opening the model…"}</span>
      </header>
      <div role="status" aria-live="polite" class=${notice.value ? "notice" : "notice none"}>
        ${notice.value}${notice.value ? html`<button @click=${() => (notice.value = "")}>close</button>` : nothing}
      </div>
      <main id="main" tabindex="-1">${known ? nothing : html`<p class="error">There is no view “${view}”; here are the parts.</p>`}${shown()}</main>
      ${Object.hasOwn(SAVED, view) ? html`<footer><button @click=${savePage}>save this page as a file</button></footer>` : nothing}`,
    root,
  );
  carded(root);
  scrolled(root);
});

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

addEventListener("keydown", (event) => {
  const idle = event.target instanceof Element && !event.target.matches("input, select, textarea");
  const search = document.querySelector("input[type=search]");
  if (event.key === "/" && idle && search instanceof HTMLInputElement && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    return search.focus();
  }
  // In a field that stands as its dial does there is nothing of its own to take back.
  const typing = event.target instanceof HTMLInputElement && event.target.type !== "range" && event.target.dataset.at !== event.target.value;
  if (typing || event.target instanceof HTMLTextAreaElement || !(event.ctrlKey || event.metaKey)) return;
  const key = event.key.toLowerCase();
  if (key === "z" && !event.shiftKey && canUndo.value) undo();
  else if ((key === "y" || (key === "z" && event.shiftKey)) && canRedo.value) redo();
  else return;
  event.preventDefault();
});

load();
