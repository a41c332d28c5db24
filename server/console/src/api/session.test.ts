import { expect, test } from "vitest";
import { mayEnd, type SessionState } from "./session";

test("queries are ended by administrators, and by those whose they are", () => {
  const signedIn = (user: string | null, role: "reader" | "administrator" | null, open = false): SessionState => ({ state: "in", session: { user, role, open } });
  const may = (state: SessionState) => ["ada", "eve", null].map((user) => mayEnd(state, user));
  expect(may(signedIn("ada", "reader"))).toEqual([true, false, false]);
  expect(may(signedIn("ada", "administrator"))).toEqual([true, true, true]);
  expect(may(signedIn("anonymous", null, true))).toEqual([true, true, true]);
  expect(may(signedIn(null, null))).toEqual([false, false, false]);
  expect(may({ state: "out" })).toEqual([false, false, false]);
});
