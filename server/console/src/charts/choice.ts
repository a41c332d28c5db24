// Which chart fits an answer, from the types of its columns and the number of its rows.
import type { Answer, Column } from "../api/types";
import type { Option } from "../components/Field";
import { kindOf } from "../sqlTypes";

export type ChartKind = "line" | "bar" | "area" | "scatter" | "number";

export const CHART_KINDS: Option<ChartKind>[] = [
  { value: "line", label: "Lines" },
  { value: "area", label: "Areas" },
  { value: "bar", label: "Bars" },
  { value: "scatter", label: "Points" },
  { value: "number", label: "Big number" },
];

export const isChartKind = (text: string): text is ChartKind => CHART_KINDS.some(({ value }) => value === text);

/** Columns are named; null means none. */
export interface ChartChoice {
  kind: ChartKind;
  x: string | null;
  y: string[];
  by: string | null;
}

const looksLikeId = (name: string) => /(^|_)(id|offset|partition)$/i.test(name);
const VALUES_MAX = 4;

/** A sensible chart: a time makes a line, a text and a number bars, one row of numbers a big number, two numbers points. */
export function defaultChoice({ columns, rows }: Pick<Answer, "columns" | "rows">): ChartChoice | null {
  const named = (wanted: string) => columns.filter((column) => kindOf(column.type) === wanted).map((column) => column.name);
  const numbers = named("number");
  const values = numbers.filter((name) => !looksLikeId(name));
  const [times, texts] = [named("time"), [...named("text"), ...named("boolean")]];
  if (numbers.length === 0 || rows.length === 0) return null;
  const [first] = values.length > 0 ? values : numbers;
  if (first === undefined) return null;
  if (rows.length === 1) return { kind: "number", x: null, y: values.length > 0 ? values.slice(0, VALUES_MAX) : [first], by: null };
  if (times[0] !== undefined) {
    const by = texts[0] ?? null;
    return { kind: "line", x: times[0], y: by === null ? values.slice(0, VALUES_MAX).concat(values.length === 0 ? first : []) : [first], by };
  }
  if (texts[0] !== undefined) {
    // Of two texts the one with more values stands on the axis, the other one has the colours.
    const distinct = (name: string) => new Set(rows.map((row) => row[columns.findIndex((column) => column.name === name)])).size;
    const [x, by] = texts[1] !== undefined && distinct(texts[1]) > distinct(texts[0]) ? [texts[1], texts[0]] : [texts[0], texts[1] ?? null];
    return { kind: "bar", x, y: [first], by };
  }
  const [x, y] = numbers;
  if (x !== undefined && y !== undefined) return { kind: "scatter", x, y: [y], by: null };
  return { kind: "bar", x: null, y: [first], by: null };
}

/** A choice for other columns than it was made for: what still fits stays. */
export function fittingChoice(choice: ChartChoice, answer: Pick<Answer, "columns" | "rows">): ChartChoice | null {
  const has = (name: string | null) => name !== null && answer.columns.some((column) => column.name === name);
  const y = choice.y.filter(has);
  const fits = y.length > 0 && (choice.x === null || has(choice.x));
  return fits ? { ...choice, y, by: has(choice.by) ? choice.by : null } : defaultChoice(answer);
}

/** What may stand on the x axis of a kind. */
export const xColumns = (columns: Column[], kind: ChartKind): Column[] => columns.filter((column) => kindOf(column.type) !== "other" && (kind !== "scatter" || ["number", "time"].includes(kindOf(column.type))));
