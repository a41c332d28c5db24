import { afterEach, expect, test } from "vitest";
import { timeText } from "./format";

const zone = process.env.TZ;
afterEach(() => {
  if (zone === undefined) delete process.env.TZ;
  else process.env.TZ = zone;
});

test("an instant is told in the reader's zone, as it was at that time", () => {
  process.env.TZ = "America/New_York";
  expect(timeText("2026-01-01T03:04:05.678Z")).toBe("2025-12-31 22:04:05");
  expect(timeText("2026-07-01T03:04:05+02:00")).toBe("2026-06-30 21:04:05");
  // The server means UTC where it names no zone.
  expect(timeText("2026-01-01T12:00:00")).toBe("2026-01-01 07:00:00");
  expect(timeText(Date.parse("2026-01-01T12:00:00Z"))).toBe("2026-01-01 07:00:00");
  process.env.TZ = "Asia/Kolkata";
  expect(timeText("2026-01-01T12:00:00Z")).toBe("2026-01-01 17:30:00");
  expect([null, "", "soon", Number.POSITIVE_INFINITY].map(timeText)).toEqual(["", "", "", ""]);
});
