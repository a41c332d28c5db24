import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Column } from "../api/types";
import { addTo, addToNew, lookOf, type NewPanel, titleOf, withPanel } from "./adding";
import { type Dashboard, emptyDashboard } from "./model";

const columns = (...list: [string, string][]): Column[] => list.map(([name, type]) => ({ name, type }));
const PER_STATUS = columns(["minute", "TIMESTAMP(3)"], ["status", "STRING"], ["events", "LONG"]);
const PANEL: NewPanel = { title: "events by minute", sql: "SELECT 1", kind: "line", x: "minute", y: ["events"] };
const NUMBER: NewPanel = { title: "events", sql: "SELECT 1", kind: "number", y: ["events"] };

test("a panel is drawn as the answer was", () => {
  expect(lookOf(null, PER_STATUS)).toEqual({ kind: "table", y: [] });
  expect(lookOf({ kind: "area", x: "minute", y: ["events"], by: "status" }, PER_STATUS)).toEqual({ kind: "area", x: "minute", y: ["events"], by: "status" });
  expect(lookOf({ kind: "number", x: null, y: ["events"], by: null }, PER_STATUS)).toEqual({ kind: "number", y: ["events"] });
});

test("a chart without series does not get any as a panel", () => {
  expect(lookOf({ kind: "bar", x: "minute", y: ["events"], by: null }, PER_STATUS).by).toBe("minute");
  expect(lookOf({ kind: "bar", x: "status", y: ["events"], by: null }, columns(["status", "STRING"], ["events", "LONG"])).by).toBeUndefined();
});

test("a chart says what it shows", () => {
  expect(titleOf({ x: "city", y: ["n", "km"] })).toBe("n, km by city");
  expect(titleOf({ x: null, y: ["n"] })).toBe("n");
});

test("a panel takes the first free place that is large enough", () => {
  const one = withPanel(emptyDashboard("d"), NUMBER, "p1");
  const two = withPanel(one, PANEL, "p2");
  const three = withPanel(two, NUMBER, "p3");
  expect(three.panels.map(({ id, at }) => [id, at])).toEqual([
    ["p1", { x: 0, y: 0, w: 3, h: 3 }],
    ["p2", { x: 3, y: 0, w: 6, h: 7 }],
    ["p3", { x: 9, y: 0, w: 3, h: 3 }],
  ]);
});

/** One dashboard of a server, its versions being numbers; `others` are changes of other people before each write. */
function serverOf(first: Dashboard, others: ((old: Dashboard) => Dashboard)[] = []) {
  let dashboard = first;
  let version = 1;
  const asked: string[] = [];
  vi.stubGlobal("fetch", (path: string, { method, headers, body }: { method: string; headers: Headers; body?: string }) => {
    asked.push(`${method} ${path}`);
    if (method === "GET") return Promise.resolve(new Response(JSON.stringify(dashboard), { headers: { etag: `"${version}"`, "headwater-dashboard-version": `${version}` } }));
    const change = others.shift();
    if (change) {
      dashboard = change(dashboard);
      version += 1;
    }
    if (headers.get("if-match") !== `"${version}"` && headers.get("if-none-match") === null) return Promise.resolve(new Response(JSON.stringify({ error: { kind: "conflict", message: "changed" } }), { status: 412 }));
    dashboard = JSON.parse(body ?? "") as Dashboard;
    version += 1;
    return Promise.resolve(new Response(JSON.stringify({ version, etag: `${version}` })));
  });
  return { asked, now: () => dashboard };
}

const kept = new Map<string, string>();
beforeEach(() => {
  kept.clear();
  vi.stubGlobal("sessionStorage", { getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => kept.set(key, value), removeItem: (key: string) => kept.delete(key) });
});
afterEach(() => vi.unstubAllGlobals());

test("what somebody else changes meanwhile is not written over", async () => {
  const server = serverOf(emptyDashboard("d"), [(old) => ({ ...withPanel(old, NUMBER, "p1"), title: "theirs" })]);
  expect(await addTo("d", PANEL)).toEqual({ dashboard: "d", panel: "p2" });
  expect(server.now().title).toBe("theirs");
  expect(server.now().panels.map(({ id }) => id)).toEqual(["p1", "p2"]);
  expect(server.asked.filter((one) => one.startsWith("PUT"))).toHaveLength(2);
});

test("a dashboard that changes all the time is given up, and a full one is not written", async () => {
  serverOf(emptyDashboard("d"), Array.from({ length: 9 }, () => (old: Dashboard) => old));
  await expect(addTo("d", PANEL)).rejects.toThrow("changed");
  let full = emptyDashboard("full");
  for (let i = 0; i < 50; i++) full = withPanel(full, NUMBER, `p${i}`);
  serverOf(full);
  await expect(addTo("full", PANEL)).rejects.toThrow("Choose another one");
});

test("what is being edited gets the panel too, and goes on from the version that has it", async () => {
  const server = serverOf(emptyDashboard("d"));
  kept.set("headwater.dashboard.d", JSON.stringify({ dashboard: { ...withPanel(emptyDashboard("d"), NUMBER, "p1"), title: "mine" }, base: "1" }));
  await addTo("d", PANEL);
  expect(server.now()).toMatchObject({ title: "d", panels: [{ id: "p2" }] });
  expect(JSON.parse(kept.get("headwater.dashboard.d") ?? "")).toMatchObject({ dashboard: { title: "mine", panels: [{ id: "p1" }, { id: "p2" }] }, base: "2" });
});

test("a new dashboard has the panel from its first version", async () => {
  const server = serverOf(emptyDashboard("none"));
  expect(await addToNew("Rides, live", PANEL)).toEqual({ dashboard: "rides-live", panel: "p1" });
  expect(server.asked).toEqual(["PUT /dashboards/rides-live"]);
  expect(server.now()).toMatchObject({ title: "Rides, live", panels: [{ id: "p1", sql: "SELECT 1" }] });
});
