import { expect, test } from "vitest";
import { timeOfDay } from "../../format";
import { freshnessText, STALE_MS, UNKNOWN_FRESHNESS, withAnswer, withBeat } from "./freshness";

const T0 = Date.parse("2026-01-01T12:00:00Z");

test("the panel that is furthest behind counts", () => {
  let known = withAnswer(UNKNOWN_FRESHNESS, "a", { freshness_ms: 210, ran_at_ms: T0 }, T0);
  known = withAnswer(known, "b", { freshness_ms: 5_000, ran_at_ms: T0 }, T0);
  known = withAnswer(known, "none", { freshness_ms: null, ran_at_ms: T0 }, T0);
  expect(freshnessText(known, T0 + 1000)).toBe("newest row 5.00 s old");
  expect(freshnessText(UNKNOWN_FRESHNESS, T0)).toBeNull();
});

test("without new answers there is a time, and no age", () => {
  const known = withAnswer(UNKNOWN_FRESHNESS, "a", { freshness_ms: 500, ran_at_ms: T0 }, T0 + 100);
  expect(freshnessText(known, T0 + STALE_MS)).toBe("newest row 500 ms old");
  expect(freshnessText(known, T0 + STALE_MS + 101)).toBe(`no new rows since ${timeOfDay(T0 - 500)}`);
  // The same answer once more, as after a new connection, is no new one.
  const again = withAnswer(known, "a", { freshness_ms: 500, ran_at_ms: T0 }, T0 + 60_000);
  expect(freshnessText(again, T0 + 60_000)).toContain("no new rows");
});

test("a server that goes on saying it is believed", () => {
  const known = withAnswer(UNKNOWN_FRESHNESS, "a", { freshness_ms: 500, ran_at_ms: T0 }, T0);
  expect(withBeat(known, {})).toBe(known);
  const followed = withBeat(known, { freshness_ms: { a: 61_000, b: null } });
  expect(freshnessText(followed, T0 + 60_000)).toBe("newest row 61.0 s old");
  expect(freshnessText(withAnswer(followed, "a", { freshness_ms: 20, ran_at_ms: T0 + 61_000 }, T0 + 61_000), T0 + 61_000)).toBe("newest row 20 ms old");
});
