// The list of parts as far as the page holds it: all of it, or of a long one the rows that were looked at.
import { computed, signal } from "/static/vendor/signals-core.js";
import { send } from "/static/api.js";

export const columns = signal(/** @type {Api.PartColumns | null} */ (null));
/** Labels corrected by hand: by part the correction that counts. */
export const corrections = signal(/** @type {Api.CorrectionsView} */ ({ last: 0, parts: {} }));

/** Part → its row in the columns. */
export const rowOf = computed(() => {
  const held = columns.value;
  if (!held) return /** @type {Map<string, number>} */ (new Map());
  return new Map(held.number.map((n, i) => [`${held.sites[held.site[i]]}:${n}`, i]));
});

/** @param {Api.PartColumns} held @param {number} row */
export const nameOf = (held, row) => {
  return `${held.sites[held.site[row]]}:${held.number[row]}`;
};

/** @param {string} name */
export const labelOf = (name) => {
  const row = rowOf.value.get(name);
  if (row === undefined) want(name);
  return corrections.value.parts[name]?.label ?? (row === undefined ? "" : (columns.value?.label[row] ?? ""));
};

/** The label of every row, corrected ones as they are called now. */
export const labels = computed(() => {
  const held = columns.value;
  const said = held ? [...held.label] : [];
  for (const [name, { label }] of Object.entries(corrections.value.parts)) {
    const row = rowOf.value.get(name);
    if (row !== undefined) said[row] = label;
  }
  return said;
});

/** @param {string} domain */
export const domainName = (domain) => columns.value?.names?.[domain] ?? domain;

/** Whether the list is too long to be held: it came without rows, and the server searches it. */
export const long = signal(false);
/** Rows that are held of a long list; beyond that it is begun anew. */
const HELD = 20_000;

/** The list as it came. @param {Api.PartColumns} came */
export function hold(came) {
  long.value = !came.number.length && came.sites.length > 0;
  columns.value = came;
}

/** Take rows of a long list up; where each stands now. @param {Api.Rows} rows @returns {number[]} */
export function learn(rows) {
  const held = columns.value;
  if (!held) return [];
  const names = rows.number.map((number, i) => `${held.sites[rows.site[i]]}:${number}`);
  const fresh = names.flatMap((name, i) => (rowOf.value.has(name) ? [] : [i]));
  /** @template T @param {T[]} before @param {T[]} more */
  const longer = (before, more) => [...before, ...fresh.map((i) => more[i])];
  if (fresh.length)
    columns.value = {
      ...held,
      ...{ site: longer(held.site, rows.site), number: longer(held.number, rows.number), label: longer(held.label, rows.label) },
      ...{ label_source: longer(held.label_source, rows.label_source), confidence: longer(held.confidence, rows.confidence) },
      ...{ density: longer(held.density, rows.density), importance: longer(held.importance, rows.importance) },
      by_domain: held.by_domain.map((of, d) => longer(of, rows.by_domain[d])),
    };
  return names.map((name) => rowOf.value.get(name) ?? -1);
}

/** Forget the rows of a long list where they are many; whether they were. */
export function forget() {
  const held = columns.value;
  if (!held || held.number.length < HELD) return false;
  const none = { site: [], number: [], label: [], label_source: [], confidence: [], density: [], importance: [] };
  columns.value = { ...held, ...none, by_domain: held.by_domain.map(() => []) };
  named.clear();
  return true;
}

/** Parts of a long list that were asked for by name. @type {Set<string>} */
const named = new Set();
/** @type {string[]} */
let waiting = [];
const PAGE = 200;

/** Have the row of a part that is shown somewhere but in the list. @param {string} name */
function want(name) {
  if (!long.peek() || named.has(name)) return;
  named.add(name);
  waiting.push(name);
  if (waiting.length === 1) queueMicrotask(askNames);
}

async function askNames() {
  const names = waiting.filter((name) => name.length <= 300);
  waiting = [];
  for (let i = 0; i < names.length; i += PAGE)
    await send("/api/rows", { names: names.slice(i, i + PAGE) }).then((view) => learn(view.rows)).catch(() => undefined); // a label that stays away is told by the list itself
}
