// The search over all parts: what is counted once, and the rows that settings leave, in their order.
import { computed } from "/static/vendor/signals-core.js";
import { columns, domainName, labels as called, nameOf, place } from "/static/store.js";

export const ORDERS = {
  match: "best match",
  density: "fires most",
  importance: "most important",
  margin: "most selective",
  name: "name",
};

// "text in all text but German": what follows is what a label is not about.
const DENIED = /\b(?:but|except(?: for| in)?|other than|apart from|without|excluding|outside(?: of)?|not(?: in)?|non)[ -][\p{L}\d]+(?:(?:, | and | or | nor |, and |, or )[\p{L}\d]+)*/giu;

/** Per part, once: its name and what its label affirms, in lower case. Many parts share a label. */
const texts = computed(() => {
  const held = columns.value;
  if (!held) return { names: [], labels: [] };
  const affirmed = new Map();
  const labels = called.value.map((label) => {
    let said = affirmed.get(label);
    if (said === undefined) affirmed.set(label, (said = label.replace(DENIED, " ").toLowerCase()));
    return said;
  });
  return { names: held.number.map((_, i) => nameOf(held, i).toLowerCase()), labels };
});

/** Per part, the domain it fires on most, and how much more than on the next. */
const tops = computed(() => {
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

/** How well each row fits each word, 0 where one is not in it: a word of the label, a part of the name, a part of the label. @param {Api.PartColumns} held @param {string[]} words */
function scores(held, words) {
  const { names, labels } = texts.value;
  const score = new Float64Array(names.length).fill(1);
  const sums = new Float64Array(names.length);
  for (const word of words) {
    const d = held.domains.findIndex((one) => one === word || domainName(one).toLowerCase() === word);
    const special = d < 0 ? null : excessOn(held, d);
    for (let i = 0; i < names.length; i++) {
      if (!score[i]) continue;
      const at = labels[i].indexOf(word);
      const fit = at >= 0 ? (startsWord(labels[i], at) ? 4 : 2) : names[i].includes(word) ? 3 : 0;
      if (fit) sums[i] += special ? fit * (1 + special[i]) : fit;
      else score[i] = 0;
    }
  }
  for (let i = 0; i < names.length; i++) if (score[i]) score[i] = (sums[i] * (1 + held.confidence[i])) / 2;
  return score;
}

/** Rows that the settings leave, in their order. */
export const rows = computed(() => {
  const held = columns.value;
  if (!held) return new Uint32Array(0);
  const { q = "", site = "", on = "", sort = q ? "match" : "margin", dead = "" } = place.value.set;
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const score = words.length ? scores(held, words) : null;
  const at = held.sites.indexOf(site), domain = held.domains.indexOf(on), { domain: top } = tops.value;
  const order = sort in sorted ? sorted[/** @type {keyof typeof sorted} */ (sort)] : sorted.density;
  const kept = order.value.filter(
    (i) => (score ? score[i] : dead || held.density[i]) && (!site || held.site[i] === at) && (!on || top[i] === domain),
  );
  if (!score || sort in sorted) return kept;
  // kept is in order of density, which decides between equals
  const best = descending(Float64Array.from(kept, (i) => score[i]));
  return best.map((place) => kept[place]);
});
