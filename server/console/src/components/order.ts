// The order of cells in a sorted grid.
import type { Cell } from "../api/types";
import { cellText, type Kind } from "../sqlTypes";

const isWhole = (text: string) => /^-?\d{16,}$/.test(text);

function compareNumbers(left: Cell, right: Cell): number {
  if (typeof left === "string" && typeof right === "string" && isWhole(left) && isWhole(right)) {
    const [a, b] = [BigInt(left), BigInt(right)];
    return a < b ? -1 : a > b ? 1 : 0;
  }
  const [a, b] = [Number(left), Number(right)];
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return a - b;
}

const collator = new Intl.Collator("en", { numeric: true });

/** The indexes of `rows` sorted by one column; NULL is last in both directions, equal cells keep their order. */
export function sortedIndexes(rows: Cell[][], column: number, kind: Kind, descending: boolean): Uint32Array {
  const indexes = Uint32Array.from(rows, (_, i) => i);
  const sign = descending ? -1 : 1;
  const cell = (i: number): Cell => rows[i]?.[column] ?? null;
  const compare =
    kind === "number"
      ? compareNumbers
      : kind === "time"
        ? // ISO texts have one length but for the fraction: their order is that of time up to there.
          (a: Cell, b: Cell) => (a === b ? 0 : String(a).replace("Z", "") < String(b).replace("Z", "") ? -1 : 1)
        : (a: Cell, b: Cell) => collator.compare(cellText(a), cellText(b));
  return indexes.sort((i, j) => {
    const [a, b] = [cell(i), cell(j)];
    if (a === null || b === null) return a === b ? i - j : a === null ? 1 : -1;
    return sign * compare(a, b) || i - j;
  });
}

const separators = /[\t\n\r"]/;

/** Cells as TSV, as spreadsheets read it. */
export function asTsv(rows: Iterable<Cell[]>, head?: string[]): string {
  const field = (text: string) => (separators.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = head ? [head.map(field).join("\t")] : [];
  for (const row of rows) lines.push(row.map((cell) => (cell === null ? "" : field(cellText(cell)))).join("\t"));
  return lines.join("\n");
}
