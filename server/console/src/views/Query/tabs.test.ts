import { expect, test } from "vitest";
import { merged, newTab, type Tab, tabsIn, type Workspace } from "./tabs";

const tab = (id: string, sql: string, at: number): Tab => ({ id, name: id, sql, at });
const workspace = (tabs: Tab[], selected: string, closed: Record<string, number> = {}): Workspace => ({ tabs, selected, closed });
const texts = ({ tabs }: Workspace) => tabs.map(({ id, sql }) => `${id}:${sql}`);

test("of a tab in two windows the last change counts, and each keeps its own", () => {
  const mine = workspace([tab("a", "mine", 2), tab("b", "old", 1)], "b");
  const theirs = workspace([tab("a", "old", 1), tab("b", "theirs", 2), tab("c", "new", 2)], "c");
  expect(texts(merged(mine, theirs))).toEqual(["a:mine", "b:theirs", "c:new"]);
  expect(merged(mine, theirs).selected).toBe("b");
  // The other window comes to the same tabs.
  expect(texts(merged(theirs, merged(mine, theirs))).sort()).toEqual(["a:mine", "b:theirs", "c:new"]);
});

test("what was closed in one window is closed in all, unless it was changed since", () => {
  const mine = workspace([tab("a", "x", 1), tab("b", "y", 1)], "a");
  const theirs = workspace([tab("b", "y", 1)], "b", { a: 2 });
  expect(texts(merged(mine, theirs))).toEqual(["b:y"]);
  expect(merged(mine, theirs).selected).toBe("b");
  expect(texts(merged(theirs, mine))).toEqual(["b:y"]);
  expect(texts(merged(workspace([tab("a", "edited", 3)], "a"), theirs))).toEqual(["a:edited", "b:y"]);
});

test("there is always a tab", () => {
  const both = merged(workspace([tab("a", "", 1)], "a", { b: 2 }), workspace([tab("b", "", 1)], "b", { a: 2 }));
  expect(both.tabs).toHaveLength(1);
  expect(both.selected).toBe(both.tabs[0]?.id);
});

test("no text is dropped for its number", () => {
  const many = (from: string) => Array.from({ length: 30 }, (_, i) => tab(`${from}${i}`, "x", 1));
  expect(merged(workspace(many("a"), "a0"), workspace(many("b"), "b0")).tabs).toHaveLength(60);
});

test("what an earlier console has kept is read, what is no tab is not", () => {
  expect(tabsIn({ tabs: [{ id: "a", name: "Query 1", sql: "SELECT 1" }, { id: 1 }, null] as unknown as Tab[] })).toEqual([{ id: "a", name: "Query 1", sql: "SELECT 1", at: 0 }]);
  expect(tabsIn({})).toEqual([]);
  expect(newTab([tab("a", "", 0), { ...tab("b", "", 0), name: "Query 1" }]).name).toBe("Query 2");
});
