// Attribution graphs of the workspace: each with its verification, drawn, and what a change of its nodes does beside what was predicted.
import { effect, signal } from "/static/vendor/signals-core.js";
import { html, nothing } from "/static/vendor/lit-html.js";
import { ask, send, why } from "/static/api.js";
import { by, field, filled } from "/static/fields.js";
import { inert } from "/static/inert.js";
import { labelOf } from "/static/listed.js";
import { link, notice, place, settle, workspace } from "/static/store.js";
import { fixed, known, percent, scale, short, signed, typedNumber } from "/static/words.js";
import { groupTable, groups, pinNode, pinned, pinnedNodes } from "/static/views/groups.js";

const graphs = signal(/** @type {Api.ListedGraph[] | null} */ (null));
/** @typedef {{ of: string, view: Api.GraphView | null, error: string }} Shown */
const shown = signal(/** @type {Shown} */ ({ of: "", view: null, error: "" }));
/** @typedef {{ of: string, reply: Api.GraphInterveneReply | null, state: string, error: string }} Changed */
const changed = signal(/** @type {Changed} */ ({ of: "", reply: null, state: "", error: "" }));

/** What the address asks to be changed: places with their factors. @returns {Record<string, number>} */
const changes = () => {
  const pairs = (place.value.set.x ?? "").split(",").map((one) => one.split("="));
  return Object.fromEntries(pairs.filter(([where, factor]) => where && Number.isFinite(Number(factor ?? NaN))).map(([where, factor]) => [where, Number(factor)]));
};
/** @param {Record<string, number>} wanted */
const change = (wanted) => settle({ k: "", x: Object.entries(wanted).map(([where, factor]) => `${where}=${factor}`).join(",") });
/** What the address asks to be kept alone. Whether nodes suffice is another question than whether they are needed: one at a time. */
const kept = () => (place.value.set.k ?? "").split(",").filter(Boolean);
/** @param {string[]} wanted */
const keepAlone = (wanted) => settle({ x: "", k: wanted.join(",") });
const asked = () => `${place.value.set.x ?? ""} ${place.value.set.k ?? ""}`;

async function list() {
  try {
    graphs.value = (await ask("/api/graphs")).graphs;
    graphs.value = (await ask("/api/graphs/checked")).graphs; // their files read through, which takes longer
  } catch (error) {
    notice.value = why(error);
  }
}

/** Of how many of the strongest nodes the graph is shown. */
const FEW = 40, MOST = 300;
const count = () => Math.min(MOST, Math.max(1, Math.round(Number(place.value.set.n)) || FEW));

/** What of a graph is asked for. @param {string} id @param {string} rule */
const wanted = (id, rule) => [id, rule, count(), place.value.set.p ?? "", place.value.set.s ?? ""].join(" ");

/** @param {string} id @param {"frozen" | "grad"} rule */
async function open(id, rule) {
  const of = wanted(id, rule);
  const before = shown.value.of.startsWith(id) ? shown.value.view : null;
  shown.value = { of, view: before, error: "" };
  try {
    const view = await send("/api/graph", { id, rule, nodes: count(), pinned: pinned(), groups: groups() });
    if (shown.value.of === of) shown.value = { of, view, error: "" };
  } catch (error) {
    if (shown.value.of === of) shown.value = { of, view: null, error: why(error) };
  }
}

effect(() => {
  const { view, set } = place.value;
  if (view !== "graphs") return;
  if (!graphs.peek()) list();
  const rule = set.rule === "grad" ? "grad" : "frozen";
  if (set.graph && shown.peek().of !== wanted(set.graph, rule)) open(set.graph, rule);
});

