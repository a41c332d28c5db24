import { expect, test } from "vitest";
import { lineOfPath, pathsOfLines, toYaml } from "./yaml";

test("a spec is written as people write it", () => {
  const spec = { name: "rides", columns: [{ name: "fare", type: "DECIMAL(12,2)", nullable: false }, { name: "no", type: "LONG" }], sort_key: ["city"], stream: { brokers: ["a:9092"], topic: "1", properties: {} }, retention: null };
  expect(toYaml(spec)).toBe(`name: rides
columns:
  - {name: fare, type: "DECIMAL(12,2)", nullable: false}
  - {name: "no", type: LONG}
sort_key: [city]
stream:
  brokers: ["a:9092"]
  topic: "1"
  properties: {}
`);
});

test("what is too long for a line is a block", () => {
  const long = "x".repeat(120);
  const text = toYaml({ columns: [{ name: long, index: { bloom: true } }, { name: "b" }] });
  expect(text).toBe(`columns:\n  - name: ${long}\n    index:\n      bloom: true\n  - {name: b}\n`);
  expect(lineOfPath(text, "columns[0].index.bloom")).toBe(4);
  expect(lineOfPath(text, "columns[1].type")).toBe(5);
});

test("a path's line is found in each style of lists", () => {
  const text = "# spec\nname: t\ncolumns:\n- name: a\n  type: LONG\n- {name: b, type: TEXT}\n\nstream:\n  topic: x # here\n";
  expect(pathsOfLines(text)).toEqual([null, "name", "columns", "columns[0].name", "columns[0].type", "columns[1]", null, "stream", "stream.topic", null]);
  expect(lineOfPath(text, "columns[0].type")).toBe(5);
  expect(lineOfPath(text, "columns[1].type")).toBe(6);
  expect(lineOfPath(text, "stream.brokers")).toBe(8);
  expect(lineOfPath(text, "retention.age")).toBeNull();
});
