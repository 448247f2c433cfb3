// What stands behind the parts: how the decomposition was judged, missed bars with the met ones.
import { html, nothing } from "/static/vendor/lit-html.js";
import { subject } from "/static/store.js";

/** @type {Record<Api.Judged["of"], [met: string, missed: string]>} */
const SAID = { property: ["holds", "does not hold"], failure: ["not found", "found"] };

export function verdict() {
  const lines = subject.value?.verdict ?? [];
  if (!lines.length) return nothing;
  /** @param {Api.Judged["of"]} of @param {boolean} met */
  const count = (of, met) => lines.filter((line) => line.of === of && line.met === met).length;
  const properties = lines.filter((line) => line.of === "property").length;
  return html`<details class="verdict"><summary>the decomposition: ${count("property", true)} of the ${properties} properties asked of it hold; faults found: ${count("failure", false)} of the ${lines.length - properties} looked for</summary>
    <div class="wide"><table class="numbers stacks"><caption>as its evidence was measured; <code>rankone evidence</code> measures it again</caption>
      <thead><tr>${["property or failure", "", "measured", "bar"].map((t) => html`<th scope="col" class="label">${t || html`<span class="unseen">verdict</span>`}</th>`)}</tr></thead>
      <tbody>${lines.map((line) => html`<tr><th scope="row">${line.name}</th><td class="label">${line.met === null ? "not measured" : line.met ? SAID[line.of][0] : html`<strong>${SAID[line.of][1]}</strong>`}</td><td class="label">${line.said}</td><td class="label">${line.bar}</td></tr>`)}</tbody></table></div></details>`;
}
