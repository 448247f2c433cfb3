// A text, token by token: which sites and parts matter where; with a second text, what the change changes.
import { signal } from "/static/vendor/signals-core.js";
import { html, nothing } from "/static/vendor/lit-html.js";
import { send, why } from "/static/api.js";
import { field, filled } from "/static/fields.js";
import { labelOf, link, pin } from "/static/store.js";
import { short } from "/static/words.js";

/** @typedef {{ first: Api.PromptView | null, second: Api.PromptView | null, at: number, state: string, error: string }} Looked */
const looked = signal(/** @type {Looked} */ ({ first: null, second: null, at: -1, state: "", error: "" }));
let [first, second] = ["Der Ausschuss hat gestern beschlossen", ""];

/** @param {HTMLFormElement} form */
async function look(form) {
  [first, second] = [field(form, "first").value, field(form, "second").value];
  looked.value = { first: null, second: null, at: -1, state: "looking…", error: "" };
  try {
    const one = await send("/api/prompt", { text: first, top: 12 });
    const two = second ? await send("/api/prompt", { text: second, top: 12 }) : null;
    looked.value = { first: one, second: two, at: one.tokens.length - 1, state: "", error: "" };
  } catch (error) {
    looked.value = { ...looked.value, state: "", error: why(error) };
  }
}

export function promptView() {
  const { first: one, second: two, at, state, error } = looked.value;
  return html`<h1>Text</h1>
    <form class="filters" @submit=${filled(look)}>
      <label>text <textarea name="first" rows="2" cols="50" .value=${first}></textarea></label>
      <label>another, to compare <textarea name="second" rows="2" cols="50" .value=${second}></textarea></label>
      <button>look into it</button>
    </form>
    <p role="status">${error ? html`<span class="error">${error}</span>` : state}</p>
    ${one ? html`${grid(one, at, "the text")} ${two ? grid(two, at, "the other") : nothing} ${token(one, two, at)}` : nothing}`;
}

/** @param {Api.PromptView} view @param {number} at @param {string} title */
function grid(view, at, title) {
  const most = Math.max(...view.tokens.flatMap((t) => t.sums), 1e-9);
  return html`<section><h2>Importance in ${title}</h2><div class="wide"><table class="heat"><caption>Σ of causal importances by site; a token's button lists its parts</caption>
    <thead><tr><th scope="col">site</th>${view.tokens.map((t, i) => html`<th scope="col"><button aria-pressed=${i === at} @click=${() => (looked.value = { ...looked.value, at: i })}>${t.text}</button></th>`)}</tr></thead>
    <tbody>${view.sites.map((site, s) => html`<tr><th scope="row">${site}</th>${view.tokens.map((t) => html`<td class=${`g${Math.round((9 * t.sums[s]) / most)}`}>${t.sums[s].toFixed(1)}</td>`)}</tr>`)}</tbody></table></div></section>`;
}

/** @param {Api.PromptView} one @param {Api.PromptView | null} two @param {number} at */
function token(one, two, at) {
  const here = one.tokens[at], there = two?.tokens[at];
  if (!here) return nothing;
  const other = new Map((there?.top ?? []).map((p) => [p.part, p.importance]));
  const gone = (there?.top ?? []).filter((p) => !here.top.some((q) => q.part === p.part));
  /** @type {[part: string, here: number | undefined, there: number | undefined][]} */
  const rows = [...here.top.map((p) => /** @type {[string, number, number | undefined]} */ ([p.part, p.importance, other.get(p.part)])), ...gone.map((p) => /** @type {[string, undefined, number]} */ ([p.part, undefined, p.importance]))];
  return html`<section><h2>At <code>${here.text}</code>${there ? html` and <code>${there.text}</code>` : nothing}</h2>
    <table class="numbers"><caption>parts that matter more here than in most text</caption><thead><tr><th scope="col">part</th><th scope="col">importance</th>${there ? html`<th scope="col">in the other</th>` : nothing}<th scope="col">label</th><th scope="col"><span class="unseen">pin</span></th></tr></thead>
      <tbody>${rows.map(([part, g, h]) => html`<tr>
        <th scope="row"><a href=${link("part", part)}><code>${part}</code></a></th><td>${g === undefined ? "not among them" : short(g)}</td>${there ? html`<td>${h === undefined ? "not among them" : short(h)}</td>` : nothing}
        <td class="label">${labelOf(part)}</td><td><button @click=${() => pin(part)} aria-label=${`pin ${part}`}>pin</button></td></tr>`)}</tbody></table></section>`;
}
