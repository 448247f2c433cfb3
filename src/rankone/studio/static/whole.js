// What a label says past the length that is shown, fetched page by page, as text.
import { signal } from "/static/vendor/signals-core.js";
import { html, nothing } from "/static/vendor/lit-html.js";
import { send, why } from "/static/api.js";
import { notice } from "/static/store.js";

/** @typedef {"label" | "source" | "reasoning"} Field */
/** Pages that have come, by what they are of. */
const come = signal(/** @type {Record<string, { pages: string[], of: number }>} */ ({}));

/** @param {string} name @param {number} label @param {Field} of */
async function more(name, label, of) {
  const key = `${name} ${label} ${of}`, page = come.value[key]?.pages.length ?? 0;
  try {
    const { text, pages } = await send("/api/text", { name, label, of, page });
    const before = come.value[key]?.pages ?? [];
    if (before.length === page) come.value = { ...come.value, [key]: { pages: [...before, text], of: pages } };
  } catch (error) {
    notice.value = why(error);
  }
}

/** The whole of each text that is cut. @param {string} name @param {number} label @param {Api.LabelView} view */
export function whole(name, label, view) {
  const cut = /** @type {[Field, number][]} */ (Object.entries(view.cut));
  return cut.map(([of, length]) => {
    const { pages, of: all } = come.value[`${name} ${label} ${of}`] ?? { pages: [], of: 1 };
    return html`<div class="whole-text"><p class="evidence">the ${of} is cut: it has ${length.toLocaleString("en")} characters
        ${pages.length < all ? html`<button @click=${() => more(name, label, of)}>more<span class="unseen"> of the ${of}</span></button>` : nothing}
        ${pages.length ? `page${pages.length > 1 ? "s 1 to" : ""} ${pages.length} of ${all}` : nothing}</p>
      ${pages.length ? html`<p class="pane continuation">${pages.join("")}</p>` : nothing}</div>`;
  });
}
