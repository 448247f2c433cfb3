// The search over all parts: what is counted once, and the rows that settings leave, in their order.
import { computed, effect } from "/static/vendor/signals-core.js";
import { columns, corrections, domainName, labels as called, long, nameOf, rowOf } from "/static/listed.js";
import { place } from "/static/store.js";

/** Who says a label that was corrected. */
export const HAND = "corrected by hand";

export const ORDERS = {
  match: "best match",
  density: "fires most",
  importance: "most important",
  margin: "most selective",
  name: "name",
};

// "text in all text but German": what follows is what a label is not about.
const DENIED = /\b(?:but|except(?: for| in)?|other than|apart from|without|excluding|outside(?: of)?|not(?: in)?|non)[ -][\p{L}\d]+(?:(?:, and |, or |, | and | or | nor )[\p{L}\d]+)*/giu;

/** Once: each label as it affirms, in lower case, and which of them a part has, for many share one; names and sites in lower case. */
const texts = computed(() => {
  const held = columns.value;
  /** @type {Map<string, number>} */
  const known = new Map();
  /** @type {string[]} */
  const affirmed = [];
  const labels = called.value;
  const label = new Uint32Array(labels.length);
  for (let i = 0; i < labels.length; i++) {
    let at = known.get(labels[i]);
    if (at === undefined) {
      known.set(labels[i], (at = affirmed.length));
      affirmed.push(labels[i].replace(DENIED, " ").toLowerCase());
    }
    label[i] = at;
  }
  const names = held ? held.number.map((_, i) => nameOf(held, i).toLowerCase()) : [];
  return { names, sites: held ? held.sites.map((site) => site.toLowerCase()) : [], label, affirmed };
});

/** Per part, the domain it fires on most, and how much more than on the next. */
export const tops = computed(() => {
  const held = columns.value;
  const count = held?.number.length ?? 0, shares = held?.by_domain ?? [];
  const domain = new Int16Array(count).fill(-1), margin = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    let most = 0, next = 0;
    for (let d = 0; d < shares.length; d++) {
      const share = shares[d][i];
      if (share > most) [most, next, domain[i]] = [share, most, d];
      else if (share > next) next = share;
    }
    margin[i] = most - next;
  }
  return { domain, margin };
});

/** Rows from the largest value to the smallest, equals in their own order; sorted as numbers, without a comparison in JavaScript. @param {ArrayLike<number>} values */
function descending(values) {
  const order = new Uint32Array(values.length);
  const bits = new Uint32Array(Float32Array.from(values, (v) => Math.max(0, v)).buffer);
  const keys = new Float64Array(values.length);
  for (let i = 0; i < keys.length; i++) keys[i] = (0x7f800000 - bits[i]) * 0x200000 + i;
  keys.sort();
  for (let i = 0; i < keys.length; i++) order[i] = keys[i] % 0x200000;
  return order;
}

/** All rows in each order, made when it is first asked for. */
const sorted = {
  density: computed(() => descending(columns.value?.density ?? [])),
  importance: computed(() => descending(columns.value?.importance ?? [])),
  margin: computed(() => descending(tops.value.margin)),
  name: computed(() => new Uint32Array(columns.value?.number.length ?? 0).map((_, i) => i)),
};

/** Of every row how much more it fires on a domain than on any other. @param {Api.PartColumns} held @param {number} d */
function excess(held, d) {
  return held.by_domain[d].map((share, i) => {
    let other = 0;
    for (let k = 0; k < held.by_domain.length; k++) if (k !== d && held.by_domain[k][i] > other) other = held.by_domain[k][i];
    return Math.max(0, share - other);
  });
}
const excesses = computed(() => (columns.value, /** @type {Map<number, number[]>} */ (new Map())));
/** @param {Api.PartColumns} held @param {number} d */
function excessOn(held, d) {
  const known = excesses.value.get(d) ?? excess(held, d);
  excesses.value.set(d, known);
  return known;
}

/** @param {string} text @param {number} at */
const startsWord = (text, at) => {
  if (at === 0) return true;
  const before = text.charCodeAt(at - 1);
  return before < 128 ? !((before > 47 && before < 58) || (before > 96 && before < 123)) : !/[\p{L}\d]/u.test(text[at - 1]);
};

