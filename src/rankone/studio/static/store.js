// What the page holds: the dials, the journal, the address (the list of parts: listed.js). Views read these signals.
import { batch, computed, effect, signal } from "/static/vendor/signals-core.js";
import { ask, send, why } from "/static/api.js";
import { inert } from "/static/inert.js";
import { columns, corrections, hold, rowOf } from "/static/listed.js";

export const workspace = signal(/** @type {Api.WorkspaceView | null} */ (null));
export const subject = signal(/** @type {Api.Subject | null} */ (null));
export const journal = signal(/** @type {Api.JournalView} */ ({ entries: [], last: 0, current: null, undone: [], can_undo: false, can_redo: false }));
export const notice = signal("");

/** @typedef {{ view: string, of: string, set: Record<string, string> }} Place */
/** Settings that are texts to look into, asked about as they are. */
const ASKED = new Set(["t", "u"]);

/** The address after the #: view, what it is of, its settings. */
export const place = signal(read());
/** The part that was looked at last. */
export const picked = signal("");
/** The pinned parts with their scales, in the order in which they were pinned. */
export const dials = signal(/** @type {Record<string, number>} */ (dialsOf(place.value)));

/** @returns {Place} */
function read() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/");
  const set = [...new URLSearchParams(query)].map(([key, value]) => [key, ASKED.has(key) ? value : inert(value)]);
  return { view: inert(view) || "parts", of: inert(decoded(rest.join("/"))), set: Object.fromEntries(set) };
}

/** What an address says; one that somebody cut short, as it stands. @param {string} said */
function decoded(said) {
  try {
    return decodeURIComponent(said);
  } catch {
    return said;
  }
}

/** @param {Place} place */
function dialsOf({ set }) {
  const pairs = (set.d ?? "").split(",").map((one) => one.split("="));
  return Object.fromEntries(pairs.filter(([n, a]) => n && Number.isFinite(Number(a))).map(([n, a]) => [n, Number(a)]));
}

/** @param {Place} place */
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
  const shown = inert(name);
  if (!Object.hasOwn(dials.value, shown)) step({ ...dials.value, [shown]: alpha });
};
/** @param {string} name */
export const unpin = (name) => {
  step(Object.fromEntries(Object.entries(dials.value).filter(([n]) => n !== name)));
};

// While a slider is held, by pointer or key, its moves are one step: the number of the grip, 0 for none.
let grip = 0, grips = 0, slid = "";
for (const event of ["pointerdown", "keydown"]) addEventListener(event, () => (grip ||= ++grips), true);
for (const event of ["pointerup", "pointercancel", "keyup", "blur"]) addEventListener(event, (of) => (of.target === window || event !== "blur") && (grip = 0), true);
/** @param {string} name @param {number} alpha @param {boolean} [sliding] whether by a slider that may still be held */
export const turn = (name, alpha, sliding = false) => {
  const next = { ...dials.value, [name]: alpha }, held = sliding && grip ? `${grip} ${name}` : "";
  if (held && held === slid) dials.value = next;
  else slid = step(next) ? held : "";
};

/** Names of dials that the server was asked about, but for those that it refused. */
const vetted = /** @type {Set<string>} */ (new Set());
/** Whether all are names of parts; those that are not are told, and unpinned. @param {string[]} names */
export async function admitted(names) {
  names.forEach((name) => vetted.add(name)); // while the answer is under way, nobody asks again
  try {
    const { refused } = await send("/api/named", { names });
    const none = Object.keys(refused);
    if (!none.length) return true;
    none.forEach((name) => vetted.delete(name));
    dials.value = Object.fromEntries(Object.entries(dials.value).filter(([name]) => !none.includes(name)));
    notice.value = Object.values(refused).join(" ");
  } catch (error) {
    names.forEach((name) => vetted.delete(name));
    notice.value = why(error);
  }
  return false;
}
effect(() => {
  const names = Object.keys(dials.value).filter((name) => !vetted.has(name));
  if (names.length) admitted(names.slice(0, 64));
});

/** @param {Record<string, number>} scales */
const turnedOf = (scales) => Object.fromEntries(Object.entries(scales).filter(([, alpha]) => alpha !== 1));
/** @param {Record<string, number>} one @param {Record<string, number>} other */
const same = (one, other) => {
  const [a, b] = [turnedOf(one), turnedOf(other)];
  return Object.keys(a).length === Object.keys(b).length && Object.entries(a).every(([name, alpha]) => b[name] === alpha);
};
const stands = computed(() => journal.value.entries.find((entry) => entry.seq === journal.value.current)?.scales ?? /** @type {Record<string, number>} */ ({}));
/** Whether the dials have been turned away from what the journal says stands. */
const unsaved = computed(() => Object.keys(dials.value).length > 0 && !same(dials.value, stands.value));
/** The dials before each step since the journal last moved them, and those that an undo took back, with what stood in the journal then. */
const past = signal(/** @type {Record<string, number>[]} */ ([])), ahead = signal(/** @type {{ dials: Record<string, number>, on: number | null }[]} */ ([]));
const STEPS = 300;
const comesBack = computed(() => ahead.value.length > 0 && ahead.value[ahead.value.length - 1].on === journal.value.current);
/** The last step that moved anything: its place in `past`, or -1. */
const before = computed(() => past.value.findLastIndex((one) => !same(one, dials.value)));
export const canUndo = computed(() => before.value >= 0 || unsaved.value || Boolean(journal.value.can_undo));
export const canRedo = computed(() => comesBack.value || Boolean(journal.value.can_redo));

