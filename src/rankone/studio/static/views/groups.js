// Nodes of a graph that are pinned, and groups of them whose numbers are added up; both stand in the address.
import { html, nothing } from "/static/vendor/lit-html.js";
import { field, filled } from "/static/fields.js";
import { inert } from "/static/inert.js";
import { place, settle } from "/static/store.js";
import { known, percent } from "/static/words.js";

/** Places that are pinned. */
export const pinned = () => (place.value.set.p ?? "").split(",").filter(Boolean);
/** @param {string[]} places */
const pinAll = (places) => settle({ p: places.join(",") });
/** @param {string} where */
export const pinNode = (where) => pinAll(pinned().includes(where) ? pinned().filter((one) => one !== where) : [...pinned(), where]);

/** Groups by name: `name~place,place;…` in the address. @returns {Record<string, string[]>} */
export const groups = () => {
  const pairs = (place.value.set.s ?? "").split(";").map((one) => one.split("~"));
  return Object.fromEntries(pairs.filter(([name, places]) => name && places).map(([name, places]) => [name, places.split(",").filter(Boolean)]));
};
/** @param {Record<string, string[]>} wanted */
const groupAs = (wanted) => settle({ s: Object.entries(wanted).map(([name, places]) => `${name}~${places.join(",")}`).join(";") });

/** Take the pinned nodes together. A node is in one group: it leaves the one it was in. @param {HTMLFormElement} form */
function gather(form) {
  const title = field(form, "group"), name = inert(title.value.replace(/[~;,]/g, " ").trim());
  if (!name || !pinned().length) return;
  const rest = Object.entries(groups()).map(([one, places]) => /** @type {[string, string[]]} */ ([one, places.filter((where) => !pinned().includes(where))]));
  const before = rest.find(([one]) => one === name)?.[1] ?? [];
  groupAs({ ...Object.fromEntries(rest.filter(([, places]) => places.length)), [name]: [...before, ...pinned()] });
  pinAll([]);
  title.value = "";
}

/** Pinned nodes, in rows like those of all. @param {readonly Api.NodeRow[]} rows @param {(node: Api.NodeRow) => unknown} row @param {unknown} head */
export function pinnedNodes(rows, row, head) {
  if (!rows.length) return nothing;
  return html`<section><h3>Pinned nodes</h3><div class="wide"><table class="numbers pinned stacks">${head}<tbody>${rows.map(row)}</tbody></table></div>
    <form class="filters" @submit=${filled(gather)}><label>take them together as <input name="group" maxlength="60" required placeholder="what reads the suffix"></label><button>group</button></form></section>`;
}

/** @param {readonly Api.GroupRow[]} rows @param {string} output @param {(places: string[]) => void} drop what drops all nodes of one */
export function groupTable(rows, output, drop) {
  if (!rows.length) return nothing;
  return html`<section><h3>Groups</h3><div class="wide"><table class="numbers groups stacks"><caption>sums over the nodes of each: influence, edges into ${output}, edges among them, nats; –: no edge</caption>
      <thead><tr>${["group", "nodes", "influence", "edge", "within", "change"].map((t) => html`<th scope="col" class=${t === "group" ? "label" : t === "change" ? "act" : ""}>${t}</th>`)}</tr></thead>
      <tbody>${rows.map((one) => html`<tr><th scope="row">${one.name}</th><td>${one.nodes.length}</td><td>${percent(one.influence)}</td><td>${known(one.effect)}</td><td>${known(one.within)}</td>
        <td class="two"><button @click=${() => drop(places(one))}>drop all<span class="unseen"> of ${one.name}</span></button> <button @click=${() => dissolve(one)}>ungroup<span class="unseen"> ${one.name}</span></button></td></tr>`)}</tbody></table></div>
    ${rows.map((one) => html`<details><summary>${one.name}: its nodes and strongest edges</summary>
      <p><code>${places(one).join(", ")}</code></p>
      <div class="wide"><table class="numbers"><caption>edges between ${one.name} and each other node or group, added up over its nodes, nats</caption><thead><tr><th scope="col">node or group</th><th scope="col">into ${one.name}</th><th scope="col">out of it</th></tr></thead>
        <tbody>${one.edges.map((edge) => html`<tr><th scope="row">${edge.name}</th><td>${known(edge.into)}</td><td>${known(edge.out)}</td></tr>`)}</tbody></table></div></details>`)}</section>`;
}

/** @param {Api.GroupRow} group */
const places = ({ nodes }) => nodes.map((node) => node.name.replace(" at ", "@"));

/** A group's nodes are pinned again. @param {Api.GroupRow} group */
function dissolve(group) {
  const rest = Object.fromEntries(Object.entries(groups()).filter(([name]) => name !== group.name));
  groupAs(rest);
  pinAll([...new Set([...pinned(), ...places(group)])]);
}