/** @param {string} id @param {HTMLFormElement} form */
async function intervene(id, form) {
  const of = asked(), tokens = kept().length ? 0 : Number(field(form, "tokens").value);
  changed.value = { of, reply: null, state: "measuring…", error: "" };
  try {
    const reply = await send("/api/intervene", { id, changes: changes(), keep: kept(), tokens });
    changed.value = { of, reply, state: "", error: "" };
  } catch (error) {
    changed.value = { of, reply: null, state: "", error: why(error) };
  }
}

export function graphsView() {
  const held = graphs.value, { graph = "" } = place.value.set;
  if (!held) return html`<h1>Graphs</h1><p role="status">reading…</p>`;
  return html`<h1>Graphs</h1>
    <p class="does"><button @click=${list}>read again</button></p>
    ${held.length ? html`<div class="wide"><table class="numbers graphs stacks"><thead><tr>${["graph", "of", "leads to", "checks", "explained by tokens", ""].map((t) => html`<th scope="col" class=${t === "explained by tokens" ? "" : t ? "label" : "act"}>${t || html`<span class="unseen">show</span>`}</th>`)}</tr></thead>
      <tbody>${held.map((one) => html`<tr class=${one.id === graph ? "aim" : ""}><th scope="row"><code>${one.name}</code></th><td class="label">${one.prompt}</td><td class="label">${one.outputs.slice(0, 4).join(", ")}</td>
        <td class="label">${one.state === "broken" ? html`<span class="error">${one.broken}</span>` : `${one.state}${one.hashed ? "" : "; reading its files through…"}`}</td><td>${known(one.replacement, percent)}</td>
        <td><button aria-pressed=${one.id === graph} ?disabled=${one.state === "broken"} @click=${() => settle({ graph: one.id === graph ? "" : one.id, x: "", k: "", p: "", s: "" })}>show<span class="unseen"> ${one.name}</span></button></td></tr>`)}</tbody></table></div>`
    : html`<p>No graph lies in this workspace. <code>${command()}</code> makes one, checks it and keeps it.</p>`}
    ${graph ? opened(graph) : nothing}`;
}

/** What makes a graph of the model that is open. */
function command() {
  const { model = "mini", decomposition = "" } = workspace.value?.options ?? {};
  /** @param {string} said */
  const word = (said) => (/^[\w./:@+-]+$/.test(said) ? said : `'${said.replaceAll("'", "'\\''")}'`);
  return `rankone graph ${word(model)} "A text"${decomposition ? ` --decomposition ${word(decomposition)}` : ""} --out runs/graph`;
}

/** @param {string} id */
function opened(id) {
  const { view, error } = shown.value;
  if (error) return html`<p class="error">${error}</p>`;
  if (!view) return html`<p role="status">reading…</p>`;
  const { graph, exact } = view;
  return html`<section><h2>What leads from “${graph.prompt}” to ${graph.outputs.map((o) => o.text).join(", ")}</h2>
    <p><span class="badge">${exact === null ? "not verified" : exact ? "verified" : "verified: NOT exact"}</span> ${graph.trust}</p>
    ${graph.not_compared.map((said) => html`<p class="evidence">${said}</p>`)}
    ${nodes(view)} ${intervention(id)}
    <details><summary>drawn</summary><iframe title="the graph" sandbox="" src=${`/graphs/${id}?nodes=${count()}&rule=${view.graph.rule}`}></iframe></details></section>`;
}

/** @param {Api.GraphView} view */
function nodes({ graph, pinned: marked, groups: together }) {
  const rule = by((chosen) => settle({ rule: chosen.value })), output = graph.outputs[0]?.text ?? "";
  return html`<form class="filters" @submit=${filled(() => {})}><label>edges by the rule <select name="rule" @change=${rule}>
      <option value="frozen" .selected=${graph.rule === "frozen"}>frozen: they sum to the value</option><option value="grad" .selected=${graph.rule === "grad"}>grad: local effects</option></select></label>
      <label>strongest nodes: ${count()} <input type="range" min="5" max=${MOST} step="5" .value=${String(count())} @change=${by((slider) => settle({ n: slider.value }))}></label></form>
    ${pinnedNodes(marked, node, HEAD)} ${groupTable(together, output, (places) => change({ ...changes(), ...Object.fromEntries(places.map((where) => [where, 0])) }))}
    <div class="wide"><table class="numbers stacks"><caption>strongest nodes; influence on the outputs through all paths, edge into ${output}, nats; –: no edge${held(graph)}</caption>
      ${HEAD}<tbody>${graph.nodes.map(node)}</tbody></table></div>`;
}

