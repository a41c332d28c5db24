import { expect, test } from "vitest";
import type { TableDocument } from "./data";
import { dashboardOf, type Look, lookIn, lookStatement, NO_LOOK, placed, proposalFor, scaleOf, tops } from "./proposal";

type Described = Pick<TableDocument, "name" | "columns" | "spec">;

function table(columns: [string, string][], time?: string): Described {
  const described = columns.map(([name, type]) => ({ name, type, nullable: true }));
  const streams = [{ name: "$timestamp", type: "TIMESTAMP(3)", nullable: true }, { name: "$key", type: "STRING", nullable: true }];
  return { name: "orders", columns: [...described, ...streams], spec: { columns: described, time_column: time } };
}

const ORDERS = table([["id", "UUID"], ["at", "TIMESTAMP(3)"], ["City", "STRING"], ["note", "STRING"], ["events", "STRING"], ["doc", "JSON"]], "at");
const LOOK: Look = { rows: 5000, age_s: 0, span_s: 10, texts: [{ name: "City", values: 20, letters: 12 }, { name: "note", values: 4000, letters: 400 }, { name: "events", values: 3, letters: 9 }] };
const ids = (of: Described, look: Look) => proposalFor(of, look).panels.map(({ id }) => id);
const sqlOf = (of: Described, look: Look, id: string) => proposalFor(of, look).panels.find((panel) => panel.id === id)?.sql ?? "";

test("one statement looks at the newest rows, at columns of text only", () => {
  expect(lookStatement(ORDERS)).toBe(
    'SELECT count(*) AS seen, to_unixtime(now()) - to_unixtime(max(t)) AS age_s, to_unixtime(max(t)) - to_unixtime(min(t)) AS span_s, count(DISTINCT c0) AS values_0, max(length(c0)) AS letters_0, count(DISTINCT c1) AS values_1, max(length(c1)) AS letters_1, count(DISTINCT c2) AS values_2, max(length(c2)) AS letters_2 FROM (SELECT at AS t, "City" AS c0, note AS c1, events AS c2 FROM orders ORDER BY at DESC LIMIT 5000) AS newest',
  );
  expect(lookStatement(table([["id", "UUID"]]))).toBe('SELECT count(*) AS seen FROM (SELECT "$timestamp" AS t FROM orders ORDER BY "$timestamp" DESC LIMIT 5000) AS newest');
  expect(lookIn(ORDERS, { seen: "7", age_s: 2, span_s: null, values_0: 3, letters_0: 5 })).toEqual({
    rows: 7,
    age_s: 2,
    span_s: null,
    texts: [{ name: "City", values: 3, letters: 5 }, { name: "note", values: 0, letters: 0 }, { name: "events", values: 0, letters: 0 }],
  });
  expect(lookIn(table([]), undefined)).toEqual(NO_LOOK);
});

test("bars are for the first two columns with few and short values that come again and again", () => {
  const text = (name: string, values: number, letters = 8) => ({ name, values, letters });
  const all = [text("one", 1), text("ids", 4000), text("long", 9, 200), text("a", 50), text("b", 2), text("c", 2)];
  expect(tops({ ...LOOK, texts: all })).toEqual(["a", "b"]);
  expect(tops({ ...LOOK, rows: 30, texts: [text("a", 8), text("b", 6)] })).toEqual(["b"]);
  expect(tops(NO_LOOK)).toEqual([]);
});

