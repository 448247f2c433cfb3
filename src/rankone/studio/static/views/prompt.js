// A text, token by token: which sites and parts matter where; with a second text, what the change changes.
import { effect, signal } from "/static/vendor/signals-core.js";
import { html, nothing } from "/static/vendor/lit-html.js";
import { send, why } from "/static/api.js";
import { field, filled } from "/static/fields.js";
import { labelOf } from "/static/listed.js";
import { paired, together } from "/static/pairing.js";
import { link, notice, pin, place, settle } from "/static/store.js";
import { signed } from "/static/words.js";

/** of: for every token of the first its counterpart in the second; here, there: which token of each is looked at; -1 for none. @typedef {{ first: Api.PromptView | null, second: Api.PromptView | null, of: number[], here: number, there: number, state: string, error: string }} Looked */
const NOTHING = { first: null, second: null, of: [], here: -1, there: -1, state: "", error: "" };
const looked = signal(/** @type {Looked} */ (NOTHING));
/** @param {Api.PromptView} view */
const texts = (view) => view.tokens.map((token) => token.text);
let [first, second] = ["Der Ausschuss hat gestern beschlossen", ""];
// Parts that are named per token at most.
const TOP = 12;
/** Importance over which a part is named, as the address has it. */
const over = () => Math.min(0.99, Math.max(0, Number(place.value.set.tau ?? 0.01) || 0));
// Longest text that stands in the address.
const ADDRESSED = 1000;

async function look() {
  looked.value = { ...NOTHING, state: "looking…" };
  try {
    const threshold = over();
    const one = await send("/api/prompt", { text: first, top: TOP, threshold });
    const two = second ? await send("/api/prompt", { text: second, top: TOP, threshold }) : null;
    const of = two ? paired(texts(one), texts(two)) : [];
    // The first that was changed, lost or is new.
    const [here, there] = two ? (together(of, two.tokens.length).find(([i, j]) => i < 0 || j < 0 || one.tokens[i].text !== two.tokens[j].text) ?? [one.tokens.length - 1, two.tokens.length - 1]) : [one.tokens.length - 1, -1];
    looked.value = { ...NOTHING, first: one, second: two, of, here, there };
  } catch (error) {
    looked.value = { ...NOTHING, error: why(error) };
  }
}

/** Tokens whose parts were asked about. @type {WeakSet<Api.TokenView>} */
const completed = new WeakSet();
/** Have the importance of the other token's parts too, so that every change is a number. @param {string} text @param {number} at @param {Api.TokenView} here @param {Api.TokenView} there */
async function complete(text, at, here, there) {
  const parts = there.top.map(({ part }) => part).filter((part) => here.top.every((one) => one.part !== part));
  if (completed.has(here) || !parts.length) return;
  completed.add(here);
  try {
    const { values } = await send("/api/importance", { text, at, parts });
    here.top = [...here.top, ...values.map((importance, i) => ({ part: parts[i], importance }))];
    looked.value = { ...looked.value };
  } catch (error) {
    notice.value = why(error);
  }
}
effect(() => {
  const { first: one, second: two, here, there } = looked.value, [g, h] = [one?.tokens[here], two?.tokens[there]];
  if (g && h) [complete(first, here, g, h), complete(second, there, h, g)];
});

/** @param {HTMLFormElement} form */
function asked(form) {
  [first, second] = [field(form, "first").value, field(form, "second").value];
  const short = first.length + second.length <= ADDRESSED;
  settle({ t: short ? first : "", u: short ? second : "", tau: field(form, "tau").value });
  look();
}

// An address that holds texts is looked into as it is opened.
effect(() => {
  const { view, set } = place.value;
  if (view !== "prompt" || !set.t || looked.peek().first || looked.peek().state || looked.peek().error) return;
  [first, second] = [set.t, set.u ?? ""];
  look();
});

export function promptView() {
  const { first: one, second: two, of, here, there, state, error } = looked.value;
  /** @param {number} i */
  const inOne = (i) => (looked.value = { ...looked.value, here: i, there: of[i] ?? -1 });
  /** @param {number} i */
  const inTwo = (i) => (looked.value = { ...looked.value, here: of.indexOf(i), there: i });
  return html`<h1>Text</h1>
    <form class="filters" @submit=${filled(asked)}>
      <label>text <textarea name="first" rows="2" cols="50" .value=${first}></textarea></label>
      <label>another, to compare <textarea name="second" rows="2" cols="50" .value=${second}></textarea></label>
      <label>parts with importance over <input type="number" name="tau" min="0" max="0.99" step="0.01" .value=${String(over())}></label>
      <button>look into it</button>
    </form>
    <p role="status">${error ? html`<span class="error">${error}</span>` : state}</p>
    ${one ? html`${two ? difference(one, two, of, [here, there]) : nothing} ${token(one.tokens[here], two?.tokens[there])}
        <div class="sides">${grid(one, here, two ? "The text" : "Importance by site", inOne)} ${two ? grid(two, there, "The other", inTwo) : nothing}</div>`
    : state || error ? nothing : html`<p class="evidence">Which sites and parts matter at each token. With a second text beside it: what a changed word changes, there and after it.</p>`}`;
}

