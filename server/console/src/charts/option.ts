// An answer and a choice as an ECharts option.
import type { Answer, Cell } from "../api/types";
import type { ChartOption } from "../components/Chart";
import { compact, timeText, ZONE } from "../format";
import { cellText, instantOf, kindOf } from "../sqlTypes";
import type { ChartChoice } from "./choice";

/** Times are those of the reader's zone, and what the pointer shows says so. */
export const TIME_AXIS = { type: "time", axisPointer: { label: { formatter: ({ value }: { value: unknown }) => `${timeText(Number(value))} ${ZONE}` } } } as const;

const SERIES_MAX = 20;
const CATEGORIES_MAX = 400;
const POINTS_LARGE = 3000;
/** So many bars beside each other are too thin to be read. */
const STACKED_FROM = 3;

type Point = [number | string, number | null];

export interface Drawn {
  option: ChartOption;
  /** What of the answer is not in the picture, in words. */
  left: string | null;
}

const numberOf = (value: Cell | undefined): number | null => {
  if (value === null || value === undefined || value === "") return null;
  const number = typeof value === "boolean" ? Number(value) : Number(value);
  return Number.isFinite(number) ? number : null;
};

interface Series {
  name: string;
  points: Point[];
  weight: number;
}

/** The points of each series, in the order of the answer. */
function collect(answer: Pick<Answer, "columns" | "rows">, choice: ChartChoice, xOf: (row: Cell[], i: number) => number | string): Series[] {
  const at = (name: string | null) => answer.columns.findIndex((column) => column.name === name);
  const by = at(choice.by);
  const made = new Map<string, Series>();
  for (const name of choice.y) {
    const y = at(name);
    if (y < 0) continue;
    for (const [i, row] of answer.rows.entries()) {
      const group = by < 0 ? name : choice.y.length > 1 ? `${cellText(row[by])} · ${name}` : cellText(row[by]);
      let series = made.get(group);
      if (!series) {
        series = { name: group, points: [], weight: 0 };
        made.set(group, series);
      }
      const value = numberOf(row[y]);
      series.points.push([xOf(row, i), value]);
      series.weight += Math.abs(value ?? 0);
    }
  }
  return [...made.values()];
}

/** Null if there is nothing to draw. */
export function chartOption(answer: Pick<Answer, "columns" | "rows">, choice: ChartChoice): Drawn | null {
  const xAt = answer.columns.findIndex((column) => column.name === choice.x);
  const xKind = xAt < 0 ? "text" : kindOf(answer.columns[xAt]?.type ?? "");
  const isTime = xKind === "time";
  const isValue = xKind === "number" && choice.kind !== "bar";
  const xOf = (row: Cell[], i: number): number | string => {
    if (xAt < 0) return String(i + 1);
    if (isTime) return instantOf(row[xAt]);
    return isValue ? (numberOf(row[xAt]) ?? Number.NaN) : cellText(row[xAt]);
  };
  let series = collect(answer, choice, xOf);
  if (series.length === 0) return null;
  const left: string[] = [];
  if (series.length > SERIES_MAX) {
    left.push(`the ${SERIES_MAX} largest of ${series.length} series`);
    series = series.toSorted((a, b) => b.weight - a.weight).slice(0, SERIES_MAX);
  }
  let categories: string[] | undefined;
  if (isTime || isValue) {
    for (const one of series) one.points = one.points.filter(([x]) => !Number.isNaN(x)).sort((a, b) => Number(a[0]) - Number(b[0]));
  } else {
    const all = [...new Set(series.flatMap((one) => one.points.map(([x]) => String(x))))];
    if (all.length > CATEGORIES_MAX) left.push(`the first ${CATEGORIES_MAX} of ${all.length.toLocaleString("en-US")} values`);
    categories = all.slice(0, CATEGORIES_MAX);
    const kept = new Set(categories);
    for (const one of series) one.points = one.points.filter(([x]) => kept.has(String(x)));
  }
  return { option: option(series, choice, { isTime, categories, xName: choice.kind === "scatter" ? (choice.x ?? "") : "" }), left: left.length > 0 ? `Drawn: ${left.join(", ")}.` : null };
}

function option(series: Series[], choice: ChartChoice, axis: { isTime: boolean; categories: string[] | undefined; xName: string }): ChartOption {
  const { kind } = choice;
  const many = series.length > 1;
  const points = Math.max(...series.map((one) => one.points.length));
  const long = axis.categories?.some((name) => name.length > 12) && (axis.categories?.length ?? 0) > 6;
  return {
    grid: { left: 8, right: 20, top: many ? 38 : 20, bottom: axis.xName ? 26 : 8, containLabel: true },
    legend: many ? { show: true, type: "scroll", top: 4, left: 8, right: 8 } : undefined,
    tooltip: { show: true, trigger: kind === "scatter" ? "item" : "axis", axisPointer: { type: kind === "bar" ? "shadow" : "line" }, valueFormatter: (value: unknown) => compact(value as number) },
    xAxis: axis.categories
      ? { type: "category", data: axis.categories, boundaryGap: kind === "bar", axisLabel: { rotate: long ? 30 : 0, width: 120, overflow: "truncate" } }
      : { ...(axis.isTime ? TIME_AXIS : { type: "value" }), scale: true, name: axis.xName, nameLocation: "middle", nameGap: 28 },
    yAxis: { type: "value", scale: kind === "scatter" || kind === "line", name: kind === "scatter" ? (choice.y[0] ?? "") : "", nameTextStyle: { align: "left" }, axisLabel: { formatter: (value: number) => compact(value) } },
    series: series.map((one) => ({
      id: one.name,
      name: one.name,
      type: kind === "bar" ? "bar" : kind === "scatter" ? "scatter" : "line",
      data: one.points,
      showSymbol: points <= 40,
      symbolSize: kind === "scatter" ? 6 : 4,
      lineStyle: { width: 1.8 },
      areaStyle: kind === "area" ? { opacity: 0.22 } : undefined,
      stack: (kind === "area" && many) || (kind === "bar" && series.length > STACKED_FROM) ? "all" : undefined,
      barMaxWidth: 42,
      itemStyle: kind === "bar" ? { borderRadius: series.length > STACKED_FROM ? 0 : [2, 2, 0, 0] } : kind === "scatter" ? { opacity: 0.7 } : undefined,
      large: points > POINTS_LARGE,
      sampling: kind === "line" || kind === "area" ? "lttb" : undefined,
    })),
  };
}
