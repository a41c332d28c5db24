import { expect, test } from "vitest";
import type { Cell, Column } from "../../api/types";
import { rolesOf } from "../../dashboards/roles";
import { bigNumber, chartOption, headline, NAMES_MAX, SERIES_MAX, withGaps } from "./chartOption";

const columns = (...list: [string, string][]): Column[] => list.map(([name, type]) => ({ name, type }));
const PER_STATUS = columns(["at", "TIMESTAMP(3)"], ["status", "STRING"], ["events", "LONG"]);
interface Drawn {
  type: string;
  name: string;
  paint: number;
  stack?: string;
  data: unknown[];
}
const seriesOf = (drawn: ReturnType<typeof chartOption>) => (drawn?.option as { series: Drawn[] }).series;
const T0 = Date.parse("2026-01-01T00:00:00Z");

test("columns play the parts that their types suggest", () => {
  expect(rolesOf(PER_STATUS, {})).toEqual({ x: 0, by: 1, y: [2] });
  expect(rolesOf(columns(["city", "STRING"], ["n", "LONG"], ["km", "DOUBLE"]), {})).toEqual({ x: 0, by: -1, y: [1, 2] });
  expect(rolesOf(columns(["a", "DOUBLE"], ["b", "DOUBLE"]), {})).toEqual({ x: 0, by: -1, y: [1] });
  // What the panel says counts, unless the column is gone.
  expect(rolesOf(PER_STATUS, { x: "status", y: ["events", "gone"], by: "gone" })).toEqual({ x: 1, by: -1, y: [2] });
});

test("each value of a column is a series, with the name that it had before", () => {
  const paints = new Map<string, number>();
  const row = (second: number, status: string, events: Cell): Cell[] => [new Date(T0 + second * 1000).toISOString(), status, events];
  const first = seriesOf(chartOption(PER_STATUS, [row(0, "b", 1), row(1, "b", 2)], { kind: "line" }, paints));
  expect(first.map(({ name }) => name)).toEqual(["b"]);
  const next = seriesOf(chartOption(PER_STATUS, [row(0, "a", 3), row(1, "b", "4.50")], { kind: "line" }, paints));
  expect(next.map(({ name, data }) => [name, data])).toEqual([
    ["b", [[T0 + 1000, 4.5]]],
    ["a", [[T0, 3]]],
  ]);
});

test("a series keeps its colour, whoever comes and goes", () => {
  const paints = new Map<string, number>();
  const drawn = (...names: string[]) => seriesOf(chartOption(PER_STATUS, names.map((name): Cell[] => ["2026-01-01T00:00:00", name, 1]), { kind: "line" }, paints)).map(({ name, paint }) => [name, paint]);
  expect(drawn("b", "c")).toEqual([["b", 0], ["c", 1]]);
  expect(drawn("c")).toEqual([["c", 1]]);
  expect(drawn("a", "c", "b")).toEqual([["b", 0], ["c", 1], ["a", 2]]);
  for (let i = 0; i < 10; i++) drawn("c", ...Array.from({ length: 99 }, (_, j) => `x${i}.${j}`));
  expect(paints.size).toBeLessThanOrEqual(NAMES_MAX);
  expect(paints.get("c")).toBe(1);
});

test("areas lie on each other, so a missing value is none", () => {
  const rows: Cell[][] = [
    ["2026-01-01T00:00:00", "a", 1],
    ["2026-01-01T00:00:01", "b", 2],
  ];
  const series = seriesOf(chartOption(PER_STATUS, rows, { kind: "area" }, new Map()));
  expect(series.map(({ type, stack, data }) => ({ type, stack, data }))).toEqual([
    { type: "line", stack: "all", data: [[T0, 1], [T0 + 1000, 0]] },
    { type: "line", stack: "all", data: [[T0, 0], [T0 + 1000, 2]] },
  ]);
});

test("bars stand over names, in the order of the answer", () => {
  const drawn = chartOption(columns(["city", "STRING"], ["n", "LONG"]), [["Ulm", 3], [null, 1], ["Bonn", null]], { kind: "bar" }, new Map());
  expect((drawn?.option as { xAxis: unknown }).xAxis).toMatchObject({ type: "category", data: ["Ulm", "NULL", "Bonn"] });
  expect(seriesOf(drawn)[0]?.data).toEqual([3, 1, null]);
});

test("what cannot be drawn is said", () => {
  expect(chartOption(columns(["city", "STRING"]), [["Ulm"]], { kind: "line" }, new Map())).toBeNull();
  const many = Array.from({ length: SERIES_MAX + 5 }, (_, i): Cell[] => ["2026-01-01T00:00:00", `s${i}`, i]);
  const drawn = chartOption(PER_STATUS, many, { kind: "line" }, new Map());
  expect(seriesOf(drawn)).toHaveLength(SERIES_MAX);
  expect(drawn?.note).toContain("5 more series");
});

test("a big number is the last row's", () => {
  const answer = columns(["city", "STRING"], ["n", "LONG"], ["km", "DOUBLE"]);
  expect(bigNumber(answer, [["Ulm", 1, 2], ["Bonn", 3, 4]], {})).toEqual({ value: 3, name: "n", others: [{ name: "city", value: "Bonn" }, { name: "km", value: 4 }] });
  expect(bigNumber(answer, [["Ulm", 1, 2]], { y: ["km"] })?.value).toBe(2);
  expect(bigNumber(answer, [], {})).toBeNull();
  expect([1234567, "150000000.5", 1.239, null, "Ulm", 0].map(headline)).toEqual(["1,234,567", "150 M", "1.24", "–", "Ulm", "0"]);
});

test("times on a grid have gaps where nothing was counted", () => {
  expect(withGaps([0, 1, 2, 3, 9, 10])).toEqual([0, 1, 2, 3, 4, 8, 9, 10]);
  expect(withGaps([0, 1, 2, 3, 5])).toEqual([0, 1, 2, 3, 4, 5]);
  // Without a grid nobody knows what is missing.
  expect(withGaps([0, 3, 7, 12, 20])).toEqual([0, 3, 7, 12, 20]);
  expect(withGaps([0, 1, 5])).toEqual([0, 1, 5]);
  const row = (second: number): Cell[] => [new Date(T0 + second * 1000).toISOString(), "a", 7];
  const [area] = seriesOf(chartOption(PER_STATUS, [0, 1, 2, 3, 9].map(row), { kind: "area" }, new Map()));
  expect(area?.data.slice(3)).toEqual([[T0 + 3000, 7], [T0 + 4000, 0], [T0 + 8000, 0], [T0 + 9000, 7]]);
  const [line] = seriesOf(chartOption(PER_STATUS, [0, 1, 2, 3, 9].map(row), { kind: "line" }, new Map()));
  expect(line?.data.slice(3, 5)).toEqual([[T0 + 3000, 7], [T0 + 4000, null]]);
});
