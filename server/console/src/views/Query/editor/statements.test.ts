import { describe, expect, test } from "vitest";
import { offsetOf, positionOf, sources, statementAt, statements, wordAt } from "./statements";

const texts = (sql: string) => statements(sql).map(({ from, to }) => sql.slice(from, to));

describe("statements", () => {
  test("are divided by semicolons, but not by those in texts, names and comments", () => {
    expect(texts("SELECT 1; SELECT ';' ;\n SELECT \"a;b\" -- ; \n; /* ; */ SELECT 'it''s;'")).toEqual(["SELECT 1", "SELECT ';'", 'SELECT "a;b" -- ;', "/* ; */ SELECT 'it''s;'"]);
  });
  test("that are not closed go to the end", () => {
    expect(texts("SELECT 'a; SELECT 2")).toEqual(["SELECT 'a; SELECT 2"]);
    expect(texts("SELECT 1 /* ; ")).toEqual(["SELECT 1 /* ;"]);
    expect(texts(" ; ; ")).toEqual([]);
  });
  test("the one that the cursor is in, or else the one before it", () => {
    const sql = "SELECT 1;\n\nSELECT 2\nFROM t;\n";
    const at = (cursor: number) => {
      const span = statementAt(sql, cursor);
      return span && sql.slice(span.from, span.to);
    };
    expect(at(0)).toBe("SELECT 1");
    expect(at(8)).toBe("SELECT 1");
    expect(at(10)).toBe("SELECT 1");
    expect(at(15)).toBe("SELECT 2\nFROM t");
    expect(at(sql.length)).toBe("SELECT 2\nFROM t");
    expect(statementAt("  ", 1)).toBeNull();
  });
});

test("positions and the words at them", () => {
  const sql = "SELECT a,\n  citi FROM t";
  expect(wordAt(sql, offsetOf(sql, 2, 3))).toEqual({ from: 12, to: 16 });
  expect(positionOf(sql, 12)).toEqual({ line: 2, column: 3 });
  expect(offsetOf(sql, 9, 1)).toBe(sql.length);
  expect(wordAt(sql, sql.length)).toEqual({ from: sql.length - 1, to: sql.length });
});

test("columns count characters, and names have letters of all languages", () => {
  const sql = "SELECT '👍🏽', größe.straße FROM t";
  const at = sql.indexOf("größe");
  expect(offsetOf(sql, 1, [...sql.slice(0, at)].length + 1)).toBe(at);
  expect(positionOf(sql, at)).toEqual({ line: 1, column: at - 1 });
  expect(offsetOf("👍", 1, 9)).toBe(2);
  expect(wordAt(sql, at)).toEqual({ from: at, to: at + "größe.straße".length });
  expect(wordAt("a 👍 b", 2)).toEqual({ from: 2, to: 4 });
  expect(sources("SELECT * FROM straßen š, 日本 JOIN x ON 1 = 1")).toEqual([
    { table: "straßen", alias: "š" },
    { table: "日本", alias: "日本" },
    { table: "x", alias: "x" },
  ]);
});

test("the tables that a statement reads", () => {
  expect(sources('SELECT FROM rides r JOIN "Odd Name" AS o ON r.a = o.a, system.nodes WHERE x')).toEqual([
    { table: "rides", alias: "r" },
    { table: "Odd Name", alias: "o" },
  ]);
  expect(sources("SELECT * FROM a, b x, system.nodes")).toEqual([
    { table: "a", alias: "a" },
    { table: "b", alias: "x" },
    { table: "system.nodes", alias: "nodes" },
  ]);
  expect(sources("SELECT * FROM rides WHERE ")).toEqual([{ table: "rides", alias: "rides" }]);
});
