// What the page holds: the list of parts, the dials, the journal, the address. Views read these signals.
import { batch, computed, effect, signal } from "/static/vendor/signals-core.js";
import { ask } from "/static/api.js";

export const columns = signal(/** @type {any} */ (null));
export const workspace = signal(/** @type {any} */ (null));
export const subject = signal(/** @type {any} */ (null));
export const journal = signal(/** @type {any} */ ({ entries: [], last: 0, current: null }));
export const notice = signal("");

/** The address after the #: view, what it is of, its settings. */
export const place = signal(read());
/** The pinned parts with their scales, in the order in which they were pinned. */
export const dials = signal(/** @type {Record<string, number>} */ (dialsOf(place.value)));

/** Part → its row in the columns. */
export const rowOf = computed(() => {
  const held = columns.value;
  if (!held) return new Map();
  return new Map(held.number.map((n, i) => [`${held.sites[held.site[i]]}:${n}`, i]));
});

/** @param {number} row */
export const nameOf = (row) => {
  const held = columns.value;
  return `${held.sites[held.site[row]]}:${held.number[row]}`;
};

/** @param {string} name */
export const labelOf = (name) => {
  const row = rowOf.value.get(name);
  return row === undefined ? "" : columns.value.label[row];
};

/** @param {string} domain */
export const domainName = (domain) => columns.value?.names?.[domain] ?? domain;

function read() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/");
  return { view: view || "parts", of: decoded(rest.join("/")), set: Object.fromEntries(new URLSearchParams(query)) };
}

/** What an address says; one that somebody cut short, as it stands. @param {string} said */
function decoded(said) {
  try {
    return decodeURIComponent(said);
  } catch {
    return said;
  }
}

function dialsOf({ set }) {
  const pairs = (set.d ?? "").split(",").map((one) => one.split("="));
  return Object.fromEntries(pairs.filter(([n, a]) => n && Number.isFinite(Number(a))).map(([n, a]) => [n, Number(a)]));
}

function address({ view, of, set }) {
  const d = Object.entries(dials.value).map(([name, alpha]) => `${name}=${alpha}`).join(",");
  const kept = Object.entries({ ...set, d }).filter(([, value]) => value !== "" && value !== undefined);
  const query = new URLSearchParams(kept).toString();
  return `#/${view}${of ? "/" + encodeURIComponent(of) : ""}${query ? "?" + query : ""}`;
}

/** The link to a view. @param {string} view @param {string} [of] @param {Record<string, string>} [set] */
export const link = (view, of = "", set = {}) => address({ view, of, set });

/** Change settings of this view in the address, without a step in the browser's history. @param {Record<string, string>} set */
export function settle(set) {
  place.value = { ...place.value, set: { ...place.value.set, ...set } };
}

/** @param {string} name @param {number} [alpha] */
export const pin = (name, alpha = 1) => {
  if (!(name in dials.value)) dials.value = { ...dials.value, [name]: alpha };
};
/** @param {string} name */
export const unpin = (name) => {
  dials.value = Object.fromEntries(Object.entries(dials.value).filter(([n]) => n !== name));
};
/** @param {string} name @param {number} alpha */
export const turn = (name, alpha) => {
  dials.value = { ...dials.value, [name]: alpha };
};

/** Undo, redo or keep; the dials follow what stands then. @param {string} path @param {object} body */
export async function write(path, body) {
  notice.value = "";
  try {
    journal.value = await ask(path, { ...body, after: journal.value.last });
  } catch (error) {
    journal.value = await ask("/api/edits");
    notice.value = error.message;
    return false;
  }
  if (path !== "/api/edits") {
    const stands = journal.value.entries.find((entry) => entry.seq === journal.value.current);
    dials.value = stands ? stands.scales : Object.fromEntries(Object.keys(dials.value).map((name) => [name, 1]));
  }
  return true;
}

export async function load() {
  const quietly = (promise, into) => promise.then((data) => (into.value = data)).catch((e) => (notice.value = e.message));
  await Promise.all([
    quietly(ask("/api/columns"), columns),
    quietly(ask("/api/workspace"), workspace),
    quietly(ask("/api/edits"), journal),
  ]);
  quietly(ask("/api/warm"), subject);
}

// What the address bar held when it was last read or written here; another value is a step that is still to be read.
let held = location.hash;
addEventListener("hashchange", () => {
  if (location.hash === held) return;
  held = location.hash;
  const asked = read();
  batch(() => {
    if ("d" in asked.set) dials.value = dialsOf(asked);
    place.value = asked;
  });
});
effect(() => {
  const wanted = address(place.value);
  if (location.hash !== held || wanted === held) return;
  held = wanted;
  history.replaceState(null, "", wanted);
});
