// All parts in a list that draws only the rows in sight; search, facets, order.
import { batch, computed, effect, signal } from "/static/vendor/signals-core.js";
import { html, nothing } from "/static/vendor/lit-html.js";
import { columns, long, corrections, domainName, labels, nameOf } from "/static/listed.js";
import { dials, link, picked, pin, place, settle, unpin } from "/static/store.js";
import { slim, strip } from "/static/draw.js";
import { HAND, ORDERS, rows, tops } from "/static/finding.js";
import { counts, rowsAt } from "/static/paging.js";
import { verdict } from "/static/trust.js";
import { by, filled } from "/static/fields.js";
import { percent, short } from "/static/words.js";

const compact = computed(() => place.value.set.rows === "compact");
// On a narrow screen a row has its label below its name (layout.css).
const rowHeight = computed(() => (slim.value ? 54 : compact.value ? 26 : 32));
const top = signal(0);
const height = signal(640);
// A list that is drawn anew starts at its top.
effect(() => {
  if (place.value.view !== "parts") top.value = 0;
});
export function partsView() {
  const held = columns.value;
  if (!held) return html`<h1>Parts</h1><p>No list of parts is open. Parts can still be turned by name, on the <a href=${link("dials")}>dials</a>.</p>`;
  const { q = "", site = "", on = "", sort = q ? "match" : "margin", dead = "", by: said = "" } = place.value.set;
  const sources = [...held.label_sources, ...(Object.keys(corrections.value.parts).length ? [HAND] : [])];
  const { fit, all, busy } = listing(held), seen = Object.values(held.source.tokens).reduce((a, b) => a + b, 0);
  return html`<h1>Parts</h1>
    <form class="filters" @submit=${filled(() => {})}>
      <label>search <input type="search" name="q" .value=${q} placeholder="german, h.3, suffixes" @input=${by((search) => find({ q: search.value }))}></label>
      <label>site ${choice("site", site, ["", ...held.sites], (s) => s || "all")}</label>
      <label>fires most on ${choice("on", on, ["", ...held.domains], (d) => (d ? domainName(d) : "any"))}</label>
      ${sources.length > 1 || said ? html`<label>label by ${choice("by", said, ["", ...sources], (one) => (one === "" ? "anybody" : one === "statistical" ? "counts" : one))}</label>` : nothing}
      <label>order ${choice("sort", sort, Object.keys(ORDERS), (key) => ORDERS[/** @type {keyof typeof ORDERS} */ (key)])}</label>
      <label>rows ${choice("rows", compact.value ? "compact" : "", ["", "compact"], (one) => one || "comfortable")}</label>
      <label class="check"><input type="checkbox" .checked=${dead === "1"} @change=${by((box) => find({ dead: box.checked ? "1" : "" }))}> also those that never fire</label>
    </form>
    <p class="evidence" role="status">${fit.toLocaleString("en")} of ${all.toLocaleString("en")} parts${busy ? ", searching…" : ""}, seen on ${seen.toLocaleString("en")}
      tokens of ${held.source.text}, ${held.source.split} split. A part fires where its importance is over ${held.source.firing}; “of all text” is its share of all these tokens, the share in a label is of the text named there. Labels are by counts unless said.</p>
    ${verdict()}
    ${list(held)}`;
}

/** How many rows fit, of how many. @param {Api.PartColumns} held */
const listing = (held) => (long.value ? counts.value : { fit: rows.value.length, all: held.number.length, busy: false });

/** @param {Record<string, string>} set */
function find(set) {
  batch(() => {
    if (top.value) document.querySelector(".window")?.scrollTo(0, 0); // it has the page laid out: not where nothing was scrolled
    top.value = 0;
    settle(set);
  });
}

