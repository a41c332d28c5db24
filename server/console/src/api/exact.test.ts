import { expect, test } from "vitest";
import { parseExactly, wholeRows } from "./exact";

test("numbers that JavaScript would change become texts with their digits", () => {
  expect(parseExactly('[9007199254740993, 12.50, 5.0, 1e+300, -1, 0.1, 42]')).toEqual(["9007199254740993", "12.50", "5.0", 1e300, -1, 0.1, 42]);
});

test("texts are left alone, whatever is in them", () => {
  expect(parseExactly('{"a": "9007199254740993 12.50", "b": "\\"12.50\\\\", "c": 12.50}')).toEqual({ a: "9007199254740993 12.50", b: '"12.50\\', c: "12.50" });
});

test("what is no JSON is an error", () => {
  expect(() => parseExactly("<html>12.50</html>")).toThrow();
});

test("a long text does not exhaust the stack", () => {
  const long = `${"x".repeat(5_000_000)}\\n`;
  expect(parseExactly(JSON.stringify([long, 1.5]).replace("1.5", "1.50"))).toEqual([long, "1.50"]);
});

test("an answer that was cut is closed behind its last whole row", () => {
  const head = '{"query_id":"q","columns":[{"name":"\\"rows\\":[","type":"STRING"}],"rows":[';
  const cut = (rows: string) => {
    const text = wholeRows(head + rows);
    return text === null ? null : (JSON.parse(text) as { rows: unknown[]; row_count: number });
  };
  expect(cut('["a]\\"",[1,{"b":2}]],["c",[2')).toMatchObject({ rows: [['a]"', [1, { b: 2 }]]], row_count: 1 });
  expect(cut('[1],[2],[3],')).toMatchObject({ rows: [[1], [2], [3]], row_count: 3 });
  expect(cut("[1],[2]],\"row_count\":2")).toMatchObject({ rows: [[1], [2]], row_count: 2 });
  expect(cut("[1")).toBeNull();
  expect(wholeRows('{"query_id":')).toBeNull();
});
