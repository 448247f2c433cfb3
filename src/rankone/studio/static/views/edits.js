// The journal: every edit that was kept, back into the dials, two beside each other, out as an adapter or a checkpoint.
import { effect, signal } from "/static/vendor/signals-core.js";
import { html, nothing } from "/static/vendor/lit-html.js";
import { ask, follow, send, why } from "/static/api.js";
import { domainName } from "/static/listed.js";
import { canRedo, canUndo, journal, link, notice, place, redo, step, subject, undo } from "/static/store.js";
import { short, signed, turns } from "/static/words.js";

const exports = signal(/** @type {Api.Export[]} */ ([]));
/** @typedef {{ of: Api.Entry[], rows: Record<string, Record<string, Api.Measured>>, state: string }} Compared */
const compared = signal(/** @type {Compared} */ ({ of: [], rows: {}, state: "" }));
/** @type {Record<Api.Export["form"], string>} */
const FORMS = { edit: "edit", adapter: "LoRA adapter", checkpoint: "checkpoint" };
const forms = /** @type {[Api.Export["form"], string][]} */ (Object.entries(FORMS));
/** @type {ReturnType<typeof setTimeout> | undefined} */
let polling;

async function poll() {
  clearTimeout(polling);
  exports.value = (await ask("/api/exports")).jobs;
  if (exports.value.some((job) => job.state === "running")) polling = setTimeout(poll, 700);
}

// Exports that were begun before this page was opened are told too.
effect(() => {
  if (place.value.view === "edits") poll().catch((error) => (notice.value = why(error)));
});

/** @param {number} entry @param {Api.Export["form"]} as */
async function start(entry, as) {
  try {
    await send("/api/exports", { entry, as });
    await poll();
  } catch (error) {
    notice.value = why(error);
  }
}

/** @param {Api.Entry[]} chosen */
async function compare(chosen) {
  compared.value = { of: chosen, rows: {}, state: "measuring…" };
  for (const entry of chosen) {
    /** @type {Record<string, Api.Measured>} */
    const rises = {};
    await follow("/api/preview", { scales: entry.scales, client: `compare ${entry.seq}` }, (event, data) => {
      if (event === "partial" && "row" in data) rises[data.row.damage.domain] = data.row;
      if (event === "failed") notice.value = data;
    }).catch((error) => (notice.value = why(error)));
    compared.value = { ...compared.value, rows: { ...compared.value.rows, [entry.seq]: rises } };
  }
  compared.value = { ...compared.value, state: "" };
}

export function editsView() {
  const { entries, current } = journal.value;
  const chosen = entries.filter((entry) => (place.value.set.two ?? "").split("-").includes(String(entry.seq)));
  return html`<h1>Edits</h1>
    <p class="does"><button ?disabled=${!canUndo.value} @click=${undo}>undo</button> <button ?disabled=${!canRedo.value} @click=${redo}>redo</button>
      <button ?disabled=${chosen.length !== 2} @click=${() => compare(chosen)}>compare the two chosen</button></p>
    ${entries.length ? html`<div class="wide"><table class="numbers journal stacks"><thead><tr>${["compare", "number", "name", "scales", "kept (UTC)", "into the dials", "export as"].map((t) => html`<th scope="col" class=${["name", "scales"].includes(t) ? "label" : ["compare", "into the dials", "export as"].includes(t) ? "act" : ""}>${t}</th>`)}</tr></thead>
      <tbody>${[...entries].reverse().map((entry) => line(entry, current, chosen))}</tbody></table></div>` : html`<p>No edit is kept yet. Turn a <a href=${link("dials")}>dial</a> and keep it.</p>`}
    ${compared.value.of.length ? comparison() : nothing} ${exported()}`;
}

/** @param {Api.Entry} entry @param {number | null} current @param {Api.Entry[]} chosen */
function line(entry, current, chosen) {
  const choose = () => {
    const others = chosen.filter((one) => one.seq !== entry.seq).map((one) => one.seq);
    const two = chosen.includes(entry) ? others : [...others.slice(-1), entry.seq];
    place.value = { ...place.value, set: { ...place.value.set, two: two.join("-") } };
  };
  return html`<tr class=${entry.seq === current ? "aim" : ""}>
    <td><input type="checkbox" aria-label=${`choose edit ${entry.seq}`} .checked=${chosen.includes(entry)} @change=${choose}></td>
    <th scope="row">${entry.seq}${entry.seq === current ? " (current)" : journal.value.undone.includes(entry.seq) ? " (undone)" : ""}</th><td class="label">${entry.name}</td><td class="label scales">${turns(entry.scales).map((one, i, all) => html`<span>${one}${i + 1 < all.length ? "," : nothing}</span> `)}</td><td class="when">${entry.time.replace("T", " ").slice(0, 19)}</td>
    <td><button @click=${() => { step(entry.scales); place.value = { view: "dials", of: "", set: {} }; }}>load<span class="unseen"> edit ${entry.seq}</span></button></td>
    <td class="two">${forms.map(([as, title]) => html`<button @click=${() => start(entry.seq, as)}>${title}<span class="unseen"> of edit ${entry.seq}</span></button> `)}</td></tr>`;
}

function comparison() {
  const { of, rows, state } = compared.value;
  const domains = (subject.value?.domains ?? []).filter((domain) => of.some((entry) => rows[entry.seq]?.[domain])), seen = Object.values(rows).flatMap((one) => Object.values(one).map((row) => row.tokens));
  return html`<section><h2>Two edits</h2><p role="status">${state}</p>
    <div class="wide"><table class="numbers compared"><caption>rise of cross-entropy on validation text, ${seen.length ? Math.min(...seen) : "…"} tokens per domain, nats per token; ± 95%</caption><thead><tr><th scope="col">domain</th>${of.map((entry) => html`<th scope="col">${entry.seq} ${entry.name}</th>`)}</tr></thead>
      <tbody>${domains.map((domain) => html`<tr><th scope="row">${domainName(domain)}</th>${of.map((entry) => html`<td>${said(rows[entry.seq]?.[domain])}</td>`)}</tr>`)}</tbody></table></div></section>`;
}

/** @param {Api.Measured | undefined} row */
const said = (row) => (row ? `${signed(row.damage.rise)}${row.damage.high === null ? "" : ` ± ${(row.damage.high - row.damage.rise).toFixed(3)}`}` : "–");

function exported() {
  if (!exports.value.length) return nothing;
  return html`<section><h2>Exports</h2>${exports.value.map((job) => html`<article class="job"><h3>edit ${job.entry} as ${FORMS[job.form]}: <span role="status">${job.state}</span></h3>
    <p>${job.said}${job.state === "done" ? html`; it lies in the workspace: <code>studio/exports/${job.out}</code>` : nothing}</p>
    ${job.warnings.map((w) => html`<p><b>${w[0].toUpperCase() + w.slice(1)}</b></p>`)}
    ${Object.keys(job.figures).length ? html`<details><summary>figures of the verification</summary><dl>${Object.entries(job.figures).map(([k, v]) => html`<dt>${k.replaceAll("_", " ")}</dt><dd>${typeof v === "number" ? short(v) : String(v)}</dd>`)}</dl></details>` : nothing}</article>`)}</section>`;
}
