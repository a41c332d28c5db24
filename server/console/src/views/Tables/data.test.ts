import { afterEach, expect, test, vi } from "vitest";
import { loadTables, sizeOf } from "./data";

afterEach(() => vi.unstubAllGlobals());

/** A server with these tables, of which one cannot be counted. */
function serving(tables: string[], broken: string): string[] {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (path: string, init: { body?: string }) => {
    if (path === "/tables") return new Response(JSON.stringify({ tables }));
    const { sql } = JSON.parse(init.body ?? "{}") as { sql: string };
    if (!sql.includes("count(*)")) return new Response('{"columns":[],"rows":[]}');
    asked.push(sql);
    if (sql.includes(`FROM ${broken}`)) return new Response('{"error":{"kind":"segment_unavailable","message":"no"}}', { status: 503 });
    const rows = tables.filter((table) => sql.includes(`'${table}'`)).map((table) => [table, table.length]);
    return new Response(JSON.stringify({ columns: [{ name: "table_name" }, { name: "rows" }], rows }));
  });
  return asked;
}

test("a table that cannot be counted does not take the list away, and is left alone for a while", async () => {
  const asked = serving(["one", "broken", "three"], "broken");
  const load = async () => (await loadTables(new AbortController().signal)).map(({ name, rows }) => [name, rows]);
  const expected = [["one", 3], ["broken", null], ["three", 5]];
  expect(await load()).toEqual(expected);
  expect(asked).toHaveLength(4);
  expect(await load()).toEqual(expected);
  expect(asked).toHaveLength(5);
  expect(asked.every((sql) => sql.startsWith("/* console */"))).toBe(true);
});

test("a table without segments has none", () => {
  expect(sizeOf([], "t")).toEqual({ table_name: "t", rows: 0, size_bytes: 0, segments: 0 });
});