test("the time range has the newest rows in it, and events in its parts", () => {
  const scale = (look: Partial<Look>) => scaleOf("instant", { ...LOOK, ...look });
  expect(scale({})).toEqual({ last: "5m", unit: "second", isRecent: true });
  expect(scaleOf("instant", NO_LOOK).last).toBe("5m");
  // A clock that is ahead.
  expect(scale({ age_s: -40 }).last).toBe("5m");
  expect(scale({ age_s: 200 })).toEqual({ last: "6h", unit: "minute", isRecent: true });
  expect(scale({ rows: 100, span_s: 2_000 }).unit).toBe("minute");
  expect(scale({ rows: 100, span_s: 900_000 })).toEqual({ last: "30d", unit: "hour", isRecent: true });
  expect(scale({ age_s: 86_400 * 3 }).last).toBe("30d");
  expect(scale({ age_s: 86_400 * 400, span_s: 3_000 })).toEqual({ last: "30d", unit: "minute", isRecent: false });
  expect(scale({ age_s: 86_400 * 400, span_s: 86_400 * 90 }).unit).toBe("day");
  expect(scaleOf("date", LOOK).unit).toBe("day");
});

test("a table with a time and kinds of things gets all of it", () => {
  expect(ids(ORDERS, LOOK)).toEqual(["rows", "rate", "freshness", "events", "top-4", "top-5"]);
  expect(sqlOf(ORDERS, LOOK, "events")).toBe("-- Up to the second before this one, which is not over yet.\nSELECT date_trunc('second', at) AS second, count(*) AS events\nFROM orders\nWHERE at >= date_trunc('second', $time_from) AND at < date_trunc('second', now())\nGROUP BY 1\nORDER BY 1");
  expect(sqlOf(ORDERS, LOOK, "top-4")).toBe('SELECT "City", count(*) AS events\nFROM orders\nWHERE at >= $time_from\nGROUP BY 1\nORDER BY 2 DESC\nLIMIT 10');
  expect(sqlOf(ORDERS, LOOK, "top-5")).toContain("SELECT events, count(*) AS n\n");
  expect(sqlOf(ORDERS, LOOK, "rate")).toContain("WHERE table_name = 'orders' GROUP BY partition");
});

test("without a time only what is counted is proposed, and without rows no bars", () => {
  const plain = table([["city", "STRING"]]);
  expect(ids(plain, NO_LOOK)).toEqual(["rows", "rate", "freshness"]);
  const look = { ...NO_LOOK, rows: 900, texts: [{ name: "city", values: 4, letters: 9 }] };
  expect(sqlOf(plain, look, "top-3")).not.toContain("$time_from");
  // A time column that the table does not have (any more).
  expect(ids(table([], "gone"), NO_LOOK)).toEqual(["rows", "rate", "freshness"]);
});

test("old events are counted where they are, and days by their dates", () => {
  const old = { ...LOOK, age_s: 86_400 * 400 };
  expect(sqlOf(ORDERS, old, "events")).toBe("SELECT date_trunc('second', at) AS second, count(*) AS events\nFROM orders\nGROUP BY 1\nORDER BY 1 DESC\nLIMIT 300");
  expect(sqlOf(ORDERS, old, "top-4")).not.toContain("$time_from");
  const daily = table([["day", "DATE"]], "day");
  expect(sqlOf(daily, NO_LOOK, "events")).toBe("SELECT day AS day, count(*) AS events\nFROM orders\nWHERE day >= $time_from\nGROUP BY 1\nORDER BY 1");
});

test("whatever is taken of it, each line is filled", () => {
  const { panels, last } = proposalFor(ORDERS, LOOK);
  expect(placed(panels).map(({ at }) => at)).toEqual([
    { x: 0, y: 0, w: 4, h: 3 },
    { x: 4, y: 0, w: 4, h: 3 },
    { x: 8, y: 0, w: 4, h: 3 },
    { x: 0, y: 3, w: 12, h: 6 },
    { x: 0, y: 9, w: 6, h: 7 },
    { x: 6, y: 9, w: 6, h: 7 },
  ]);
  expect(placed(panels.slice(3, 5)).map(({ at }) => at)).toEqual([{ x: 0, y: 0, w: 12, h: 6 }, { x: 0, y: 6, w: 12, h: 7 }]);
  expect(dashboardOf("Orders, live", last, panels)).toMatchObject({ title: "Orders, live", refresh_ms: 1000, time: { last: "5m" } });
});
