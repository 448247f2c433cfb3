// Numbers and names as people read them.

/** With its sign; a rounded zero has none. @param {number} value @param {number} [digits] */
export const signed = (value, digits = 3) => {
  const size = Math.abs(value).toFixed(digits);
  return (Number(size) === 0 ? "" : value < 0 ? "−" : "+") + size;
};

/** What a value says, a dash for one that is not there. @param {number | null} value @param {(value: number) => string} [said] */
export const known = (value, said = signed) => (value === null ? "–" : said(value));

/** Without a plus; a rounded zero has no sign. @param {number} value @param {number} [digits] */
export const fixed = (value, digits = 3) => signed(value, digits).replace("+", "");

/** The number that was typed, with a point or a comma before its decimals; NaN for what may be another. @param {string} typed */
export const typedNumber = (typed) => {
  const said = typed.trim().replace("−", "-");
  return /^[+-]?(\d+([.]\d*)?|[.]\d+)(e[+-]?\d+)?$/i.test(said) ? Number(said) : /^[+-]?\d*,(\d{1,2}|\d{4,})$/.test(said) ? Number(said.replace(",", ".")) : NaN;
};

/** How much a file takes. @param {number} bytes */
export const weight = (bytes) => (bytes < 1e3 ? `${bytes} B` : bytes < 1e5 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/** Three digits, which is what the list holds. @param {number} share */
export const percent = (share) =>
  share === 0 ? "0" : share < 0.0001 ? "<0.01%" : `${(100 * share).toFixed(share < 0.0995 ? 2 : 1)}%`;

/** Three digits, no zeros after the last that says something. @param {number} value */
export const short = (value) => {
  const size = Math.abs(value);
  if (size >= 1000 && size < 1e6) return (value < 0 ? "−" : "") + Math.round(size).toLocaleString("en");
  const said = size === 0 ? "0" : size.toPrecision(3).replace(/(\.\d*?)0+(?=e|$)/, "$1").replace(/\.(?=e|$)/, "").replace("e-", "e−").replace("e+", "e");
  return (value < 0 ? "−" : "") + said;
};

/** @param {number} alpha */
export const scale = (alpha) => {
  const rounded = Math.round(alpha * 1000) / 1000;
  return (rounded < 0 ? "−" : "") + String(Math.abs(rounded));
};

/** Each part with its scale. @param {Record<string, number>} scales */
export const turns = (scales) => {
  const pairs = Object.entries(scales);
  return pairs.length ? pairs.map(([name, alpha]) => `${name} × ${scale(alpha)}`) : ["nothing"];
};

/** @param {Record<string, number>} scales */
export const scaled = (scales) => turns(scales).join(", ");