/** @param {string} text @param {boolean} on @param {boolean} changed @param {() => void} choose @param {boolean} [lost] */
const head = (text, on, changed, choose, lost = false) => html`<th scope="col"><button aria-pressed=${on} class=${changed ? "changed" : ""} @click=${choose}>${lost ? html`<s>${text}</s>` : text}${changed ? html`<span class="unseen"> (${lost ? "lost" : "changed"})</span>` : nothing}</button></th>`;

/** @param {Api.PromptView} view @param {number} at @param {string} title @param {(i: number) => void} choose */
function grid(view, at, title, choose) {
  const most = Math.max(...view.tokens.flatMap((t) => t.sums), 1e-9);
  return html`<section><h2>${title}</h2><div class="wide"><table class="heat"><caption>Σ of causal importances by site; a token's button lists its parts</caption>
    <thead><tr><th scope="col">site</th>${view.tokens.map((t, i) => head(t.text, i === at, false, () => choose(i)))}</tr></thead>
    <tbody>${view.sites.map((site, s) => html`<tr><th scope="row">${site}</th>${view.tokens.map((t) => html`<td class=${`g${Math.round((9 * t.sums[s]) / most)}`}>${t.sums[s].toFixed(1)}</td>`)}</tr>`)}</tbody></table></div></section>`;
}

/** @param {Api.PromptView} one @param {Api.PromptView} two @param {number[]} of @param {[number, number]} at */
function difference(one, two, of, at) {
  const columns = together(of, two.tokens.length).map(([here, there]) => {
    const [from, to] = [one.tokens[here], two.tokens[there]];
    return { here, there, text: (to ?? from).text, changed: from?.text !== to?.text, lost: !to, rises: from && to ? to.sums.map((sum, s) => sum - from.sums[s]) : null };
  });
  const most = Math.max(...columns.flatMap(({ rises }) => rises ?? []).map(Math.abs), 1e-9);
  /** @param {number} rise */
  const cell = (rise) => html`<td class=${`${rise < 0 ? "n" : "g"}${Math.round((9 * Math.abs(rise)) / most)}`}>${Math.abs(rise) < 0.05 ? "0" : signed(rise, 1)}</td>`;
  return html`<section><h2>What the change changes</h2><div class="wide"><table class="heat difference"><caption>Σ of causal importances by site, in the other less in the first, at tokens that stand for each other; framed: what differs, is new or is lost (struck out). Importances may be read from the whole text, so tokens before the change can move too</caption>
    <thead><tr><th scope="col">site</th>${columns.map(({ here, there, text, changed, lost }) => head(text, here === at[0] && there === at[1], changed, () => (looked.value = { ...looked.value, here, there }), lost))}</tr></thead>
    <tbody>${two.sites.map((site, s) => html`<tr><th scope="row">${site}</th>${columns.map(({ rises, lost }) => (rises ? cell(rises[s]) : html`<td>${lost ? "lost" : "new"}</td>`))}</tr>`)}</tbody></table></div></section>`;
}

/** The parts at a token, or at two that stand for each other: then those first that move most. @param {Api.TokenView | undefined} here @param {Api.TokenView | undefined} there */
function token(here, there) {
  const shown = [here, there].flatMap((one, i) => (one ? [{ text: one.text, top: new Map(one.top.map((p) => [p.part, p.importance])), of: here?.text === there?.text ? [" in the text", " in the other"][i] : "" }] : []));
  if (!shown.length) return nothing;
  const rows = [...new Set(shown.flatMap(({ top }) => [...top.keys()]))].map((part) => ({ part, at: shown.map(({ top }) => top.get(part)) }));
  /** How far a part moves; NaN until its importance at both has come. @param {(number | undefined)[]} at */
  const moved = ([g = NaN, h = NaN]) => h - g;
  /** @param {{ at: (number | undefined)[] }} row */
  const far = ({ at }) => Math.abs(moved(at)) || 0;
  const both = shown.length === 2;
  if (both) rows.sort((a, b) => far(b) - far(a));
  return html`<section><h2>At ${shown.map(({ text }, i) => html`${i ? " and " : nothing}<code>${text}</code>`)}</h2>
    <div class="wide"><table class="numbers stacks"><caption>importance of the parts that matter more here than in most text, at most twelve of each token${both ? ", and of each what it is at both; those first that move most" : ""}</caption>
      <thead><tr><th scope="col" class="label">part</th>${shown.map(({ text, of }) => html`<th scope="col">at <code>${text}</code>${of}</th>`)}${both ? html`<th scope="col">change</th>` : nothing}<th scope="col" class="label">label</th><th scope="col" class="act"><span class="unseen">pin</span></th></tr></thead>
      <tbody>${rows.map(({ part, at }) => html`<tr>
        <th scope="row"><a href=${link("part", part)}><code>${part}</code></a></th>${at.map((g) => html`<td>${g === undefined ? "…" : g.toFixed(3)}</td>`)}${both ? html`<td>${isNaN(moved(at)) ? "…" : signed(moved(at))}</td>` : nothing}
        <td class="label">${labelOf(part)}</td><td><button @click=${() => pin(part)} aria-label=${`pin ${part}`}>pin</button></td></tr>`)}</tbody></table></div></section>`;
}
