// Numbers and names as people read them.

/** @param {number} value @param {number} [digits] */
export const signed = (value, digits = 3) =>
  (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);

/** @param {number} share */
export const percent = (share) =>
  share === 0 ? "0" : share < 0.0001 ? "<0.01%" : `${(100 * share).toFixed(2)}%`;

/** @param {number} value */
export const short = (value) => (value === 0 ? "0" : value.toPrecision(3).replace(/\.?0+$/, ""));

/** @param {number} alpha */
export const scale = (alpha) => (alpha < 0 ? "−" : "") + String(Math.abs(Math.round(alpha * 1000) / 1000));

/** @param {Record<string, number>} scales */
export const scaled = (scales) =>
  Object.entries(scales).map(([name, alpha]) => `${name} × ${scale(alpha)}`).join(", ") || "nothing";