/** @param {Api.GraphReply} graph */
const held = ({ rule, behind_patterns: count }) =>
  rule === "frozen" && count ? `; ${count} subcomponents of queries and keys act through attention patterns alone, which this rule holds: they have no influence by it` : "";

const HEAD = html`<thead><tr>${["node", "token", "label", "importance", "influence", "edge", "change", "pin"].map((t) => html`<th scope="col" class=${["node", "token", "label"].includes(t) ? "label" : ["change", "pin"].includes(t) ? "act" : ""}>${t}</th>`)}</tr></thead>`;

/** @param {Api.NodeRow} node */
function node(node) {
  const where = placeOf(node), dropped = changes(), alone = kept();
  const [out, only, marked] = [dropped[where] === 0, alone.includes(where), pinned().includes(where)];
  const rest = Object.fromEntries(Object.entries(dropped).filter(([one]) => one !== where));
  return html`<tr class=${where in dropped || only ? "aim" : ""}><th scope="row">${partLink(where)}</th><td class="label"><code>${node.token}</code></td><td class="label">${node.label ?? labelOf(partOf(where))}</td>
    <td>${known(node.importance, (value) => value.toFixed(2))}</td><td>${percent(node.influence)}</td><td>${known(node.effect)}</td>
    <td class="two"><button aria-pressed=${out} @click=${() => change(out ? rest : { ...dropped, [where]: 0 })}>drop<span class="unseen"> ${where}</span></button>
      <button aria-pressed=${only} @click=${() => keepAlone(only ? alone.filter((one) => one !== where) : [...alone.filter((one) => one !== "all"), where])}>keep<span class="unseen"> ${where} alone</span></button></td>
    <td><button class="pin" aria-pressed=${marked} aria-label=${`${marked ? "unpin" : "pin"} ${where}`} @click=${() => pinNode(where)}>${marked ? "●" : "○"}</button></td></tr>`;
}

/** Where a node is, as a change names it. @param {Api.NodeRow} node */
const placeOf = (node) => node.name.replace(" at ", "@");
/** @param {string} where */
const partOf = (where) => where.split("@")[0];
/** @param {string} where */
const partLink = (where) => html`<a href=${link("part", partOf(where))}><code>${where}</code></a>`;

