// Text that others wrote, made inert as it comes in: what hides, or turns the reading around, is shown by a sign or a code.

const SIGNS = /** @type {Record<string, string>} */ ({ "\n": "↵", "\t": "⇥" });
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

/** As `visible` of the package has it. @param {string} text */
export const inert = (text) =>
  text.replace(HIDDEN, (char) => {
    const code = /** @type {number} */ (char.codePointAt(0)), hex = code.toString(16);
    return SIGNS[char] ?? (code < 0x100 ? `\\x${hex.padStart(2, "0")}` : `\\u{${hex.padStart(4, "0")}}`);
  });

/** What JSON says, every text and name in it inert. @param {string} said @returns {any} what the server sends is as Api says; a test holds it to that */
export const parsed = (said) => (said.search(HIDDEN) < 0 && !/\\[ubfnrt]/.test(said) ? JSON.parse(said) : JSON.parse(said, (_, value) => shown(value)));

/** @param {unknown} value */
function shown(value) {
  if (typeof value === "string") return inert(value);
  if (!value || typeof value !== "object" || Array.isArray(value) || !Object.keys(value).some((key) => key.search(HIDDEN) >= 0)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [inert(key), one]));
}
