// The dials: scales of the pinned parts, and at once what they change everywhere, on one axis.
import { effect, signal } from "/static/vendor/signals-core.js";
import { html, nothing } from "/static/vendor/lit-html.js";
import { follow, why } from "/static/api.js";
import { by, field, filled } from "/static/fields.js";
import { domainName, labelOf } from "/static/listed.js";
import { admitted, canRedo, canUndo, dials, journal, keep, link, notice, pin, place, redo, settle, subject, turn, undo, unpin, workspace } from "/static/store.js";
import { axisOf, riseBar } from "/static/draw.js";
import { fixed, scale, scaled, short, signed, typedNumber } from "/static/words.js";

const client = crypto.randomUUID();
let seq = 0;
/** @typedef {{ of: string, rows: Api.Measured[], state: string, error: string, looks: number, cut: Api.Cut | null, size: number, chance: number, stale: boolean }} Figures */
const measured = signal(/** @type {Figures} */ ({ of: "", rows: [], state: "", error: "", looks: 0, cut: null, size: 0, chance: 0, stale: false }));
/** @typedef {{ before: Api.Side | null, after: Api.Side | null, of: string, state: string, error: string }} Spoken */
const said = signal(/** @type {Spoken} */ ({ before: null, after: null, of: "", state: "", error: "" }));
let text = "Der Ausschuss hat";
let chat = false;

const turned = () => Object.fromEntries(Object.entries(dials.value).filter(([, alpha]) => alpha !== 1));

async function preview() {
  const scales = turned();
  const of = JSON.stringify(scales);
  if (measured.value.of === of) return;
  const mine = ++seq;
  measured.value = { ...measured.value, of, state: "measuring…", error: "", cut: null, stale: true };
  /** @type {Api.Measured[]} */
  let rows = [];
  try {
    await follow("/api/preview", { scales, client, seq: mine }, (event, data) => {
      if (mine !== seq) return;
      if (event === "partial" && "row" in data) measured.value = { ...measured.value, rows: (rows = merged(rows, data.row)), state: "measuring…", stale: false };
      if (event === "partial" && "read" in data) measured.value = { ...measured.value, state: `the unedited model reads the text first: ${data.read} of ${data.of} portions…` };
      if (event === "partial" && "size" in data) measured.value = { ...measured.value, size: data.size, chance: data.chance };
      if (event === "failed") measured.value = { ...measured.value, of: "", rows: [], error: data, state: "" };
      if (event === "partial" && "cut" in data) measured.value = { ...measured.value, cut: data.cut };
      if (event === "looks") measured.value = { ...measured.value, looks: data };
      if (event === "done") measured.value = { ...measured.value, rows, state: "", stale: false };
    });
  } catch (error) {
    if (mine === seq) measured.value = { ...measured.value, rows: [], error: why(error), state: "", of: "" };
  }
}

/** A later stage takes the place of the domain's earlier row, but for what only the first has. @param {Api.Measured[]} rows @param {Api.Measured} row */
function merged(rows, row) {
  const before = rows.find((one) => one.damage.domain === row.damage.domain);
  if (!before) return [...rows, row];
  return rows.map((one) => (one === before ? { ...row, kl: row.kl ?? before.kl } : one));
}

// The first move is asked about at once, those that follow within REST ms together.
const REST = 40;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let waiting;
let asked = 0;
effect(() => {
  dials.value;
  if (place.value.view !== "dials") return;
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    asked = performance.now();
    preview();
  }, Math.max(0, asked + REST - performance.now()));
});

// The slider is logarithmic on both sides of 0: its position p stands for α = ±(2^|p| − 1).
/** @param {number} alpha */
const position = (alpha) => Math.sign(alpha) * Math.log2(1 + Math.abs(alpha));
/** @param {number} p */
const alphaAt = (p) => Math.sign(p) * (2 ** Math.abs(p) - 1);
/** @param {number} alpha */
const rounded = (alpha) => Number(alpha.toPrecision(Math.abs(alpha) < 1 ? 2 : 3));

export function dialsView() {
  const { aim = "de" } = place.value.set;
  return html`<h1>Dials</h1>
    ${Object.entries(dials.value).map(([name, alpha]) => dial(name, alpha))}
    <form class="filters" @submit=${filled(add)}>
      <label>pin a part by name <input name="part" placeholder="h.3.mlp.down_proj:270 or neuron/h.3.mlp.down_proj:270" size="44"></label>
      <button>pin</button>
    </form>
    ${effects(aim)} ${kept()} ${spoken()}`;
}