/** @param {string} id */
function intervention(id) {
  const wanted = changes(), alone = kept(), { reply, state, error, of } = changed.value;
  const mine = of === asked(), any = alone.length || Object.keys(wanted).length;
  const add = filled((form) => {
    const where = field(form, "place"), factor = typedNumber(field(form, "factor").value);
    notice.value = Number.isFinite(factor) ? "" : "A factor is a number, such as 0, 1.5 or −8.";
    if (!Number.isFinite(factor)) return;
    if (where.value.trim()) change({ ...wanted, [inert(where.value.trim())]: factor });
    where.value = "";
  });
  return html`<section><h3>Change nodes</h3>
    <p class="evidence">PART@POSITION at one token, PART wherever the graph has it, PART@all the weight itself; 0 drops it. Nodes kept alone ask whether they suffice, dropped ones whether they are needed: one at a time.</p>
    <form class="filters" @submit=${add}><label>place <input name="place" size="34" placeholder="h.3.mlp.down_proj:270@all"></label>
      <label>factor <input name="factor" inputmode="decimal" autocomplete="off" value="0"></label><button>add</button>
      <button type="button" aria-pressed=${alone.includes("all")} @click=${() => keepAlone(alone.includes("all") ? [] : ["all"])}>keep the whole graph alone</button></form>
    ${any ? html`<ul class="linked">${Object.entries(wanted).map(([where, factor]) => html`<li>${partLink(where)} × ${scale(factor)}
        <button @click=${() => change(Object.fromEntries(Object.entries(wanted).filter(([one]) => one !== where)))}>leave<span class="unseen"> ${where}</span></button></li>`)}
        ${alone.map((where) => html`<li>${where === "all" ? "the whole graph" : partLink(where)}, kept alone
        <button @click=${() => keepAlone(alone.filter((one) => one !== where))}>leave<span class="unseen"> ${where}</span></button></li>`)}</ul>
      <form class="filters" @submit=${filled((form) => intervene(id, form))}>${alone.length ? nothing : html`<label>tokens to go on with <input name="tokens" type="number" min="0" max="40" value="0"></label>`}<button>measure what happens</button></form>` : nothing}
    <p role="status">${mine && error ? html`<span class="error">${error}</span>` : mine ? state : ""}</p>
    ${mine && reply ? (reply.kept.length ? masked(reply) : outcomes(reply)) : nothing}</section>`;
}

/** @param {Api.GraphInterveneReply} reply */
function masked({ kept: rows, target }) {
  /** @param {number | null} value @param {number | null} sd */
  const figure = (value, sd) => (value === null ? "–" : `${fixed(value)}${sd === null ? "" : ` ± ${sd.toFixed(3)}`}`);
  return html`<div class="wide"><table class="numbers kept"><caption>what the model says with these nodes alone, by how the others are masked; p of ${target ?? "the output"}, KL from the whole model, nats; ± standard deviation of the draws</caption>
      <thead><tr>${["masks", "nodes", "draws", "p", "KL"].map((t) => html`<th scope="col">${t}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr><th scope="row">${row.masks}${row.random ? ", random nodes" : ""}</th><td>${row.nodes}</td><td>${row.draws}</td><td>${figure(row.probability, row.probability_sd)}</td><td>${figure(row.kl, row.kl_sd)}</td></tr>`)}</tbody></table></div>`;
}

/** @param {Api.GraphInterveneReply} reply */
function outcomes({ outcomes: rows, likely, before, after, edit }) {
  /** @param {number | null} p */
  const share = (p) => known(p, (value) => value.toFixed(3));
  return html`<div class="wide"><table class="numbers stacks"><caption>predicted beside measured: change of the output's value (centred logit, or contrast), through all paths</caption>
      <thead><tr>${["output", "was", "frozen says", "grad says", "happened", "p", "p after"].map((t) => html`<th scope="col">${t}</th>`)}</tr></thead>
      <tbody>${rows.map((o) => html`<tr><th scope="row"><code>${o.text}</code></th><td>${signed(o.before)}</td><td>${signed(o.predicted.frozen)}</td><td>${signed(o.predicted.grad)}</td><td class="happened"><strong>${signed(o.happened)}</strong></td><td>${share(o.probability)}</td><td>${share(o.probability_after)}</td></tr>`)}</tbody></table>
    <table class="numbers"><caption>likeliest next tokens</caption><thead><tr><th scope="col">token</th><th scope="col">before</th><th scope="col">after</th></tr></thead>
      <tbody>${likely.map((one) => html`<tr><th scope="row"><code>${one.token}</code></th><td>${short(one.before)}</td><td>${short(one.after)}</td></tr>`)}</tbody></table></div>
    ${before === null ? nothing : html`<div class="pair"><div class="pane"><h3>before</h3><p class="continuation">${before}</p></div><div class="pane"><h3>after</h3><p class="continuation">${after}</p></div></div>`}
    ${edit ? html`<p class="evidence">as an edit: <code>${edit}</code></p>` : nothing}`;
}
