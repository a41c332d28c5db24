import { expect, test } from "vitest";
import { layout } from "./layout";
import { operators, parseCount, parseMs, parsePlan } from "./parse";

const ANALYZED = `SortPreservingMergeExec: [count(*)@1 DESC], fetch=5, metrics=[output_rows=5, elapsed_compute=15.62µs, output_bytes=120.0 B]
  HashJoinExec: mode=Partitioned, on=[(city@0, city@0)], metrics=[output_rows=98.78 K, elapsed_compute=2ms, avg_fanout=N/A (0/0)]
    CooperativeExec, metrics=[]
      SegmentScanExec: table=rides, segments=8 of 8, metrics=[output_rows={0:100, 1:150}, elapsed_compute={0:1ms, 1:2ms}]
    [Stage 2] => NetworkShuffleExec: output_partitions=2
`;

test("operators with their metrics, and who is below whom", () => {
  const plan = parsePlan([["Plan with Metrics", ANALYZED]]);
  expect(plan && operators(plan.root).map(({ name, rows, ms, stage, children }) => [name, rows, ms, stage, children.length])).toEqual([
    ["SortPreservingMergeExec", 5, 0.01562, null, 1],
    ["HashJoinExec", 98780, 2, null, 2],
    ["SegmentScanExec", 250, 3, null, 0],
    ["NetworkShuffleExec", null, null, 2, 0],
  ]);
  expect(plan?.root.metrics[2]).toEqual(["output_bytes", "120.0 B"]);
  expect(plan?.ms).toBeCloseTo(5.01562);
});

test("partial aggregates have not made rows yet", () => {
  const plan = parsePlan([["Plan with Metrics", "SegmentAggregateExec: keys=[a], metrics=[output_rows=0, rows_scanned=98.78 K, rows_selected=82 K]"]]);
  expect(plan?.root).toMatchObject({ rows: null, read: 98780 });
});

test("stages and the nodes that ran them", () => {
  const nodes = "stage 1 to stage 3: shuffle, 120000 rows, 1920000 bytes\nstage 1, data-0: sales at version 7, 12 sealed segments, 1 open partitions\nstage 3 to this node: gather";
  const plan = parsePlan([["Plan with Metrics", "AnalyzeExec"], ["nodes", nodes]]);
  expect(plan?.stages).toEqual([
    { stage: 1, to: "stage 3", kind: "shuffle", rows: 120000, bytes: 1920000 },
    { stage: 3, to: "this node", kind: "gather", rows: null, bytes: null },
  ]);
  expect(plan?.tasks).toEqual([{ stage: 1, node: "data-0", reads: "sales at version 7, 12 sealed segments, 1 open partitions" }]);
});

test("an answer without a plan has none", () => {
  expect(parsePlan([])).toBeNull();
  expect(parsePlan([["logical_plan", "TableScan: t"]])).toBeNull();
});

test("units", () => {
  expect([parseMs("61ns"), parseMs("1.5s"), parseMs("N/A")]).toEqual([6.1e-5, 1500, null]);
  expect([parseCount("5"), parseCount("98.78 K"), parseCount("1.2 M"), parseCount("x")]).toEqual([5, 98780, 1200000, null]);
});

test("no box lies on another one", () => {
  const plan = parsePlan([["Plan with Metrics", ANALYZED]]);
  const { boxes, width, height } = layout(plan?.root ?? (() => { throw new Error("no plan"); })());
  expect(new Set(boxes.map(({ x, y }) => `${x},${y}`)).size).toBe(boxes.length);
  expect(Math.min(...boxes.map(({ x }) => x))).toBe(0);
  expect([width > 0, height > 0]).toEqual([true, true]);
});
