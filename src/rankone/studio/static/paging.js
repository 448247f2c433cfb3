// A list that is too long to be held: the server searches and orders it, and its rows come in pages as they are looked at.
import { batch, computed, effect, signal } from "/static/vendor/signals-core.js";
import { send, why } from "/static/api.js";
import { corrections, forget, learn, long } from "/static/listed.js";
import { notice, place } from "/static/store.js";

const PAGE = 200;
// Scrolling passes many rows by: what stays in sight so long is asked for.
const REST = 60;
/** What fits the settings, as far as it has come; of: the settings; pages: by number, where their rows stand. */
const found = signal(/** @type {{ of: string, total: number, all: number, pages: Record<number, number[]> }} */ ({ of: "", total: 0, all: 0, pages: {} }));

/** @returns {Api.RowsRequest} */
function settings() {
  const { q = "", site = "", on = "", sort = "", dead = "", by = "" } = place.value.set;
  return { q, site, on, by, sort: /** @type {Api.RowsRequest["sort"]} */ (sort), dead: dead === "1" };
}
const wanted = computed(() => JSON.stringify([settings(), corrections.value.last]));

/** Rows that fit, and parts in all. */
export const counts = computed(() => ({ fit: found.value.total, all: found.value.all, busy: found.value.of !== wanted.value }));

/** Where the rows from one place to another stand; -1: still to come. @param {number} first @param {number} count */
export function rowsAt(first, count) {
  const { total, pages } = found.value;
  const last = Math.min(total, first + count);
  look(first, last);
  return Array.from({ length: Math.max(0, last - first) }, (_, i) => pages[Math.floor((first + i) / PAGE)]?.[(first + i) % PAGE] ?? -1);
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let waiting;
/** @param {number} first @param {number} last */
function look(first, last) {
  clearTimeout(waiting);
  const missing = [...new Set([Math.floor(first / PAGE), Math.floor(Math.max(first, last - 1) / PAGE)])].filter((page) => !found.peek().pages[page]);
  if (missing.length) waiting = setTimeout(() => missing.forEach(read), REST);
}

/** Pages under way. */
const asked = new Set();
/** @param {number} page */
async function read(page) {
  const of = wanted.peek(), key = `${of} ${page}`;
  if (asked.has(key)) return;
  asked.add(key);
  try {
    const view = await send("/api/rows", { ...settings(), first: page * PAGE });
    if (of !== wanted.peek()) return;
    batch(() => {
      const before = forget() || found.value.of !== of ? {} : found.value.pages;
      found.value = { of, total: view.total, all: view.all, pages: { ...before, [page]: learn(view.rows) } };
    });
  } catch (error) {
    notice.value = why(error);
  } finally {
    asked.delete(key);
  }
}

// A new search begins with its first page, and what was found before stands until that is there.
effect(() => {
  if (wanted.value && long.value && place.value.view === "parts" && found.peek().of !== wanted.value) read(0);
});