/** @param {HTMLFormElement} form */
async function add(form) {
  const named = field(form, "part"), name = named.value.trim();
  if (!name || !(await admitted([name]))) return;
  notice.value = "";
  pin(name);
  named.value = "";
}

/** @param {string} name @param {number} alpha */
function dial(name, alpha) {
  const most = workspace.value?.limits.scale ?? 1000;
  /** @param {HTMLInputElement} typed */
  const type = (typed) => {
    const value = typedNumber(typed.value);
    if (Math.abs(value) <= most) {
      notice.value = "";
      typed.value = String(value);
      return turn(name, value);
    }
    notice.value = `α of ${name} is a number from −${most} to ${most}; it stays at ${scale(alpha)}.`;
    typed.value = String(alpha);
  };
  return html`<fieldset class="dial"><legend><a href=${link("part", name)}><code>${name}</code></a> <span class="evidence">${labelOf(name)}</span></legend>
    <input type="range" aria-label=${`scale of ${name}`} min=${position(-64)} max=${position(4)} step="0.02" .value=${String(position(alpha))}
      aria-valuetext=${`α ${scale(alpha)}`} @input=${by((slider) => turn(name, rounded(alphaAt(Number(slider.value))), true))}>
    <label>α <input inputmode="decimal" autocomplete="off" .value=${String(alpha)} data-at=${String(alpha)} aria-label=${`α of ${name}`} @change=${by(type)}></label>
    <button @click=${() => turn(name, 0)}>0 <span class="unseen">deletes ${name}</span></button>
    <button @click=${() => turn(name, 1)}>1 <span class="unseen">leaves ${name} as it is</span></button>
    <button @click=${() => unpin(name)} aria-label=${`unpin ${name}`}>unpin</button>
  </fieldset>`;
}

/** @param {string} aim */
function effects(aim) {
  const { rows, state, error, size, chance, looks, cut } = measured.value;
  const stale = measured.value.stale || measured.value.of !== JSON.stringify(turned());
  if (!Object.keys(dials.value).length)
    return html`<p>Nothing is pinned. Choose parts in the <a href=${link("parts")}>list</a>, or name one above.</p>`;
  const axis = axisOf(rows.map((row) => row.damage));
  const of = new Map(rows.map((row) => [row.damage.domain, row]));
  const domains = [...new Set([...(subject.value?.domains ?? []), ...of.keys()])].sort((a, b) => Number(b === aim) - Number(a === aim));
  const shown = domains.flatMap((domain) => of.get(domain) ?? []);
  return html`<section aria-labelledby="moved"><h2 id="moved">What moved</h2>
    <p role="status" class="evidence">${error ? html`<span class="error">${error}</span>` : nothing}
      ${rows.length ? html`<span class="badge">${extent(rows, domains.length)}</span> chance ${short(chance)}; Σ ‖ΔW‖ ${short(size)};
      validation text was looked at ${looks} ${looks === 1 ? "time" : "times"} in this workspace; a figure for a paper comes from test text (<code>rankone edit</code>)` : nothing}
      <strong>${state && !subject.value ? "the model is still being opened…" : state}</strong></p>
    ${cut ? html`<p class="error">${cut.seconds} seconds were up: ${cut.domains.map(domainName).join(", ")} ${cut.domains.length === 1 ? "was" : "were"} not measured on ${cut.tokens} tokens${cut.tokens > 128 ? "; their rows, where there are any, are of the first 128" : "; the model reads on: turn again"}.</p>` : nothing}
    ${rows.length ? html`<div class="wide"><table class=${`numbers effects stacks${stale ? " stale" : ""}`} aria-busy=${state || stale ? "true" : "false"}><thead><tr>
        <th scope="col">domain</th><th scope="col">CE before</th><th scope="col">CE after</th><th scope="col">rise ± 95%</th><th scope="col">rise from ${signed(axis.low, 2)} to ${signed(axis.high, 2)}</th>
        <th scope="col">KL mean</th><th scope="col">KL p99</th><th scope="col">KL largest</th></tr></thead>
      <tbody>${domains.map((domain) => effectRow(domain, of.get(domain), axis, domain === aim, stale))}</tbody></table></div>
      <p class="evidence">CE and its rise in nats per token; KL(base ‖ edited), nats, of the first 128 tokens</p>
      <details><summary>tokens hit worst, of all validation tokens measured: rise of their CE, nats</summary>${shown.map(({ damage, worst }) => html`<h3>${domainName(damage.domain)}</h3>${worst.length ? html`<ul>${worst.map((hit) => html`<li>${signed(hit.rise, 2)} nats <span class="evidence">${hit.before}</span><mark>${hit.token}</mark></li>`)}</ul>` : html`<p class="evidence">none is hit</p>`}`)}</details>` : nothing}
  </section>`;
}

