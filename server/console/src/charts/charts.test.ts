import { expect, test } from "vitest";
import type { Cell } from "../api/types";
import { defaultChoice, fittingChoice } from "./choice";
import { chartOption } from "./option";

const answer = (columns: [string, string][], rows: Cell[][]) => ({ columns: columns.map(([name, type]) => ({ name, type })), rows });

test("the default follows from the columns' types", () => {
  const rows: Cell[][] = [["x", 1], ["y", 2]];
  expect(defaultChoice(answer([["at", "TIMESTAMP(3)"], ["n", "LONG"]], rows))).toMatchObject({ kind: "line", x: "at", y: ["n"], by: null });
  expect(defaultChoice(answer([["city", "STRING"], ["n", "LONG"]], rows))).toMatchObject({ kind: "bar", x: "city", y: ["n"] });
  expect(defaultChoice(answer([["a", "DOUBLE"], ["b", "DECIMAL(12,2)"]], rows))).toMatchObject({ kind: "scatter", x: "a", y: ["b"] });
  expect(defaultChoice(answer([["n", "LONG"]], [[7]]))).toMatchObject({ kind: "number", y: ["n"] });
  expect(defaultChoice(answer([["a", "STRING"]], [["x"]]))).toBeNull();
  expect(defaultChoice(answer([["n", "LONG"]], []))).toBeNull();
});

test("of two texts the one with more values is the axis", () => {
  const rows: Cell[][] = [["a", "x", 1], ["a", "y", 2], ["a", "z", 3]];
  expect(defaultChoice(answer([["kind", "STRING"], ["city", "STRING"], ["n", "LONG"]], rows))).toMatchObject({ x: "city", by: "kind" });
});

test("what was picked stays as far as the columns are there", () => {
  const next = answer([["city", "STRING"], ["m", "LONG"]], [["x", 1], ["y", 2]]);
  expect(fittingChoice({ kind: "area", x: "city", y: ["m"], by: "gone" }, next)).toEqual({ kind: "area", x: "city", y: ["m"], by: null });
  expect(fittingChoice({ kind: "line", x: "at", y: ["n"], by: null }, next)).toMatchObject({ kind: "bar", x: "city", y: ["m"] });
});

test("times become instants in their order, decimals numbers, NULL a gap", () => {
  const drawn = chartOption(answer([["at", "TIMESTAMP(3)"], ["v", "DECIMAL(12,2)"]], [["2026-01-01T00:00:01Z", "12.50"], ["2026-01-01T00:00:00Z", null]]), { kind: "line", x: "at", y: ["v"], by: null });
  const series = (drawn?.option.series as { data: unknown }[])[0];
  expect(series?.data).toEqual([[1767225600000, null], [1767225601000, 12.5]]);
});

test("too many series are cut, and it is said", () => {
  const rows: Cell[][] = Array.from({ length: 50 }, (_, i) => [`x${i % 2}`, `s${i}`, i]);
  const drawn = chartOption(answer([["x", "STRING"], ["s", "STRING"], ["n", "LONG"]], rows), { kind: "bar", x: "x", y: ["n"], by: "s" });
  expect(drawn?.option.series).toHaveLength(20);
  expect(drawn?.left).toContain("20 largest of 50");
});
