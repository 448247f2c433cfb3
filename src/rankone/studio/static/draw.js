// Small drawings from tables: bars on a shared axis, curves, strips of shares. Every mark has its number as text beside it.
import { html, svg } from "/static/vendor/lit-html.js";
import { domainName } from "/static/listed.js";
import { percent, scale, signed } from "/static/words.js";

/** @typedef {{ low: number, high: number }} Axis */

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

/** Rises by domain as α moves. @param {Api.ResponsePoint[]} points */
export function curves(points) {
  const domains = Object.keys(points[0].rises).filter((domain) => points.every((point) => domain in point.rises));
  /** @param {number} alpha */
  const place = (alpha) => Math.sign(alpha - 1) * Math.log2(1 + Math.abs(alpha - 1));
  const xs = points.map((point) => place(point.alpha));
  const ys = points.flatMap((point) => Object.values(point.rises));
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(0, ...ys), Math.max(0.1, ...ys)];
  /** @param {number} value */
  const x = (value) => 110 + (480 * (value - left)) / (right - left || 1);
  /** @param {number} value */
  const y = (value) => 210 - (190 * (value - low)) / (high - low);
  const last = points[0];
  return html`<figure class="curves">
    <svg viewBox="0 0 640 250" role="img" aria-label="rise of cross-entropy by domain as the scale moves; the table below has the numbers">
      <line x1="110" x2="590" y1=${y(0)} y2=${y(0)} class="axis"></line>
      ${points.map((p) => svg`<text x=${x(place(p.alpha))} y="232" text-anchor="middle">${scale(p.alpha)}</text>`)}
      <text x="350" y="247" text-anchor="middle">scale α</text>
      ${[low, high].map((v) => svg`<text x="596" y=${y(v) + 4}>${Math.abs(v) < 0.05 ? "0" : signed(v, 1)}</text>`)}
      ${domains.map((domain, i) => {
        const path = points.map((p) => `${x(place(p.alpha)).toFixed(1)},${y(p.rises[domain]).toFixed(1)}`).join(" ");
        return svg`<polyline points=${path} class=${`line c${i % 8}`}></polyline>`;
      })}
      ${endLabels(domains, last, y).map(([domain, at, i]) => svg`<text x="104" y=${at} text-anchor="end" class=${`t${i % 8}`}>${domainName(domain)}</text>`)}
    </svg>
    <div class="wide"><table class="numbers">
      <caption>rise, nats per token, of 128 validation tokens per domain</caption>
      <thead><tr><th scope="col">α</th>${domains.map((d) => html`<th scope="col">${domainName(d)}</th>`)}</tr></thead>
      <tbody>${points.map((p) => html`<tr><th scope="row">${scale(p.alpha)}</th>${domains.map((d) => html`<td>${signed(p.rises[d], 2)}</td>`)}</tr>`)}</tbody>
    </table></div>
  </figure>`;
}

/** Names beside the left-most values, moved apart. @param {string[]} domains @param {Api.ResponsePoint} point @param {(value: number) => number} y */
function endLabels(domains, point, y) {
  const wanted = domains.map((domain, i) => /** @type {[string, number, number]} */ ([domain, y(point.rises[domain]) + 4, i])).sort((a, b) => a[1] - b[1]);
  for (let i = 1; i < wanted.length; i++) wanted[i][1] = Math.max(wanted[i][1], wanted[i - 1][1] + 13);
  const over = Math.max(0, (wanted.at(-1)?.[1] ?? 0) - 216);
  for (let i = wanted.length - 1, most = 216; over && i >= 0; i--, most -= 13) wanted[i][1] = Math.min(wanted[i][1], most);
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
