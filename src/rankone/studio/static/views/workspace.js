// What lies in the workspace: artefacts, broken ones with the reason, pages of results.
import { effect } from "/static/vendor/signals-core.js";
import { html, nothing } from "/static/vendor/lit-html.js";
import { ask, why } from "/static/api.js";
import { notice, place, settle, workspace } from "/static/store.js";
import { weight } from "/static/words.js";

let checked = false;
/** Have the files of all artefacts read through: at the first look at them, and when it is asked for. */
async function check() {
  checked = true;
  try {
    workspace.value = await ask("/api/checked");
  } catch (error) {
    notice.value = why(error);
  }
}
effect(() => {
  if (place.value.view === "workspace" && workspace.value && !checked) check();
});

/** @param {Api.Shelved} one */
const state = (one) => (one.broken ? html`<span class="error">${one.broken}</span>` : one.hashed ? "files as their manifest says (SHA-256)" : "files are there; reading them through…");

export function workspaceView() {
  const held = workspace.value;
  if (!held) return html`<h1>Workspace</h1><p role="status">reading…</p>`;
  const page = held.artefacts.find((one) => one.id === place.value.set.page && one.page);
  return html`<h1>Workspace</h1>
    <p class="evidence">RankOne ${held.version}${held.worker.restarts ? `; the worker was started again ${held.worker.restarts === 1 ? "once" : `${held.worker.restarts} times`}` : ""}</p>
    <p><button @click=${check}>read again</button></p>
    ${held.artefacts.length ? html`<div class="wide"><table class="numbers stacks"><thead><tr>${["name", "kind", "size", "state"].map((t) => html`<th scope="col" class=${t === "size" ? "" : "label"}>${t}</th>`)}</tr></thead>
      <tbody>${held.artefacts.map((one) => html`<tr><th scope="row"><code>${one.name}</code></th><td class="label short">${one.kind}</td><td>${weight(one.size)}</td>
        <td class="label">${state(one)} ${one.page && !one.broken ? html`<button @click=${() => settle({ page: one.id })}>open its page<span class="unseen"> of ${one.name}</span></button>` : nothing}</td></tr>`)}</tbody></table></div>` : html`<p>No artefact lies here yet.</p>`}
    ${page ? html`<section><h2>${page.name}</h2><p><button @click=${() => settle({ page: "" })}>close</button></p><iframe title=${page.name} sandbox="" src=${`/pages/${page.id}`}></iframe></section>` : nothing}`;
}