/** On how much text the figures stand. @param {Api.Measured[]} rows @param {number} domains */
function extent(rows, domains) {
  const least = Math.min(...rows.map((row) => row.tokens)), most = Math.max(...rows.map((row) => row.tokens));
  if (rows.length < domains) return `${least} validation tokens, ${rows.length} of ${domains} domains so far`;
  const further = rows.filter((row) => row.tokens === most).length;
  return `${least} validation tokens per domain${least === most ? "" : `; ${most} of ${further}`}`;
}

/** @param {string} domain @param {Api.Measured | undefined} row @param {import("/static/draw.js").Axis} axis @param {boolean} aimed @param {boolean} stale */
function effectRow(domain, row, axis, aimed, stale) {
  const none = html`<td>…</td>`;
  const { damage, kl } = row ?? {};
  return html`<tr class=${aimed ? "aim" : ""} data-tokens=${stale ? 0 : (row?.tokens ?? 0)}>
    <th scope="row">${domainName(domain)} <button class="aimer" aria-pressed=${aimed} @click=${() => settle({ aim: domain })}>${aimed ? "aim" : "aim at"}<span class="unseen"> ${domainName(domain)}</span></button></th>
    ${damage ? html`<td>${damage.base.toFixed(3)}</td><td>${damage.edited.toFixed(3)}</td>
      <td data-domain=${domain}>${signed(damage.rise)}${damage.high === null ? "" : ` ± ${(damage.high - damage.rise).toFixed(3)}`}</td>
      <td>${riseBar(damage, axis, aimed)}</td>` : [none, none, none, none]}
    ${kl ? html`<td>${fixed(kl.mean)}</td><td>${fixed(kl.p99, 2)}</td><td>${fixed(kl.largest, 2)}</td>` : damage ? html`<td>–</td><td>–</td><td>–</td>` : [none, none, none]}</tr>`;
}

function kept() {
  const gone = journal.value.undone.length;
  return html`<form class="filters" @submit=${filled(async (form) => {
      const title = field(form, "title");
      if (await keep(title.value)) title.value = "";
    })}>
    <label>name <input name="title" maxlength="300" placeholder="less German"></label>
    <button ?disabled=${!Object.keys(turned()).length}>keep as an edit</button>
    <button type="button" ?disabled=${!canUndo.value} @click=${undo}>undo</button>
    <button type="button" ?disabled=${!canRedo.value} @click=${redo}>redo</button>
    <a href=${link("edits")}>${journal.value.entries.length - gone} kept${gone ? `, ${gone} undone` : ""}</a>
  </form>`;
}

/** @param {HTMLFormElement} form */
async function speak(form) {
  text = field(form, "prompt").value;
  chat = field(form, "chat").checked;
  const scales = turned();
  said.value = { before: null, after: null, of: scaled(scales), state: "generating…", error: "" };
  try {
    await follow("/api/generate", { prompt: text, scales, chat, client }, (kind, data) => {
      if (kind === "partial") said.value = { ...said.value, [data.side]: data };
      if (kind === "failed") said.value = { ...said.value, error: data };
      if (kind === "done") said.value = { ...said.value, state: "" };
    });
  } catch (error) {
    said.value = { ...said.value, error: why(error) };
  }
  if (said.value.error) said.value = { ...said.value, state: "" };
}

function spoken() {
  const { before, after, of, state, error } = said.value;
  /** @param {string} title @param {Api.Side | null} one */
  const pane = (title, one) => html`<div class="pane"><h3>${title}</h3><p class="continuation">${one ? html`<span class="evidence">${one.prompt}</span>${one.text}` : "–"}</p>${one?.note ? html`<p class="evidence">${one.note}</p>` : nothing}</div>`;
  return html`<section><h2>What it says</h2>
    <form class="filters" @submit=${filled(speak)}><label>prompt <input name="prompt" .value=${text} size="50"></label>
      <label class="check"><input type="checkbox" name="chat" .checked=${chat}> in the chat template</label><button>continue, greedy</button></form>
    <p role="status">${error ? html`<span class="error">${error}</span>` : state}</p>
    <div class="pair">${pane("before", before)}${pane(of ? `with ${of}` : "with the dials", after)}</div></section>`;
}
