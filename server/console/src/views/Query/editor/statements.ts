// Where the statements of a text begin and end. It knows just enough of SQL to see which semicolons divide.

export interface Span {
  from: number;
  to: number;
}

/** The end of what starts at `at`, if that is a quoted text or a comment; `at` itself if it is neither. */
function skip(text: string, at: number): number {
  const two = text.slice(at, at + 2);
  if (two === "--") {
    const end = text.indexOf("\n", at);
    return end < 0 ? text.length : end;
  }
  if (two === "/*") {
    const end = text.indexOf("*/", at + 2);
    return end < 0 ? text.length : end + 2;
  }
  const quote = text[at];
  if (quote !== "'" && quote !== '"') return at;
  let next = at + 1;
  // A quote that is doubled is a part of the text.
  while (next < text.length) {
    if (text[next] !== quote) next += 1;
    else if (text[next + 1] === quote) next += 2;
    else return next + 1;
  }
  return text.length;
}

/** The statements of a text, without the semicolons and without what is blank around them. */
export function statements(text: string): Span[] {
  const found: Span[] = [];
  let from = 0;
  const add = (to: number) => {
    const part = text.slice(from, to);
    const lead = part.length - part.trimStart().length;
    if (part.trim() !== "") found.push({ from: from + lead, to: from + part.trimEnd().length });
    from = to + 1;
  };
  let at = 0;
  while (at < text.length) {
    const after = skip(text, at);
    if (after > at) at = after;
    else {
      if (text[at] === ";") add(at);
      at += 1;
    }
  }
  add(text.length);
  return found;
}

/** The statement that a cursor is in or at the end of; between two, the one before it. */
export function statementAt(text: string, cursor: number): Span | null {
  const all = statements(text);
  return all.find(({ from, to }) => from <= cursor && cursor <= to) ?? all.filter(({ to }) => to < cursor).at(-1) ?? all[0] ?? null;
}

/** The offset of a position (both from 1) in a text. Columns count characters, of which some take two places of a text. */
export function offsetOf(text: string, line: number, column: number): number {
  let start = 0;
  for (let i = 1; i < line; i++) {
    const end = text.indexOf("\n", start);
    if (end < 0) return text.length;
    start = end + 1;
  }
  let at = start;
  for (let i = 1; i < column && at < text.length; i++) at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
  return at;
}

/** The position (both from 1) of an offset in a text. */
export function positionOf(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset).split("\n");
  return { line: before.length, column: [...(before.at(-1) ?? "")].length + 1 };
}

/** The word at an offset: what an error there is about. */
export function wordAt(text: string, at: number): Span {
  const word = /^(?:"(?:[^"]|"")*"|[\p{L}\p{N}_$]+(?:\.[\p{L}\p{N}_$]+)*|\S)/u.exec(text.slice(at));
  if (word) return { from: at, to: at + word[0].length };
  return { from: Math.max(0, Math.min(at, text.length) - 1), to: Math.min(text.length, at) };
}

export interface Source {
  /** As written, without quotes; with its schema if that is there. */
  table: string;
  alias: string;
}

const AFTER_TABLE = new Set("where group order limit having join inner left right full cross on using union except intersect qualify window natural offset fetch lateral tablesample".split(" "));

/** The tables that a statement reads, as far as FROM and JOIN say so, also while it is half written. */
export function sources(statement: string): Source[] {
  const name = '(?:"(?:[^"]|"")*"|[\\p{L}_][\\p{L}\\p{N}_$]*)';
  const pattern = new RegExp(`\\b(?:from|join)\\s+(${name}(?:\\.${name})?)(?:\\s+(?:as\\s+)?(${name}))?`, "giu");
  const more = new RegExp(`^\\s*,\\s*(${name}(?:\\.${name})?)(?:\\s+(?:as\\s+)?(${name}))?`, "iu");
  const bare = (text: string) => text.replaceAll(/"((?:[^"]|"")*)"/g, "$1");
  const found: Source[] = [];
  const add = (table: string, alias?: string) => {
    const plain = bare(table);
    const usable = alias && !AFTER_TABLE.has(alias.toLowerCase()) ? bare(alias) : (plain.split(".").at(-1) ?? plain);
    found.push({ table: plain, alias: usable });
  };
  for (const hit of statement.matchAll(pattern)) {
    add(hit[1] ?? "", hit[2]);
    let rest = statement.slice((hit.index ?? 0) + hit[0].length);
    for (let next = more.exec(rest); next; next = more.exec(rest)) {
      add(next[1] ?? "", next[2]);
      rest = rest.slice(next[0].length);
    }
  }
  return found;
}
