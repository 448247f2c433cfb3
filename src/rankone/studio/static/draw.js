// Small drawings from tables: bars on a shared axis, curves, strips of shares. Every mark has its number as text beside it.
import { signal } from "/static/vendor/signals-core.js";
import { html, nothing, svg } from "/static/vendor/lit-html.js";
import { domainName } from "/static/listed.js";
import { percent, scale, signed } from "/static/words.js";

/** @typedef {{ low: number, high: number }} Axis */

// As layout.css draws the line.
const narrow = matchMedia("(max-width: 760px)");
/** Whether the screen is a phone's. */
export const slim = signal(narrow.matches);
narrow.addEventListener("change", () => (slim.value = narrow.matches));

/** A rise with its interval on an axis. @param {Api.DomainDamage} damage @param {Axis} axis @param {boolean} aimed */
export function riseBar({ rise, low, high }, axis, aimed) {
  /** @param {number} value */
  const x = (value) => (200 * (Math.min(Math.max(value, axis.low), axis.high) - axis.low)) / (axis.high - axis.low);
  const zero = x(0);
  return html`<svg class="rise" viewBox="0 0 200 16" preserveAspectRatio="none" role="img" aria-label=${`rise ${signed(rise)}`}>
    <line x1=${zero} x2=${zero} y1="0" y2="16" class="axis"></line>
    <rect x=${Math.min(zero, x(rise))} width=${Math.max(1, Math.abs(x(rise) - zero))} y="4" height="8" class=${aimed ? "aimed" : "other"}></rect>
    ${low === null || high === null ? "" : svg`<line x1=${x(low)} x2=${x(high)} y1="8" y2="8" class="whisker"></line>`}
  </svg>`;
}

/** The axis that all rises of a table share. @param {Api.DomainDamage[]} rows */
export function axisOf(rows) {
  const values = rows.flatMap((row) => [row.rise, row.low ?? row.rise, row.high ?? row.rise, 0]);
  return { low: Math.min(-0.05, ...values), high: Math.max(0.05, ...values) };
}

/** Shares by domain as bars, the largest as high as the row. @param {number[]} shares @param {string[]} domains */
export function strip(shares, domains) {
  const most = Math.max(...shares, 1e-9);
  const said = domains.map((d, i) => `${domainName(d)} ${percent(shares[i])}`).join(", ");
  const bars = shares.map((share, i) => `M${i * 12 + 1} 14v${(-13 * share / most - (share > 0 ? 1 : 0)).toFixed(1)}h10V14z`).join("");
  return html`<svg class="strip" viewBox=${`0 0 ${domains.length * 12} 14`} preserveAspectRatio="none" role="img" aria-label=${said}><path d=${bars}></path><path class="floor" d=${`M0 14H${domains.length * 12}`}></path></svg>`;
}

/** Round values over a range, some five of them. @param {number} low @param {number} high */
export function ticks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((times) => times * power >= rough) ?? 10);
  const first = Math.ceil(low / step - 1e-9), count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => ({ value: (first + i) * step, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) }));
}

// Where curves begin and end from above, and how near two figures below them may stand.
const [TOP, BOTTOM, APART] = [28, 226, 27];
/** Scales that stand for something, and for what. @type {Record<number, string>} */
const MARKED = { 0: "deleted", 1: "as it is" };

