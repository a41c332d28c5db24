// What the types of an answer's columns mean for alignment, order and charts.
import type { Cell, Column } from "./api/types";

export type Kind = "number" | "time" | "text" | "boolean" | "other";

export function kindOf(type: string): Kind {
  if (/^(ARRAY|MAP|STRUCT)/i.test(type)) return "other";
  if (/^(UNSIGNED )?(TINY|SMALL|BIG)?(INT|INTEGER|LONG|SHORT|BYTE)\b|^(HALF )?(FLOAT|DOUBLE|REAL|DECIMAL)\b/i.test(type)) return "number";
  if (/^(TIMESTAMP|DATE)/i.test(type)) return "time";
  if (/^BOOL/i.test(type)) return "boolean";
  if (/^(STRING|UUID|TIME|INTERVAL|JSON)/i.test(type)) return "text";
  return "other";
}

export const isNumber = (column: Column) => kindOf(column.type) === "number";

/** A cell as text, as it is shown and copied. */
export function cellText(value: Cell | undefined): string {
  if (value === null || value === undefined) return "NULL";
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

/** Milliseconds since 1970 of a time cell; NaN if it is none. Texts without a zone are UTC, as the server means them. */
export function instantOf(value: Cell | undefined): number {
  if (typeof value === "number") return value;
  if (typeof value !== "string") return Number.NaN;
  return Date.parse(/[Zz]$|[+-]\d\d:?\d\d$|^\d{4}-\d\d-\d\d$/.test(value) ? value : `${value}Z`);
}
