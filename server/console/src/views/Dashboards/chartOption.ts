// From a panel's answer to what ECharts draws. Pure, so that it is tested without a browser.
import { TIME_AXIS } from "../../charts/option";
import type { ChartOption } from "../../components/Chart";
import type { Cell, Column } from "../../api/types";
import type { Panel } from "../../dashboards/model";
import { rolesOf } from "../../dashboards/roles";
import { compact } from "../../format";
import { cellText, instantOf, isNumber, kindOf } from "../../sqlTypes";

export const SERIES_MAX = 30;
/** Names of series whose colours are remembered. */
export const NAMES_MAX = 500;
const POINTS_WITH_MARKS = 40;
const POINTS_SAMPLED = 2_000;

interface Series {
  name: string;
  points: Map<string | number, number | null>;
}

const numeric = (cell: Cell | undefined): number | null => {
  if (cell === null || cell === undefined || cell === "") return null;
  const number = Number(cell);
  return Number.isFinite(number) ? number : null;
};

export interface Drawn {
  option: ChartOption;
  /** What is not drawn, and why. */
  note?: string;
}

/** Which colour of the palette each series has, by its name. */
export type Paints = Map<string, number>;

/** Gives those their colours that have none yet; of too many names those are forgotten that are not drawn. */
function paintAll(names: string[], paints: Paints): void {
  let next = 1 + Math.max(-1, ...paints.values());
  for (const name of names) if (!paints.has(name)) paints.set(name, next++);
  if (paints.size <= NAMES_MAX) return;
  const present = new Set(names);
  for (const name of [...paints.keys()]) if (!present.has(name)) paints.delete(name);
}

/** The step of times that lie on a grid, as those of a GROUP BY date_trunc(…) do; null if they do not. */
function stepOf(times: number[]): number | null {
  const steps = times.slice(1).map((time, i) => time - (times[i] ?? time));
  const least = Math.min(...steps);
  const onGrid = steps.filter((step) => step === least).length;
  return steps.length >= 4 && least > 0 && onGrid * 3 >= steps.length ? least : null;
}

/** The times with those before and after each gap, where nothing was counted: a line over it would show what was never there. */
export function withGaps(times: number[]): number[] {
  const step = stepOf(times);
  if (step === null) return times;
  return times.flatMap((time, i) => {
    const next = times[i + 1];
    if (next === undefined || next - time < 2 * step) return [time];
    return next - time < 3 * step ? [time, time + step] : [time, time + step, next - step];
  });
}

/**
 * The option for a panel. `paints` remembers the series, so that each keeps its colour and its place from one answer to the next.
 */