/** Rises by domain as α moves, all on one axis. @param {Api.ResponsePoint[]} points */
export function curves(points) {
  const domains = Object.keys(points[0].rises).filter((domain) => points.every((point) => domain in point.rises));
  /** @param {number} alpha */
  const place = (alpha) => Math.sign(alpha - 1) * Math.log2(1 + Math.abs(alpha - 1));
  const [width, LEFT, RIGHT] = slim.value ? [372, 70, 330] : [640, 112, 588];
  const xs = points.map((point) => place(point.alpha));
  const ys = points.flatMap((point) => Object.values(point.rises));
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(0, ...ys), Math.max(0.1, ...ys)];
  /** @param {number} alpha */
  const x = (alpha) => LEFT + ((RIGHT - LEFT) * (place(alpha) - left)) / (right - left || 1);
  /** @param {number} value */
  const y = (value) => BOTTOM - ((BOTTOM - TOP) * (value - low)) / (high - low);
  const said = spread(points.map(({ alpha }) => alpha), x);
  return html`<figure class="curves">
    <svg viewBox=${`0 0 ${width} 282`} class=${slim.value ? "slim" : nothing} role="img" aria-label="rise of cross-entropy by domain, in nats per token, as the scale moves; the table below has the numbers">
      <text x=${LEFT} y="14">rise of cross-entropy, nats per token</text>
      ${ticks(low, high).map(({ value, digits }) => svg`<line x1=${LEFT} x2=${RIGHT} y1=${y(value)} y2=${y(value)} class=${value ? "grid" : "axis"}></line><text x=${RIGHT + 6} y=${y(value) + 4}>${value ? signed(value, digits) : "0"}</text>`)}
      ${points.map(({ alpha }) => svg`<line x1=${x(alpha)} x2=${x(alpha)} y1=${alpha in MARKED ? TOP : BOTTOM} y2=${BOTTOM + 5} class=${alpha in MARKED ? "mark" : "axis"}></line>`)}
      ${said.map((alpha) => svg`<text x=${x(alpha)} y=${BOTTOM + 18} text-anchor="middle" class=${alpha in MARKED ? "marked" : nothing}>${scale(alpha)}</text>`)}
      ${said.filter((alpha) => alpha in MARKED).map((alpha) => svg`<text x=${x(alpha) + (alpha ? -8 : 8)} y=${BOTTOM + 33} text-anchor=${alpha ? "start" : "end"}>${MARKED[alpha]}</text>`)}
      <text x=${(LEFT + RIGHT) / 2} y="277" text-anchor="middle">scale α</text>
      ${domains.map((domain, i) => svg`<polyline points=${points.map((p) => `${x(p.alpha).toFixed(1)},${y(p.rises[domain]).toFixed(1)}`).join(" ")} class=${`line c${i % 8}`}></polyline>`)}
      ${endLabels(domains, points[0], y).map(([domain, at, i]) => svg`<text x=${LEFT - 6} y=${at} text-anchor="end" class=${`t${i % 8}`}>${domainName(domain)}</text>`)}
    </svg>
    <div class="wide"><table class="numbers">
      <caption>rise, nats per token, of 128 validation tokens per domain</caption>
      <thead><tr><th scope="col">α</th>${domains.map((d) => html`<th scope="col">${domainName(d)}</th>`)}</tr></thead>
      <tbody>${points.map((p) => html`<tr><th scope="row">${scale(p.alpha)}</th>${domains.map((d) => html`<td>${signed(p.rises[d], 2)}</td>`)}</tr>`)}</tbody>
    </table></div>
  </figure>`;
}

/** Scales whose figures find room, those first that are marked. @param {number[]} alphas @param {(alpha: number) => number} x */
function spread(alphas, x) {
  const order = [...alphas].sort((a, b) => Number(b in MARKED) - Number(a in MARKED));
  return order.reduce((kept, alpha) => (kept.every((one) => Math.abs(x(one) - x(alpha)) >= APART) ? [...kept, alpha] : kept), /** @type {number[]} */ ([]));
}

/** Names beside the left-most values, moved apart. @param {string[]} domains @param {Api.ResponsePoint} point @param {(value: number) => number} y */
function endLabels(domains, point, y) {
  const wanted = domains.map((domain, i) => /** @type {[string, number, number]} */ ([domain, y(point.rises[domain]) + 4, i])).sort((a, b) => a[1] - b[1]);
  for (let i = 1; i < wanted.length; i++) wanted[i][1] = Math.max(wanted[i][1], wanted[i - 1][1] + 14);
  for (let i = wanted.length - 1, most = BOTTOM + 8; i >= 0 && wanted[i][1] > most; i--, most -= 14) wanted[i][1] = most;
  return wanted;
}

/** A metric over the steps, small; least and largest stand beside it. @param {number[]} steps @param {(number | null)[]} values @param {string} name */
export function trace(steps, values, name) {
  const told = values.flatMap((value, i) => (value === null ? [] : [/** @type {[number, number]} */ ([steps[i], value])]));
  if (told.length < 2) return "";
  const ys = told.map(([, y]) => y), low = Math.min(...ys), high = Math.max(...ys), first = told[0][0], last = told[told.length - 1][0];
  const points = told.map(([x, y]) => `${((298 * (x - first)) / (last - first || 1) + 1).toFixed(1)},${(39 - (38 * (y - low)) / (high - low || 1)).toFixed(1)}`);
  return html`<svg class="trace" viewBox="0 0 300 40" role="img" aria-label=${`${name} over ${told.length} steps`}><polyline class="line c1" points=${points.join(" ")}></polyline></svg>`;
}
