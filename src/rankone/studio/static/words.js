// Numbers and names as people read them.

/** With its sign; a rounded zero has none. @param {number} value @param {number} [digits] */
export const signed = (value, digits = 3) => {
  const size = Math.abs(value).toFixed(digits);
  return (Number(size) === 0 ? "" : value < 0 ? "−" : "+") + size;
};

/** How much a file takes. @param {number} bytes */
export const weight = (bytes) => (bytes < 1e3 ? `${bytes} B` : bytes < 1e5 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/** @param {number} share */
export const percent = (share) =>
  share === 0 ? "0" : share < 0.0001 ? "<0.01%" : `${(100 * share).toFixed(2)}%`;

/** Three digits, no zeros after the last that says something. @param {number} value */
export const short = (value) => {
  const size = Math.abs(value);
  if (size >= 1000 && size < 1e6) return (value < 0 ? "−" : "") + Math.round(size).toLocaleString("en");
  const said = size === 0 ? "0" : size.toPrecision(3).replace(/(\.\d*?)0+(?=e|$)/, "$1").replace(/\.(?=e|$)/, "").replace("e-", "e−").replace("e+", "e");
  return (value < 0 ? "−" : "") + said;
};

/** @param {number} alpha */
export const scale = (alpha) => (alpha < 0 ? "−" : "") + String(Math.abs(Math.round(alpha * 1000) / 1000));

/** @param {Record<string, number>} scales */
export const scaled = (scales) =>
  Object.entries(scales).map(([name, alpha]) => `${name} × ${scale(alpha)}`).join(", ") || "nothing";