/** How well each label fits a word: at the start of one of its words, inside one, not at all. @param {string[]} affirmed @param {string} word */
function fitsOf(affirmed, word) {
  const fits = new Uint8Array(affirmed.length);
  for (let k = 0; k < fits.length; k++) {
    const at = affirmed[k].indexOf(word);
    if (at >= 0) fits[k] = startsWord(affirmed[k], at) ? 4 : 2;
  }
  return fits;
}

/** How well each row fits each word, 0 where one is not in it: a word of the label, a part of the name, a part of the label.
 * within: rows outside of it are known not to fit. @param {Api.PartColumns} held @param {string[]} words @param {Float64Array | null} within */
function scores(held, words, within) {
  const { names, sites, label, affirmed } = texts.value;
  const score = within ? Float64Array.from(within, (fit) => (fit ? 1 : 0)) : new Float64Array(names.length).fill(1);
  const sums = new Float64Array(names.length);
  for (const word of words) {
    const d = held.domains.findIndex((one) => one === word || domainName(one).toLowerCase() === word);
    const special = d < 0 ? null : excessOn(held, d);
    const fits = fitsOf(affirmed, word), named = sites.map((site) => site.includes(word));
    const numbered = /[\d:]/.test(word); // else it stands in a name only where it stands in the site
    for (let i = 0; i < score.length; i++) {
      if (!score[i]) continue;
      const fit = fits[label[i]] || (named[held.site[i]] || (numbered && names[i].includes(word)) ? 3 : 0);
      if (fit) sums[i] += special ? fit * (1 + special[i]) : fit;
      else score[i] = 0;
    }
  }
  for (let i = 0; i < score.length; i++) if (score[i]) score[i] = (sums[i] * (1 + held.confidence[i])) / 2;
  return score;
}

/** What was searched last: whoever types on narrows it. @type {{ of: object | null, q: string, score: Float64Array }} */
let before = { of: null, q: "", score: new Float64Array(0) };
/** @param {Api.PartColumns} held @param {string} said */
function searched(held, said) {
  const q = said.toLowerCase().trim();
  const words = q.split(/\s+/).filter(Boolean);
  if (!words.length) return null;
  const narrower = before.of === texts.value && q.startsWith(before.q);
  if (!narrower || q !== before.q) before = { of: texts.value, q, score: scores(held, words, narrower ? before.score : null) };
  return before.score;
}

/** Rows that the settings leave, in their order. */
export const rows = computed(() => {
  const held = columns.value;
  if (!held) return new Uint32Array(0);
  const { q = "", site = "", on = "", sort = q ? "match" : "margin", dead = "", by = "" } = place.value.set;
  const source = held.label_sources.indexOf(by), hand = new Set(by === HAND ? Object.keys(corrections.value.parts).map((name) => rowOf.value.get(name)) : []);
  const score = searched(held, q);
  const at = held.sites.indexOf(site), domain = held.domains.indexOf(on), { domain: top } = tops.value;
  const order = (Object.hasOwn(sorted, sort) ? sorted[/** @type {keyof typeof sorted} */ (sort)] : sorted.density).value;
  const kept = new Uint32Array(order.length);
  let count = 0;
  for (let k = 0; k < order.length; k++) {
    const i = order[k];
    if (!(score ? score[i] : dead || held.density[i])) continue;
    if ((!site || held.site[i] === at) && (!on || top[i] === domain) && (!by || (by === HAND ? hand.has(i) : held.label_source[i] === source))) kept[count++] = i;
  }
  const left = kept.subarray(0, count);
  if (!score || sort in sorted) return left;
  // they are in order of density, which decides between equals
  return descending(Float64Array.from(left, (i) => score[i])).map((place) => left[place]);
});

/** What a first search or order would wait for, made while nothing is asked. */
effect(() => {
  if (columns.value && !long.value) setTimeout(() => [texts.value, tops.value, ...Object.values(sorted).map((one) => one.value)]);
});
