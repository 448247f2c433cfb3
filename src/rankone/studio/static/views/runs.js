// Runs of the workspace, finished or going on, and what they wrote at each step; one that goes on is read again and again.
import { effect, signal } from "/static/vendor/signals-core.js";
import { html, nothing } from "/static/vendor/lit-html.js";
import { ask, why } from "/static/api.js";
import { notice, place, settle } from "/static/store.js";
import { trace } from "/static/draw.js";
import { short } from "/static/words.js";

const EVERY = 3000;
const runs = signal(/** @type {Api.Run[] | null} */ (null));
const metrics = signal(/** @type {Api.Metrics | null} */ (null));
/** @type {ReturnType<typeof setTimeout> | undefined} */
let waiting;

async function read() {
  clearTimeout(waiting);
  const { view, set } = place.value;
  if (view !== "runs") return;
  try {
    runs.value = (await ask("/api/runs")).runs;
    metrics.value = set.run ? await ask(`/api/runs/${encodeURIComponent(set.run)}`) : null;
    waiting = setTimeout(read, EVERY);
  } catch (error) {
    notice.value = why(error);
  }
}

effect(() => {
  if (place.value.view === "runs") read();
});

export function runsView() {
  const held = runs.value, chosen = place.value.set.run;
  if (!held) return html`<h1>Runs</h1><p role="status">reading…</p>`;
  const shown = held.find((run) => run.id === chosen);
  return html`<h1>Runs</h1>
    ${held.length ? html`<div class="wide"><table class="numbers stacks"><thead><tr><th scope="col" class="label">run</th><th scope="col" class="label">state</th><th scope="col" class="act"><span class="unseen">show</span></th></tr></thead>
      <tbody>${held.map((run) => html`<tr class=${run.id === chosen ? "aim" : ""}><th scope="row"><code>${run.name}</code></th><td class="label">${run.going ? "going on" : `last wrote ${ago(run.quiet)} ago`}</td>
        <td><button aria-pressed=${run.id === chosen} @click=${() => settle({ run: run.id === chosen ? "" : run.id })}>metrics<span class="unseen"> of ${run.name}</span></button></td></tr>`)}</tbody></table></div>`
    : html`<p>No run lies in this workspace. <code>rankone decompose</code> writes one; its metrics are shown here while it goes on.</p>`}
    ${shown && metrics.value?.id === chosen ? curvesOf(shown, metrics.value) : nothing}`;
}

/** @param {Api.Run} run @param {Api.Metrics} metrics */
function curvesOf(run, { steps, values }) {
  const names = Object.keys(values).sort();
  return html`<section><h2>${run.name}</h2><p class="evidence" role="status">step ${steps.at(-1) ?? "none"}${run.going ? ", going on" : ""}</p>
    <div class="wide"><table class="numbers stacks"><thead><tr><th scope="col" class="label">metric</th><th scope="col">last</th><th scope="col">smallest</th><th scope="col">largest</th><th scope="col">steps ${steps[0] ?? ""} to ${steps.at(-1) ?? ""}</th></tr></thead>
    <tbody>${names.map((name) => line(name, steps, values[name]))}</tbody></table></div></section>`;
}

/** @param {string} name @param {number[]} steps @param {(number | null)[]} values */
function line(name, steps, values) {
  const told = values.filter((value) => value !== null);
  const last = told.at(-1), least = Math.min(...told), most = Math.max(...told);
  return html`<tr><th scope="row"><code>${name}</code></th>${[last, least, most].map((value) => html`<td>${value !== undefined && Number.isFinite(value) ? short(value) : "–"}</td>`)}<td>${trace(steps, values, name)}</td></tr>`;
}

/** @param {number} seconds */
const ago = (seconds) =>
  seconds < 120 ? `${Math.round(seconds)} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
