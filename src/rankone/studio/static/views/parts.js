// All parts in a list that draws only the rows in sight; search, facets, order.
import { computed, effect, signal } from "/static/vendor/signals-core.js";
import { html, nothing } from "/static/vendor/lit-html.js";
import { columns, dials, domainName, link, nameOf, pin, place, settle, unpin } from "/static/store.js";
import { strip } from "/static/draw.js";
import { percent, short } from "/static/words.js";

const HEIGHT = 32;
const top = signal(0);
const height = signal(640);
// A list that is drawn anew starts at its top.
effect(() => {
  if (place.value.view !== "parts") top.value = 0;
});
// "text in all text but German": what follows is what a label is not about.
const DENIED = /\b(?:but|except(?: for| in)?|other than|apart from|without|excluding|outside(?: of)?|not(?: in)?|non)[ -][\p{L}\d]+(?:(?:, | and | or | nor |, and |, or )[\p{L}\d]+)*/giu;

/** Per part, once: its name and what its label affirms, in lower case. */
const texts = computed(() => {
  const held = columns.value;
  return held ? held.number.map((_, i) => [nameOf(i).toLowerCase(), held.label[i].replace(DENIED, " ").toLowerCase()]) : [];
});

/** Per part, the domain it fires on most, and how much more than on the next. */
const tops = computed(() => {
  const held = columns.value;
  if (!held) return [];
  return held.number.map((_, i) => {
    const shares = held.by_domain.map((of) => of[i]);
    const order = shares.map((share, d) => [share, d]).sort((a, b) => b[0] - a[0]);
    return { domain: order[0][0] > 0 ? order[0][1] : -1, margin: order[0][0] - (order[1]?.[0] ?? 0) };
  });
});

const ORDERS = {
  match: "best match",
  density: "fires most",
  importance: "most important",
  margin: "most selective",
  name: "name",
};

/** Rows that the settings leave, in their order. */
export const rows = computed(() => {
  const held = columns.value;
  if (!held) return [];
  const { q = "", site = "", on = "", sort = q ? "match" : "margin", dead = "" } = place.value.set;
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = [];
  const score = new Float64Array(held.number.length);
  const named = held.domains.map((d) => [d, domainName(d).toLowerCase()]);
  for (let i = 0; i < held.number.length; i++) {
    if (site && held.sites[held.site[i]] !== site) continue;
    if (on && held.domains[tops.value[i].domain] !== on) continue;
    if (!dead && !words.length && held.density[i] === 0) continue;
    const [name, label] = texts.value[i];
    let sum = 0;
    for (const word of words) {
      const at = label.indexOf(word);
      const found = at >= 0 ? (at === 0 || !/[\p{L}\d]/u.test(label[at - 1]) ? 4 : 2) : name.includes(word) ? 3 : 0;
      if (!found) { sum = 0; break; }
      const d = named.findIndex((pair) => pair.includes(word));
      const special = d < 0 ? 0 : held.by_domain[d][i] - Math.max(...held.by_domain.map((of, other) => (other === d ? 0 : of[i])));
      sum += found * (1 + Math.max(0, special));
    }
    if (words.length && !sum) continue;
    score[i] = sum * (1 + held.confidence[i]) / 2;
    wanted.push(i);
  }
  const by = {
    match: (a, b) => score[b] - score[a] || held.density[b] - held.density[a],
    density: (a, b) => held.density[b] - held.density[a],
    importance: (a, b) => held.importance[b] - held.importance[a],
    margin: (a, b) => tops.value[b].margin - tops.value[a].margin,
    name: (a, b) => a - b,
  };
  return wanted.sort(by[sort] ?? by.match);
});

export function partsView() {
  const held = columns.value;
  if (!held) return html`<h1>Parts</h1><p>No list of parts is open. Parts can still be turned by name, on the <a href=${link("dials")}>dials</a>.</p>`;
  const { q = "", site = "", on = "", sort = q ? "match" : "margin", dead = "" } = place.value.set;
  const seen = Object.values(held.source.tokens).reduce((a, b) => a + b, 0);
  return html`<h1>Parts</h1>
    <form class="filters" @submit=${(e) => e.preventDefault()}>
      <label>search <input type="search" name="q" .value=${q} placeholder="german, h.3, suffixes" @input=${(e) => find({ q: e.target.value })}></label>
      <label>site ${choice("site", site, ["", ...held.sites], (s) => s || "all")}</label>
      <label>fires most on ${choice("on", on, ["", ...held.domains], (d) => (d ? domainName(d) : "any"))}</label>
      <label>order ${choice("sort", sort, Object.keys(ORDERS), (key) => ORDERS[key])}</label>
      <label class="check"><input type="checkbox" .checked=${dead === "1"} @change=${(e) => find({ dead: e.target.checked ? "1" : "" })}> also those that never fire</label>
    </form>
    <p class="evidence" role="status">${rows.value.length.toLocaleString("en")} of ${held.number.length.toLocaleString("en")} parts; seen on ${seen.toLocaleString("en")}
      tokens of ${held.source.text}, ${held.source.split} split; firing: importance over ${held.source.firing}; labels by counts unless said</p>
    ${list(held)}`;
}

function find(set) {
  top.value = 0;
  document.querySelector(".window")?.scrollTo(0, 0);
  settle(set);
}

function choice(name, value, all, said) {
  return html`<select name=${name} @change=${(e) => find({ [name]: e.target.value })}>
    ${all.map((one) => html`<option value=${one} .selected=${one === value}>${said(one)}</option>`)}
  </select>`;
}

function list(held) {
  const first = Math.max(0, Math.floor(top.value / HEIGHT) - 6);
  const shown = rows.value.slice(first, first + Math.ceil(height.value / HEIGHT) + 12);
  return html`<div class="table" role="table" aria-label="parts" aria-rowcount=${rows.value.length + 1}>
    <div role="rowgroup"><div class="row head" role="row" aria-rowindex="1">
      ${["", "part", "label", "fires on", "importance", "by domain"].map((title) => html`<span role="columnheader">${title || html`<span class="unseen">pinned</span>`}</span>`)}
    </div></div>
    <div class="window" role="rowgroup" tabindex="0" aria-label="rows" @scroll=${scrolled}>
      <div class="whole" .style=${`height:${rows.value.length * HEIGHT}px`}>
        ${shown.map((row, i) => line(held, row, first + i))}
      </div>
    </div>
  </div>`;
}

function scrolled(event) {
  height.value = event.target.clientHeight;
  top.value = event.target.scrollTop;
}

function line(held, row, at) {
  const name = nameOf(row);
  const pinned = name in dials.value;
  return html`<div class="row" role="row" aria-rowindex=${at + 2} .style=${`transform:translateY(${at * HEIGHT}px)`}>
    <span role="cell"><button class="pin" aria-pressed=${pinned} aria-label=${`${pinned ? "unpin" : "pin"} ${name}`}
      @click=${() => (pinned ? unpin(name) : pin(name))}>${pinned ? "●" : "○"}</button></span>
    <span role="cell"><a href=${link("part", name)}><code>${name}</code></a></span>
    <span role="cell" class="label" title=${held.label[row]}>${held.label[row]}${held.label_sources[held.label_source[row]] === "statistical" ? nothing : html` <em>(${held.label_sources[held.label_source[row]]})</em>`}</span>
    <span role="cell" class="number">${percent(held.density[row])}</span>
    <span role="cell" class="number">${short(held.importance[row])}</span>
    <span role="cell">${strip(held.by_domain.map((of) => of[row]), held.domains)}</span>
  </div>`;
}
