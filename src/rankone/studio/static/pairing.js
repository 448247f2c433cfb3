// Two texts beside each other: which token of the one stands where which of the other does.

// More than a text has tokens (the server's bound on prompts).
const CHANGE = 1 << 15;

/**
 * For every token of a text the place of its counterpart in the other, -1 for none. By the fewest changes that make the one text of
 * the other (Levenshtein's distance, a changed, a new and a lost token counting one each); of as few, with the most equal tokens.
 * @param {string[]} a @param {string[]} b
 */
export function paired(a, b) {
  let start = 0, end = 0;
  const least = Math.min(a.length, b.length);
  while (start < least && a[start] === b[start]) start++;
  while (end < least - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const rows = a.length - start - end, width = b.length - start - end + 1;
  // steps[i * width + j]: changes that the ends of both from i and j on take, times CHANGE, less their equal tokens.
  const steps = new Int32Array((rows + 1) * width);
  for (let i = rows; i >= 0; i--)
    for (let j = width - 1; j >= 0; j--) {
      const at = i * width + j;
      if (i === rows || j === width - 1) steps[at] = CHANGE * (rows - i + (width - 1 - j));
      else if (a[start + i] === b[start + j]) steps[at] = steps[at + width + 1] - 1;
      else steps[at] = CHANGE + Math.min(steps[at + width + 1], steps[at + width], steps[at + 1]);
    }
  const of = a.map((_, i) => (i < start ? i : i >= a.length - end ? i + b.length - a.length : -1));
  for (let i = 0, j = 0; i < rows && j < width - 1; ) {
    const at = i * width + j, equal = a[start + i] === b[start + j];
    if (equal || steps[at] === CHANGE + steps[at + width + 1]) of[start + i++] = start + j++;
    else if (steps[at] === CHANGE + steps[at + width]) i++;
    else j++;
  }
  return of;
}

/**
 * Both texts as one row of columns in the order of reading: pairs of places, -1 where a text has none.
 * @param {number[]} of @param {number} length of the other text @returns {[here: number, there: number][]}
 */
export function together(of, length) {
  /** @type {[number, number][]} */
  const columns = [];
  let next = 0;
  of.forEach((there, here) => {
    while (next < there) columns.push([-1, next++]);
    columns.push([here, there]);
    if (there >= 0) next = there + 1;
  });
  while (next < length) columns.push([-1, next++]);
  return columns;
}