/** The dials as they are to be, as one step that an undo takes back; whether that moves any. @param {Record<string, number>} next */
export function step(next) {
  const moves = !same(next, dials.value);
  batch(() => {
    if (moves) [past.value, ahead.value] = [[...past.value.slice(-STEPS), dials.value], []];
    dials.value = next;
  });
  return moves;
}

/** The dials at some scales; what is pinned beside them stays pinned, at 1. @param {Record<string, number>} scales */
const toScales = (scales) => {
  const pinned = Object.fromEntries(Object.keys(dials.value).map((name) => [name, 1]));
  dials.value = { ...pinned, ...scales };
};

/** Undo, redo and keeping go one after the other, each on what the one before it left. */
let line = /** @type {Promise<unknown>} */ (Promise.resolve());
/** @template T @param {() => Promise<T>} job @returns {Promise<T>} */
function inTurn(job) {
  const done = line.then(job);
  line = done.catch(() => {});
  return done;
}

/** Take back the step that was taken last: those that are not kept one by one, then what was kept. */
export const undo = () =>
  inTurn(async () => {
    if (before.value >= 0 || unsaved.value) {
      const [at, to] = [Math.max(before.value, 0), past.value[before.value] ?? stands.value];
      batch(() => {
        ahead.value = [...ahead.value, { dials: dials.value, on: journal.value.current }];
        toScales(to);
        past.value = past.value.slice(0, at);
      });
      notice.value = unsaved.value ? "" : "The dials stand again at what was kept last; redo brings the unsaved ones back.";
    } else if (journal.value.can_undo) await stepped("/api/undo");
  });

/** Bring back what the last undo took. */
export const redo = () =>
  inTurn(async () => {
    if (comesBack.value) {
      const back = ahead.value[ahead.value.length - 1];
      batch(() => {
        [past.value, ahead.value] = [[...past.value, dials.value], ahead.value.slice(0, -1)];
        toScales(back.dials);
      });
      notice.value = "";
    } else if (unsaved.value) {
      notice.value = "The dials were turned since: keep them, or undo that first.";
    } else if (journal.value.can_redo) await stepped("/api/redo");
  });

/** Keep the dials. @param {string} name */
export const keep = (name) =>
  inTurn(async () => {
    const steps = past.value.length;
    const kept = await written((after) => send("/api/edits", { scales: dials.value, name, after }));
    if (kept) [past.value, ahead.value] = [past.value.slice(steps), []]; // steps that were taken meanwhile are not kept yet
    return kept;
  });
/** To where the journal leads; dials that were turned meanwhile stay as they are. @param {"/api/undo" | "/api/redo"} path */
async function stepped(path) {
  const turned = dials.value;
  if (!(await written((after) => send(path, { after })))) return;
  past.value = [];
  if (same(turned, dials.value)) toScales(stands.value);
}

/** Add a line to the journal, after the last one that was seen. @param {(after: number) => Promise<Api.JournalView>} add */
async function written(add) {
  notice.value = "";
  try {
    journal.value = await add(journal.value.last);
    return true;
  } catch (error) {
    journal.value = await ask("/api/edits");
    ahead.value = []; // what another page has kept meanwhile comes after it
    notice.value = why(error);
    return false;
  }
}

/** Call a part something else by hand; "" takes that back. @param {string} name @param {string} label */
export async function correct(name, label) {
  notice.value = "";
  try {
    const row = rowOf.value.get(name);
    const instead = row === undefined ? "" : (columns.value?.label[row] ?? "");
    corrections.value = await send("/api/labels", { name, label, instead, after: corrections.value.last });
  } catch (error) {
    corrections.value = await ask("/api/labels");
    notice.value = why(error);
  }
}

export async function load() {
  /** @template T @param {Promise<T>} promise @param {import("/static/vendor/signals-core.js").Signal<T | null> | import("/static/vendor/signals-core.js").Signal<T>} into */
  const quietly = (promise, into) => promise.then((data) => (into.value = data)).catch((error) => (notice.value = why(error)));
  await Promise.all([
    ask("/api/columns").then(hold).catch((error) => (notice.value = why(error))),
    quietly(ask("/api/workspace"), workspace),
    quietly(ask("/api/edits"), journal),
    quietly(ask("/api/labels"), corrections),
  ]);
  quietly(ask("/api/warm"), subject);
}

// What was told of one view is not of the next.
let told = "";
effect(() => {
  const { view, of } = place.value, here = `${view}/${of}`;
  if (view === "part") picked.value = of;
  if (told && told !== here) notice.value = "";
  if (told !== here && view === "edits") inTurn(async () => (journal.value = await ask("/api/edits"))); // another page may have kept some
  told = here;
});
// What the address bar held when it was last read or written here; another value is a step that is still to be read.
let held = location.hash;
addEventListener("hashchange", () => {
  if (location.hash === held) return;
  held = location.hash;
  const asked = read();
  batch(() => {
    if ("d" in asked.set) step(dialsOf(asked));
    place.value = asked;
  });
});
// Browsers take some two hundred such writes in half a minute, and a slider asks for more: what stands for a while is written.
const SETTLED = 150;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let writing;
function write() {
  clearTimeout(writing);
  const wanted = address(place.value);
  if (location.hash !== held || wanted === held) return;
  held = wanted;
  history.replaceState(null, "", wanted);
}
effect(() => {
  address(place.value);
  clearTimeout(writing);
  writing = setTimeout(write, SETTLED);
});
for (const event of ["pagehide", "blur"]) addEventListener(event, write); // whoever leaves takes it along
