// JSON whose numbers JavaScript may not be able to hold as they are written (64-bit integers, 12.50).

// A text is taken in long runs: one step for each of its letters would exhaust the stack.
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
// Anything that could be such a number: many digits, a fraction, an exponent. May match inside of texts, which only costs time.
const SUSPECT = /\d{16}|\d\.\d|\d[eE][+-]?\d/;

const isExact = (part: string) => part.charCodeAt(0) === 34 || String(Number(part)) === part;

/** Parses JSON; a number that would not print as it was written becomes a text with exactly its digits. */
export function parseExactly(text: string): unknown {
  if (!SUSPECT.test(text)) return JSON.parse(text);
  return JSON.parse(text.replace(TOKEN, (part) => (isExact(part) ? part : `"${part}"`)));
}

const ROWS = '"rows":[';

/** The beginning of an answer, closed behind its last row that is whole; null if there is none. */
export function wholeRows(text: string): string | null {
  // Names of columns are texts, in which the quotes would be escaped.
  const from = text.indexOf(ROWS) + ROWS.length;
  if (from < ROWS.length) return null;
  let [depth, count, end, inText] = [0, 0, -1, false];
  for (let i = from; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (inText) {
      if (char === 92) i += 1;
      else if (char === 34) inText = false;
    } else if (char === 34) inText = true;
    else if (char === 91 || char === 123) depth += 1;
    else if (char === 93 || char === 125) {
      depth -= 1;
      if (depth < 0) break;
      if (depth === 0) [count, end] = [count + 1, i + 1];
    }
  }
  return end < 0 ? null : `${text.slice(0, end)}],"row_count":${count},"cut":{}}`;
}
