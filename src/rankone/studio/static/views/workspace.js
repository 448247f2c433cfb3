// What lies in the workspace: artefacts, broken ones with the reason, pages of results.
import { html, nothing } from "/static/vendor/lit-html.js";
import { ask } from "/static/api.js";
import { place, settle, workspace } from "/static/store.js";
import { weight } from "/static/words.js";

export function workspaceView() {
  const held = workspace.value;
  if (!held) return html`<h1>Workspace</h1><p role="status">reading…</p>`;
  const page = held.artefacts.find((one) => one.id === place.value.set.page && one.page);
  return html`<h1>Workspace</h1>
    <p class="evidence">RankOne ${held.version}${held.worker.restarts ? `; the worker was started again ${held.worker.restarts === 1 ? "once" : `${held.worker.restarts} times`}` : ""}</p>
    <p><button @click=${async () => (workspace.value = await ask("/api/workspace"))}>read again</button></p>
    ${held.artefacts.length ? html`<div class="wide"><table class="numbers stacks"><thead><tr>${["name", "kind", "size", "state"].map((t) => html`<th scope="col" class=${t === "size" ? "" : "label"}>${t}</th>`)}</tr></thead>
      <tbody>${held.artefacts.map((one) => html`<tr><th scope="row"><code>${one.name}</code></th><td class="label short">${one.kind}</td><td>${weight(one.size)}</td>
        <td class="label">${one.broken ? html`<span class="error">${one.broken}</span>` : one.page ? html`<button @click=${() => settle({ page: one.id })}>open its page<span class="unseen"> of ${one.name}</span></button>` : "manifest read"}</td></tr>`)}</tbody></table></div>` : html`<p>No artefact lies here yet.</p>`}
    ${page ? html`<section><h2>${page.name}</h2><p><button @click=${() => settle({ page: "" })}>close</button></p><iframe title=${page.name} sandbox="" src=${`/pages/${page.id}`}></iframe></section>` : nothing}`;
}
