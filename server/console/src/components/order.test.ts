import { expect, test } from "vitest";
import type { Cell } from "../api/types";
import { asTsv, sortedIndexes } from "./order";

const order = (cells: Cell[], kind: Parameters<typeof sortedIndexes>[2], descending = false) =>
  [...sortedIndexes(cells.map((cell) => [cell]), 0, kind, descending)].map((i) => cells[i]);

test("numbers are sorted as numbers, also those that are texts", () => {
  expect(order(["12.50", 9, -1, "100.0"], "number")).toEqual([-1, 9, "12.50", "100.0"]);
  expect(order(["9007199254740993", "9007199254740992"], "number")).toEqual(["9007199254740992", "9007199254740993"]);
});

test("NULL is last in both directions, NaN after every number", () => {
  expect(order([null, 2, 1], "number")).toEqual([1, 2, null]);
  expect(order([null, 2, 1], "number", true)).toEqual([2, 1, null]);
  expect(order(["NaN", 2, 1], "number")).toEqual([1, 2, "NaN"]);
});

test("times with and without a fraction", () => {
  const times = ["2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59.9Z"];
  expect(order(times, "time")).toEqual([times[2], times[1], times[0]]);
});

test("equal cells keep their order", () => {
  const rows: Cell[][] = [["a", 1], ["b", 2], ["a", 3]];
  expect([...sortedIndexes(rows, 0, "text", true)]).toEqual([1, 0, 2]);
});

test("TSV quotes what would break a cell", () => {
  expect(asTsv([["a\tb", null], ['say "x"', 1]], ["one", "two"])).toBe('one\ttwo\n"a\tb"\t\n"say ""x"""\t1');
});
