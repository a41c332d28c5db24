import { expect, test } from "vitest";
import { chosenIn, compacted, emptyDashboard, freePlace, idOf, neighbourOf, newPanelId, nudged, type Panel, type Place, rangesWith, refreshesWith, searchOf, tagOf, valuesOf } from "./model";

const panel = (id: string, x: number, y: number, w: number, h: number): Panel => ({ id, title: id, sql: "SELECT 1", kind: "number", at: { x, y, w, h } });
const placeOf = (panels: Panel[], id: string) => panels.find((one) => one.id === id)?.at;
const overlaps = (a: Place, b: Place) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

const BOARD = [panel("a", 0, 0, 6, 2), panel("b", 6, 0, 6, 2), panel("c", 0, 2, 12, 3), panel("d", 0, 5, 4, 2)];

test("a title becomes an id of letters and digits", () => {
  expect(idOf("Übersicht: Rides, live!")).toBe("ubersicht-rides-live");
  expect(idOf("日本")).toBe("dashboard");
  expect(idOf(`${"a".repeat(55)} b`)).toBe("a".repeat(55));
});

test("a tag is what stands between the quotes", () => {
  for (const header of ['"3-01ARZ"', 'W/"3-01ARZ"', " 3-01ARZ "]) expect(tagOf(header)).toBe("3-01ARZ");
  expect(tagOf("")).toBe("");
});

test("a new panel has an id and a place of its own", () => {
  expect(newPanelId([panel("p2", 0, 0, 1, 1)])).toBe("p3");
  expect(freePlace([], 6, 7)).toEqual({ x: 0, y: 0, w: 6, h: 7 });
  expect(freePlace(BOARD, 6, 2)).toEqual({ x: 4, y: 5, w: 6, h: 2 });
});

test("what is above falls away and the rest moves up", () => {
  const left = compacted(BOARD.filter((one) => one.id !== "c"));
  expect(placeOf(left, "d")).toEqual({ x: 0, y: 2, w: 4, h: 2 });
  expect(compacted(BOARD)).toEqual(BOARD);
});

test("when a panel is gone one goes on with the next one, or the last one before it", () => {
  expect(neighbourOf(BOARD, "a")).toBe("b");
  expect(neighbourOf(BOARD, "b")).toBe("c");
  expect(neighbourOf(BOARD, "d")).toBe("c");
  expect(neighbourOf([panel("a", 0, 0, 1, 1)], "a")).toBeUndefined();
});

test("what is chosen may be chosen, whatever it is", () => {
  expect(rangesWith("1h")).not.toContainEqual({ value: "1h", label: "Last 1h" });
  expect(rangesWith("90m").at(-1)).toEqual({ value: "90m", label: "Last 90m" });
  expect(refreshesWith(1_000)).toHaveLength(refreshesWith(1_500).length - 1);
  expect(refreshesWith(1_500).at(-1)).toEqual({ value: 1_500, label: "1500 ms" });
});

test("by keyboard a panel passes its neighbours and stays inside of the grid", () => {
  expect(placeOf(nudged(BOARD, "c", { y: -1 }), "c")?.y).toBe(0);
  expect(placeOf(nudged(BOARD, "a", { y: 1 }), "a")?.y).toBe(5);
  expect(placeOf(nudged(BOARD.filter((one) => one.id !== "b"), "a", { y: 1 }), "a")?.y).toBe(3);
  expect(placeOf(nudged(BOARD, "d", { x: 1 }), "d")?.x).toBe(1);
  expect(placeOf(nudged(BOARD, "b", { x: 1 }), "b")).toEqual({ x: 6, y: 0, w: 6, h: 2 });
  expect(placeOf(nudged(BOARD, "d", { w: 20 }), "d")).toEqual({ x: 0, y: 5, w: 12, h: 2 });
  expect(placeOf(nudged(BOARD, "d", { h: -9 }), "d")?.h).toBe(1);
  // Nothing is above or below: nothing happens.
  expect(nudged(BOARD, "a", { y: -1 })).toEqual(BOARD);
  expect(nudged(BOARD, "nobody", { x: 1 })).toEqual(BOARD);
});

test("whatever is moved, nothing lies on anything else", () => {
  let panels = BOARD;
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % below;
  };
  for (let step = 0; step < 400; step++) {
    const id = ["a", "b", "c", "d"][random(4)] ?? "a";
    const key = (["x", "y", "w", "h"] as const)[random(4)] ?? "x";
    panels = nudged(panels, id, { [key]: random(2) ? 1 : -1 });
    for (const one of panels) {
      expect(one.at.x).toBeGreaterThanOrEqual(0);
      expect(one.at.x + one.at.w).toBeLessThanOrEqual(12);
      for (const other of panels) if (other.id < one.id) expect(overlaps(one.at, other.at), `step ${step}: ${id} ${key}`).toBe(false);
    }
  }
});

test("a choice is in the address, unless it is the dashboard's own", () => {
  const dashboard = { ...emptyDashboard("t"), variables: [{ name: "city", label: "City", kind: "text" as const, default: "Ulm" }] };
  const chosen = chosenIn("?var.city=S%C3%A3o+Paulo&last=1h&other=1");
  expect(chosen).toEqual({ values: { city: "São Paulo" }, last: "1h" });
  expect(chosenIn(searchOf(chosen, dashboard))).toEqual(chosen);
  for (const last of ["", "15", "m", "1y", "0s", "-1m", "4000d", "1h30m"]) expect(chosenIn(`?last=${last}`).last).toBeUndefined();
  for (const last of ["1s", "90m", "3660d"]) expect(chosenIn(`?last=${last}`).last).toBe(last);
  expect(searchOf({ values: { city: "Ulm", gone: "x" }, last: "15m" }, dashboard)).toBe("");
  expect(valuesOf(dashboard, { values: { gone: "x" } })).toEqual({ city: "Ulm" });
});
