// One part: label, domains, tokens, examples, neighbours, and its response as the scale moves.
import { signal } from "/static/vendor/signals-core.js";
import { html, nothing } from "/static/vendor/lit-html.js";
import { follow, send, why } from "/static/api.js";
import { field, filled } from "/static/fields.js";
import { columns, corrections, domainName, labelOf, rowOf } from "/static/listed.js";
import { correct, dials, link, journal, pin, place, unpin } from "/static/store.js";
import { curves } from "/static/draw.js";
import { percent, scale, short, signed } from "/static/words.js";
import { whole } from "/static/whole.js";
import { verdict } from "/static/trust.js";

// A part whose mean importance is no larger is dead.
const ALIVE = 1e-6;
/** @typedef {{ name: string, data: Api.PartView | null, error: string }} Shown */
const shown = signal(/** @type {Shown} */ ({ name: "", data: null, error: "" }));
/** @typedef {{ name: string, points: Api.ResponsePoint[], busy: boolean, error: string }} Response */
const response = signal(/** @type {Response} */ ({ name: "", points: [], busy: false, error: "" }));

/** @param {string} name */
async function open(name) {
  shown.value = { name, data: null, error: "" };
  try {
    const data = await send("/api/part", { name });
    if (shown.value.name === name) shown.value = { name, data, error: "" };
  } catch (error) {
    if (shown.value.name === name) shown.value = { name, data: null, error: why(error) };
  }
}

/** @param {string} name */
async function measure(name) {
  response.value = { name, points: [], busy: true, error: "" };
  const alive = () => response.value.name === name;
  try {
    await follow("/api/response", { name }, (event, data) => {
      if (!alive()) return;
      if (event === "partial") response.value = { ...response.value, points: [...response.value.points, data] };
      if (event === "failed") response.value = { ...response.value, error: data };
    });
  } catch (error) {
    if (alive()) response.value = { ...response.value, error: why(error) };
  }
  if (alive()) response.value = { ...response.value, busy: false };
}

export function partView() {
  const name = place.value.of;
  if (shown.value.name !== name) queueMicrotask(() => shown.value.name === name || open(name));
  const { data, error } = shown.value.name === name ? shown.value : { data: null, error: "" };
  const pinned = name in dials.value;
  const head = html`<p class="back"><a href=${link("parts")}>all parts</a></p><h1><code>${name}</code></h1>`;
  if (error) return html`${head}<p class="error">${error}</p>`;
  return html`${head}
    <p class="words">${labelOf(name) || "no label"}</p>
    ${corrected(name)}
    <p class="does">
      <button @click=${() => (pinned ? unpin(name) : pin(name))} aria-pressed=${pinned}>${pinned ? "unpin" : "pin to the dials"}</button>
      <a href=${link("dials")} @click=${() => pin(name)}>turn it</a>
    </p>
    ${counted(name, data?.harvest ?? null)} ${responded(name)} ${turnedBy(name)}
    ${data?.harvest ? harvested(name, data.harvest) : data ? html`<p class="evidence">No harvest is open: examples, tokens, importance and activation by domain need one. <code>rankone harvest --out runs/harvest</code>, then
      <code>rankone studio --harvest runs/harvest</code>.</p>` : nothing}
    ${data ? neighbours(data.directions) : html`<p role="status">reading…</p>`}`;
}

/** A label said by hand stands beside what it replaces, with who said it and when. @param {string} name */
function corrected(name) {
  const { parts } = corrections.value, by = Object.hasOwn(parts, name) ? parts[name] : undefined;
  const save = filled((form) => correct(name, field(form, "label").value.trim()));
  return html`${by ? html`<p class="evidence">corrected by hand (${by.author}, ${by.time.slice(0, 10)}); before: ${by.instead || "no label"}
      <button @click=${() => correct(name, "")}>take the correction back</button></p>` : nothing}
    <details><summary>correct the label</summary><form class="filters" @submit=${save}>
      <label>label <input name="label" maxlength="200" size="50" required .value=${labelOf(name)}></label><button>save</button></form></details>`;
}

/** @param {string} name @param {Api.HarvestView | null} harvest */
function counted(name, harvest) {
  const held = columns.value;
  const row = rowOf.value.get(name);
  if (!held || row === undefined) return harvest ? html`<section><h2>Where it fires</h2>${figures(harvest)}</section>` : nothing;
  const seen = Object.values(held.source.tokens).reduce((a, b) => a + b, 0);
  return html`<section><h2>Where it fires</h2>
    <p class="evidence">seen on ${seen.toLocaleString("en")} tokens of ${held.source.text}, ${held.source.split} split; ${firesOn(held, row)} (importance over ${held.source.firing});
      mean importance ${short(held.importance[row])}, ${held.importance[row] > ALIVE ? "over" : "at most"} 10⁻⁶: ${held.importance[row] > ALIVE ? "alive" : "not alive"}; whether it stays so under attack is measured of the decomposition as a whole, not of a part</p>
    ${verdict()}
    ${harvest ? figures(harvest) : html`<div class="wide"><table class="numbers"><caption>share of each domain's tokens on which it fires</caption>
      <thead><tr>${held.domains.map((d) => html`<th scope="col">${domainName(d)}</th>`)}</tr></thead>
      <tbody><tr>${held.by_domain.map((of) => html`<td>${percent(of[row])}</td>`)}</tr></tbody></table></div>`}</section>`;
}

