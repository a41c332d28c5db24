import { afterEach, expect, test, vi } from "vitest";
import { request } from "./client";
import { csrfToken, loadSession, mayEnd, type SessionState, signedOut } from "./session";

afterEach(() => vi.unstubAllGlobals());

test("queries are ended by administrators, and by those whose they are", () => {
  const signedIn = (user: string | null, role: "reader" | "administrator" | null, open = false): SessionState => ({ state: "in", session: { user, role, open } });
  const may = (state: SessionState) => ["ada", "eve", null].map((user) => mayEnd(state, user));
  expect(may(signedIn("ada", "reader"))).toEqual([true, false, false]);
  expect(may(signedIn("ada", "administrator"))).toEqual([true, true, true]);
  expect(may(signedIn("anonymous", null, true))).toEqual([true, true, true]);
  expect(may(signedIn(null, null))).toEqual([false, false, false]);
  expect(may({ state: "out" })).toEqual([false, false, false]);
});

/** A server at which `now` is signed in: it takes requests with their token, and no others. Counts loads of the page. */
function serverWith(now: { user: string; csrf: string }) {
  const seen = { now, posted: [] as (string | null)[], loads: 0 };
  vi.stubGlobal("location", { reload: () => (seen.loads += 1) });
  vi.stubGlobal("fetch", async (_path: string, { method, headers }: { method: string; headers: Headers }) => {
    if (method === "GET") return Response.json({ ...seen.now, role: "administrator", open: false });
    const token = headers.get("x-headwater-csrf");
    seen.posted.push(token);
    return token === seen.now.csrf ? Response.json({ done: true }) : Response.json({ error: { kind: "forbidden", message: "no" } }, { status: 403 });
  });
  return seen;
}

test("a request with the token of a session that another window has replaced is sent again, once", async () => {
  const seen = serverWith({ user: "ada", csrf: "first" });
  await loadSession();
  seen.now = { user: "ada", csrf: "second" };
  expect(await request("POST", "/tables/t/pause")).toEqual({ done: true });
  expect(seen.posted).toEqual(["first", "second"]);
  // What is refused for another reason is refused.
  const refused = vi.fn(async (_path: string, { method }: { method: string }) => (method === "GET" ? Response.json({ ...seen.now, role: "reader", open: false }) : Response.json({ error: { kind: "forbidden", message: "no" } }, { status: 403 })));
  vi.stubGlobal("fetch", refused);
  await expect(request("POST", "/tables/t/pause")).rejects.toThrow("no");
  expect(refused.mock.calls.filter(([, { method }]) => method === "POST").length).toBe(1);
});

test("the next one begins with a page of his own", async () => {
  const seen = serverWith({ user: "ada", csrf: "of ada" });
  await loadSession();
  signedOut();
  await loadSession();
  expect([seen.loads, csrfToken()]).toEqual([0, "of ada"]);
  signedOut();
  seen.now = { user: "bob", csrf: "of bob" };
  await loadSession();
  expect([seen.loads, csrfToken()]).toEqual([1, undefined]);
});