export function chartOption(columns: Column[], rows: Cell[][], panel: Pick<Panel, "kind" | "x" | "y" | "by">, paints: Paints): Drawn | null {
  const roles = rolesOf(columns, panel);
  const xColumn = columns[roles.x];
  if (roles.y.length === 0 || (!xColumn && panel.kind !== "bar")) return null;
  const xKind = xColumn ? kindOf(xColumn.type) : "other";
  const isTime = xKind === "time";
  const isValue = xKind === "number" && panel.kind !== "bar";
  const xOf = (row: Cell[]): string | number => {
    const cell = roles.x < 0 ? "" : row[roles.x];
    if (isTime) return instantOf(cell);
    return isValue ? (numeric(cell) ?? Number.NaN) : cellText(cell);
  };

  const series = new Map<string, Series>();
  const xs = new Set<string | number>();
  for (const row of rows) {
    const x = xOf(row);
    if (typeof x === "number" && Number.isNaN(x)) continue;
    xs.add(x);
    for (const y of roles.y) {
      const name = roles.by < 0 ? (columns[y]?.name ?? "") : roles.y.length === 1 ? cellText(row[roles.by]) : `${cellText(row[roles.by])} · ${columns[y]?.name}`;
      let one = series.get(name);
      if (!one) {
        one = { name, points: new Map() };
        series.set(name, one);
      }
      one.points.set(x, numeric(row[y]));
    }
  }
  paintAll([...series.keys()].sort(), paints);
  const known = [...paints.keys()].flatMap((name) => series.get(name) ?? []);
  const shown = known.slice(0, SERIES_MAX);
  const sorted = isTime || isValue ? [...xs].sort((a, b) => Number(a) - Number(b)) : [...xs];
  const axis = isTime && (panel.kind === "line" || panel.kind === "area") ? withGaps(sorted.map(Number)) : sorted;
  // Areas lie on each other, so each needs a value wherever another one has one.
  const stacked = panel.kind === "area" || (panel.kind === "bar" && roles.by >= 0);
  const withMarks = axis.length <= POINTS_WITH_MARKS;
  const option: ChartOption = {
    grid: { left: 10, right: 16, top: shown.length > 1 ? 34 : 14, bottom: 8, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
    tooltip: {
      trigger: panel.kind === "scatter" ? "item" : "axis",
      axisPointer: { type: panel.kind === "bar" ? "shadow" : "line" },
      valueFormatter: (value: unknown) => (typeof value === "number" ? value.toLocaleString("en-US", { maximumFractionDigits: 4 }) : "–"),
    },
    xAxis: {
      ...(isTime ? TIME_AXIS : { type: isValue ? "value" : "category" }),
      ...(isTime || isValue ? { scale: true } : { data: axis }),
      ...(isTime && panel.kind !== "bar" ? { boundaryGap: [0, 0] } : {}),
      axisLabel: isTime ? { formatter: { second: "{HH}:{mm}:{ss}", millisecond: "{HH}:{mm}:{ss}", minute: "{HH}:{mm}", hour: "{HH}:{mm}", day: "{d} {MMM}" } } : {},
    },
    yAxis: { type: "value", scale: panel.kind === "line" || panel.kind === "scatter", splitNumber: 4, axisLabel: { formatter: (value: number) => compact(value) } },
    series: shown.map(({ name, points }) => ({
      id: name,
      name,
      paint: paints.get(name),
      type: panel.kind === "area" ? "line" : panel.kind,
      ...(stacked ? { stack: "all" } : {}),
      ...(panel.kind === "area" ? { areaStyle: { opacity: 0.55 }, lineStyle: { width: 1 } } : {}),
      ...(panel.kind === "line" ? { lineStyle: { width: 1.75 } } : {}),
      ...(panel.kind === "bar" ? { barMaxWidth: 42 } : {}),
      ...(panel.kind === "scatter" ? { symbolSize: 6, itemStyle: { opacity: 0.75 } } : { showSymbol: withMarks && panel.kind === "line", symbol: "circle", symbolSize: 4 }),
      ...(axis.length > POINTS_SAMPLED && panel.kind === "line" ? { sampling: "lttb" } : {}),
      emphasis: { disabled: panel.kind !== "scatter" },
      data: axis.flatMap((x) => {
        const value = points.get(x) ?? (stacked ? 0 : null);
        if (!isTime && !isValue) return [value];
        return points.has(x) || stacked || !xs.has(x) ? [[x, value]] : [];
      }),
    })),
  };
  if (shown.length > 1) Object.assign(option, { legend: { type: "scroll", top: 2, left: 8, right: 8, icon: "roundRect", padding: 4 } });
  const left = known.length - shown.length;
  return { option, note: left > 0 ? `${left} more series are not drawn; group by less, or filter` : undefined };
}

/** The number that a panel of kind "number" shows, and what stands below it. */
export function bigNumber(columns: Column[], rows: Cell[][], panel: Pick<Panel, "x" | "y" | "by">): { value: Cell; name: string; others: { name: string; value: Cell }[] } | null {
  const row = rows.at(-1);
  if (!row || columns.length === 0) return null;
  const wanted = (panel.y ?? []).map((name) => columns.findIndex((column) => column.name === name)).find((i) => i >= 0);
  const at = wanted ?? Math.max(0, columns.findIndex(isNumber));
  const others = columns.flatMap((column, i) => (i === at ? [] : [{ name: column.name, value: row[i] ?? null }]));
  return { value: row[at] ?? null, name: columns[at]?.name ?? "", others: others.slice(0, 3) };
}

/** A number as a headline: every digit up to a hundred million, then with a unit. */
export function headline(value: Cell): string {
  const number = numeric(value);
  if (number === null || typeof value === "boolean") return value === null ? "–" : cellText(value);
  if (Math.abs(number) >= 1e8) return compact(number);
  return number.toLocaleString("en-US", { maximumFractionDigits: Math.abs(number) >= 1000 ? 0 : 2 });
}
