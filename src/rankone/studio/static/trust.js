// What stands behind the parts: how the decomposition was judged, missed bars with the met ones.
import { html, nothing } from "/static/vendor/lit-html.js";
import { subject } from "/static/store.js";

/** @type {Record<Api.Judged["of"], [met: string, missed: string]>} */
const SAID = { property: ["holds", "does not hold"], failure: ["absent", "present"] };

export function verdict() {
  const lines = subject.value?.verdict ?? [];
  if (!lines.length) return nothing;
  /** @param {boolean | null} met */
  const named = (met) => lines.filter((line) => line.met === met).map((line) => line.name);
  const properties = lines.filter((line) => line.of === "property").length, [failed, open] = [named(false), named(null)];
  return html`<details class="verdict"><summary>the decomposition was checked for ${properties} properties that it should have and ${lines.length - properties} faults that it should not have:
      ${named(true).length} of these checks held${failed.length ? `, ${failed.length} failed (${failed.join(", ")})` : ""}${open.length ? `, ${open.length} could not be measured (${open.join(", ")})` : ""}</summary>
    <div class="wide"><table class="numbers stacks"><caption>as its evidence was measured; <code>rankone evidence</code> measures it again</caption>
      <thead><tr>${["property or fault", "", "measured", "holds or is present where"].map((t) => html`<th scope="col" class="label">${t || html`<span class="unseen">verdict</span>`}</th>`)}</tr></thead>
      <tbody>${lines.map((line) => html`<tr><th scope="row">${line.name}</th><td class="label">${line.met === null ? "not measured" : line.met ? SAID[line.of][0] : html`<strong>${SAID[line.of][1]}</strong>`}</td><td class="label">${line.said}</td><td class="label">${line.bar}</td></tr>`)}</tbody></table></div></details>`;
}