/** On which share of the text that its label names, and of all of it. @param {Api.PartColumns} held @param {number} row */
function firesOn(held, row) {
  const shares = held.by_domain.map((of, d) => /** @type {[string, number]} */ ([domainName(held.domains[d]), of[row]])).sort((a, b) => b[1] - a[1]);
  const named = shares.filter(([, share]) => share && share >= shares[0][1] / 2), all = `${percent(held.density[row])} of all`;
  if (!named.length || named.length === shares.length) return `it fires on ${all}`;
  return `it fires on ${named.map(([name, share]) => `${percent(share)} of ${name} tokens`).join(", ")}, and on ${all}`;
}

/** Importance and activation by domain, as on the page that `rankone show` writes. @param {Api.HarvestView} harvest */
function figures({ domains }) {
  return html`<div class="wide"><table class="numbers where stacks"><caption>means over all tokens of a domain; activation: ‖u‖ v·x with its sign; lift: the share of tokens it fires on over that in all text</caption>
    <thead><tr>${["domain", "fires on", "importance", "activation", "lift", "tokens"].map((t) => html`<th scope="col">${t}</th>`)}</tr></thead>
    <tbody>${domains.map((d) => html`<tr><th scope="row">${domainName(d.domain)}</th><td>${percent(d.density)}</td><td>${d.importance.toFixed(4)}</td><td>${signed(d.activation)}</td><td>${d.lift.toFixed(2)}</td><td>${d.tokens.toLocaleString("en")}</td></tr>`)}</tbody></table></div>`;
}

/** Kept edits that turn it. @param {string} name */
function turnedBy(name) {
  const edits = journal.value.entries.filter((entry) => (entry.scales[name] ?? 1) !== 1);
  if (!edits.length) return nothing;
  return html`<section><h2>Edits that turn it</h2><ul class="linked">${edits.map((entry) => html`<li><a href=${link("edits")}>edit ${entry.seq}</a>${entry.name ? ` “${entry.name}”` : ""}: α ${scale(entry.scales[name])}</li>`)}</ul></section>`;
}

/** @param {string} name */
function responded(name) {
  const { points, busy, error, name: of } = response.value;
  const mine = of === name;
  const cut = mine ? [...new Set(points.flatMap((point) => point.cut))] : [];
  return html`<section><h2>What a scale does</h2>
    ${cut.length ? html`<p class="error">Time was up before ${cut.map(domainName).join(", ")} could be measured at every scale; they are left out.</p>` : nothing}
    ${mine && points.length ? curves(points) : nothing}
    ${mine && error ? html`<p class="error">${error}</p>` : nothing}
    ${mine && busy ? html`<p role="status">measuring… ${points.length} of 10</p>` : html`<button @click=${() => measure(name)}>measure from −24 to 4</button>`}</section>`;
}

/** @param {string} of @param {Api.HarvestView} h */
function harvested(of, h) {
  return html`<section><h2>Labels</h2>
      ${h.labels.map((l, i) => html`<p><strong>${l.label}</strong> <span class="evidence">${l.source}, confidence ${l.confidence.toFixed(2)}${Object.entries(l.scores).map(([k, v]) => `, ${k} ${v.toFixed(2)}`)}</span><br>${l.reasoning}</p>${whole(of, i, l)}`)}</section>
    <section><h2>Tokens</h2><div class="pair">${tokens("fires on", h.inputs)}${tokens("the model gives more probability", h.outputs)}</div></section>
    <section><h2>Examples</h2><p class="evidence">a uniform sample of ${h.firings.toLocaleString("en")} firings in ${h.tokens.toLocaleString("en")} tokens (${h.source}), the most important first; underlined: the firing</p>
      ${h.examples.map((e) => html`<p class="example"><span class="domain">${domainName(e.domain)}</span> ${e.tokens.map((token, i) => html`<span class=${`g${Math.round(9 * e.importances[i])}${i === e.centre ? " centre" : ""}`} title=${`importance ${e.importances[i].toFixed(2)}`}>${token}</span>`)}</p>`)}</section>
    <section><h2>Fires with</h2>${linked(h.cofiring.map((r) => [r.part, `jaccard ${r.value.toFixed(2)}`, r.label]))}</section>`;
}

/** @param {string} title @param {Api.TokenShare[]} rows */
function tokens(title, rows) {
  return html`<table class="numbers"><caption>${title}</caption><thead><tr><th scope="col">token</th><th scope="col">PMI, nats</th><th scope="col">of its firings</th></tr></thead>
    <tbody>${rows.map((r) => html`<tr><th scope="row"><code>${r.token}</code></th><td>${signed(r.pmi, 1)}</td><td>${percent(r.share)}</td></tr>`)}</tbody></table>`;
}

/** @param {Record<string, Api.Near[]>} lists */
function neighbours(lists) {
  const titles = Object.entries(lists);
  if (!titles.length) return nothing;
  return html`<section><h2>Neighbours by direction</h2><div class="pair">${titles.map(([title, rows]) => html`<div><h3>${title}</h3>${linked(rows.map((r) => [r.part, `cosine ${signed(r.value, 2)}`, labelOf(r.part)]))}</div>`)}</div></section>`;
}

/** @param {[part: string, figure: string, label: string][]} rows */
function linked(rows) {
  return html`<ul class="linked">${rows.map(([name, figure, label]) => html`<li><a href=${link("part", name)}><code>${name}</code></a> <span class="evidence">${figure}</span> ${label}</li>`)}</ul>`;
}
