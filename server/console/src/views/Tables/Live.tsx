// What the last minutes of a table looked like, one point a second.
import { useMemo } from "react";
import type { Known, Partition } from "../../api/types";
import { Chart, type ChartOption } from "../../components/Chart";
import { Panel } from "../../components/Page";
import { compact, duration } from "../../format";
import { totals } from "./data";

const KEPT_MS = 4 * 60_000;
const SHOWN_MS = 3 * 60_000;
/** More partitions than there are colours are drawn as one. */
const LINES_MAX = 8;

interface Point {
  at: number;
  partitions: Partition[];
}

/** Kept beside the page, so that coming back to it does not begin anew. */
const series = new Map<string, Point[]>();

/** Adds a look at a table; the same one twice is one point. */
export function record(table: string, partitions: Partition[]): Point[] {
  const points = series.get(table) ?? [];
  if (points.at(-1)?.partitions === partitions) return points;
  const at = Date.now();
  const next = [...points.filter((point) => point.at > at - KEPT_MS), { at, partitions }];
  series.set(table, next);
  return next;
}

interface Measure {
  title: string;
  column: "rows_per_second" | "lag" | "freshness_ms";
  /** Where there are too many partitions. */
  all(partitions: Partition[]): number | null;
  format(value: number): string;
}

const MEASURES: Measure[] = [
  { title: "Rate (rows/s)", column: "rows_per_second", all: (many) => totals(many).rate, format: (value) => compact(value) },
  { title: "Lag (messages)", column: "lag", all: (many) => totals(many).lag, format: (value) => compact(value) },
  { title: "Freshness", column: "freshness_ms", all: (many) => totals(many).freshness, format: (value) => duration(value) },
];

const numeric = (value: Known | undefined) => (value === null || value === undefined ? null : Number(value));

function drawn(points: Point[], measure: Measure): ChartOption {
  const numbers = points.at(-1)?.partitions.map(({ partition }) => partition) ?? [];
  const end = points.at(-1)?.at ?? Date.now();
  const lines =
    numbers.length > LINES_MAX
      ? [{ name: "all partitions", data: points.map((point) => [point.at, measure.all(point.partitions)]) }]
      : numbers.map((number) => ({ name: `partition ${number}`, data: points.map((point) => [point.at, numeric(point.partitions.find(({ partition }) => partition === number)?.[measure.column])]) }));
  return {
    grid: { left: 8, right: 14, top: 12, bottom: 4, containLabel: true },
    tooltip: { show: true, trigger: "axis", valueFormatter: (value: unknown) => (value === null || value === undefined ? "–" : measure.format(Number(value))) },
    xAxis: { type: "time", min: end - SHOWN_MS, max: end, splitNumber: 3, axisLabel: { formatter: "{HH}:{mm}:{ss}" } },
    yAxis: { type: "value", min: 0, minInterval: 1, splitNumber: 3, axisLabel: { formatter: (value: number) => measure.format(value) } },
    series: lines.map(({ name, data }) => ({ id: name, name, type: "line", data, showSymbol: data.length < 2, symbolSize: 4, lineStyle: { width: 1.6 } })),
  };
}

export function LiveCharts({ table, partitions }: { table: string; partitions: Partition[] }) {
  const points = useMemo(() => record(table, partitions), [table, partitions]);
  const options = useMemo(() => MEASURES.map((measure) => drawn(points, measure)), [points]);
  return (
    <div className="live-charts">
      {MEASURES.map(({ title }, i) => (
        <Panel key={title} title={title} tools={<span className="muted small">last 3 minutes, by partition</span>}>
          <div className="live-chart">
            <Chart option={options[i] ?? {}} label={`${title} of ${table} over the last 3 minutes, by partition`} />
          </div>
        </Panel>
      ))}
    </div>
  );
}