/** @param {string} name @param {string} value @param {string[]} all @param {(one: string) => string} said */
function choice(name, value, all, said) {
  return html`<select name=${name} @change=${by((chosen) => find({ [name]: chosen.value }))}>
    ${all.map((one) => html`<option value=${one} .selected=${one === value}>${said(one)}</option>`)}
  </select>`;
}

/** @param {Api.PartColumns} held */
function list(held) {
  const first = Math.max(0, Math.floor(top.value / rowHeight.value) - 6);
  const count = Math.ceil(height.value / rowHeight.value) + 12, { fit, busy } = listing(held);
  const shown = long.value ? rowsAt(first, count) : [...rows.value.subarray(first, first + count)];
  return html`<div class=${compact.value ? "table compact" : "table"} role="table" aria-label="parts" aria-rowcount=${fit + 1}>
    <div role="rowgroup"><div class="row head" role="row" aria-rowindex="1">
      ${["", "part", "label", "of all text", "importance", "selective for, by", "by domain"].map((title) => html`<span role="columnheader">${title || html`<span class="unseen">pinned</span>`}</span>`)}
    </div></div>
    ${fit || busy ? nothing : html`<p class="empty">No part fits. <button @click=${() => find({ q: "", site: "", on: "", by: "" })}>clear search and facets</button></p>`}
    <div class="window" role="rowgroup" ?hidden=${!fit} tabindex="0" aria-label="rows" @scroll=${by(scrolled)}>
      <div class="whole" .style=${`height:${fit * rowHeight.value}px`}>
        ${shown.map((row, i) => line(held, row, first + i))}
      </div>
    </div>
  </div>`;
}

/** @param {HTMLElement} rows */
function scrolled(rows) {
  height.value = rows.clientHeight;
  top.value = rows.scrollTop;
}

/** @param {Api.PartColumns} held @param {number} row @param {number} at */
function line(held, row, at) {
  if (row < 0) return html`<div class="row" role="row" aria-rowindex=${at + 2} .style=${`transform:translateY(${at * rowHeight.value}px)`}><span></span><span role="cell" class="evidence">coming…</span></div>`;
  const name = nameOf(held, row);
  const pinned = name in dials.value;
  return html`<div class=${pinned ? "row pinned" : "row"} role="row" aria-current=${name === picked.value ? "true" : nothing} aria-rowindex=${at + 2} .style=${`transform:translateY(${at * rowHeight.value}px)`}>
    <span role="cell"><button class="pin" aria-pressed=${pinned} aria-label=${`${pinned ? "unpin" : "pin"} ${name}`}
      @click=${() => (pinned ? unpin(name) : pin(name))}>${pinned ? "●" : "○"}</button></span>
    <span role="cell"><a href=${link("part", name)}><code>${name}</code></a></span>
    <span role="cell" class="label" title=${labels.value[row]}>${labels.value[row]}${sourceOf(held, row, name)}</span>
    <span role="cell" class="number">${percent(held.density[row])}</span>
    <span role="cell" class="number">${short(held.importance[row])}</span>
    <span role="cell" class="most">${mostOn(held, row)}</span>
    <span role="cell" title=${held.domains.map((d, i) => `${domainName(d)} ${percent(held.by_domain[i][row])}`).join(", ")}>${strip(held.by_domain.map((of) => of[row]), held.domains)}</span>
  </div>`;
}

/** The domain it fires on most, and how much more than on the next: what orders by selectivity. @param {Api.PartColumns} held @param {number} row */
function mostOn(held, row) {
  const { domain, margin } = tops.value;
  return domain[row] < 0 ? "–" : html`${domainName(held.domains[domain[row]])} <span class="number">${percent(margin[row])}</span>`;
}

/** Who says so, where it is not counts. @param {Api.PartColumns} held @param {number} row @param {string} name */
function sourceOf(held, row, name) {
  const source = corrections.value.parts[name] ? HAND : held.label_sources[held.label_source[row]];
  return source === "statistical" ? nothing : html` <em>(${source})</em>`;
}
