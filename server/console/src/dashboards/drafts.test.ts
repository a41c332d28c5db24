import { afterEach, expect, test, vi } from "vitest";
import { emptyDashboard } from "./model";

afterEach(() => vi.unstubAllGlobals());

test("what somebody left unsaved is there again for him, and for nobody else", async () => {
  const kept = new Map<string, string>();
  vi.stubGlobal("sessionStorage", { getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => kept.set(key, value) });
  // The page that is loaded anew for somebody else has the same storage.
  const pageOf = async (user: string) => {
    vi.resetModules();
    vi.stubGlobal("fetch", async () => Response.json({ user, role: "administrator", csrf: "x", open: false }));
    const [session, drafts] = [await import("../api/session"), await import("./drafts")];
    await session.loadSession();
    return drafts;
  };
  const draft = { dashboard: emptyDashboard("of ada"), base: "1" };
  (await pageOf("ada")).keepDraft("d", draft);
  expect((await pageOf("bob")).keptDraft("d")).toBeNull();
  expect((await pageOf("ada")).keptDraft("d")).toEqual(draft);
});
