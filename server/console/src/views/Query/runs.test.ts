import { beforeAll, expect, test, vi } from "vitest";
import type { Answer } from "../../api/types";
import type { Run } from "./runs";

// The tabs follow other windows.
vi.stubGlobal("addEventListener", () => undefined);
let withoutOld: typeof import("./runs").withoutOld;
let spokenOf: typeof import("./runs").spokenOf;
beforeAll(async () => {
  ({ withoutOld, spokenOf } = await import("./runs"));
});

const run = (state: Run["state"], answer: object | null): Run => ({ id: "q", sql: "", from: 0, startedAt: 0, state, progress: null, answer: answer as Answer | null, answered: "", error: null, elapsedMs: 0 });

test("answers that nobody has looked at for long are let go", () => {
  const all = { a: run("done", {}), b: run("done", {}), c: run("running", {}), d: run("failed", null) };
  const left = withoutOld(all, ["a"], 1);
  expect(Object.entries(left).map(([tab, { answer, letGo }]) => [tab, answer !== null, letGo])).toEqual([["a", true, undefined], ["b", false, true], ["c", true, undefined], ["d", false, undefined]]);
  expect(withoutOld(all, ["b", "a"], 2)).toBe(all);
});

test("it is said how a run ended, and an error says so itself", () => {
  const two = { rows: [[1], [2]], stats: { elapsed_ms: 12 } };
  expect(spokenOf(run("done", two))).toBe("2 rows in 12 ms");
  expect(spokenOf(run("cancelled", two))).toBe("Cancelled");
  expect([undefined, run("running", two), run("failed", null)].map(spokenOf)).toEqual(["", "", ""]);
});
