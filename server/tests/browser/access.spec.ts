// A server with users: signing in and out, sessions that end, and what a reader may not do.
import type { BrowserContext, Page } from "@playwright/test";
import { test as base, expect, expectAccessible, newContext, picture, query } from "./fixtures";
import { copyRides, type Guarded, START_WAIT_MS, startGuarded, STOP_WAIT_MS, type User } from "./servers";

const ADA: User = { name: "ada", password: "correct horse battery", role: "administrator" };
const BOB: User = { name: "bob", password: "staple", role: "reader" };
const CAROL: User = { name: "carol", password: "forgets hers", role: "reader" };
const EVE: User = { name: "eve", password: "the first one", role: "administrator" };
const COOKIE = "headwater_session";
const SESSION_DAYS = 7;
const ENDLESS = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.value * b.value) % 7 = 1";

const test = base.extend<object, { guarded: Guarded }>({
  guarded: [
    async ({ server }, use) => {
      const guarded = await startGuarded([ADA, BOB, CAROL, EVE]);
      try {
        await copyRides(server.url, guarded.url, ADA);
        await use(guarded);
      } finally {
        await guarded.end();
      }
    },
    { scope: "worker", timeout: 2 * START_WAIT_MS + STOP_WAIT_MS },
  ],
  baseURL: async ({ guarded }, use) => use(guarded.url),
});

test.skip(!process.env.HEADWATER_BINARY, "servers with users are started from HEADWATER_BINARY");

const button = (page: Page, name: string | RegExp) => page.getByRole("button", { name, exact: typeof name === "string" });
const form = (page: Page) => page.getByRole("heading", { name: "Sign in" }).last();

async function fillIn(page: Page, { name, password }: Pick<User, "name" | "password">): Promise<void> {
  await page.getByLabel("User").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.keyboard.press("Enter");
}

async function signIn(page: Page, user: User, path: string): Promise<void> {
  await page.goto(path);
  await fillIn(page, user);
  await expect(form(page)).toHaveCount(0);
}

const cookieOf = async (context: BrowserContext) => (await context.cookies()).find(({ name }) => name === COOKIE);

/** The status of a request that the page itself sends. */
const asked = (page: Page, method: string, path: string, headers: Record<string, string> = {}) =>
  page.evaluate(async ([method, path, headers]) => (await fetch(path, { method, headers, body: method === "POST" ? '{"sql": "SELECT 1"}' : undefined })).status, [method, path, { "content-type": "application/json", ...headers }] as const);

test("keeps out who shows a wrong password, and leads to where one wanted to go", async ({ page, context }) => {
  await page.goto("/tables/rides#schema");
  await expect(page).toHaveTitle("Sign in · Headwater");
  await expect(page.getByLabel("User")).toBeFocused();
  await expect(page.getByRole("navigation", { name: "Views" }).getByRole("link")).toHaveCount(0);
  await expect(button(page, "Sign out")).toHaveCount(0);
  await picture(page, "sign-in");
  await expectAccessible(page);
  await fillIn(page, { ...BOB, password: "wrong" });
  await expect(page.getByRole("alert")).toContainText(/Not let in.*password/i);
  expect(await cookieOf(context)).toBeUndefined();
  await picture(page, "sign-in-wrong");
  await expectAccessible(page);
  await fillIn(page, BOB);
  await expect(page).toHaveURL(/\/tables\/rides#schema$/);
  await expect(page.getByRole("row", { name: /event_time.*TIMESTAMP\(3\)/ })).toBeVisible();
  await expect(page).toHaveTitle("rides · Headwater");
  await expect(page.getByRole("banner")).toContainText("bob");
  // And stays in over a reload.
  await page.reload();
  await expect(page.getByRole("row", { name: /event_time.*TIMESTAMP\(3\)/ })).toBeVisible();
});

test("a link to a statement runs it as soon as one is in", async ({ page }) => {
  await signIn(page, BOB, `/query#sql=${encodeURIComponent("SELECT 40 + 2 AS answer")}`);
  await expect(page.getByRole("grid", { name: "Rows of the answer" }).getByRole("gridcell", { name: "42" })).toBeVisible();
});

test("the session's cookie is out of reach of scripts and of other sites, and alone changes nothing", async ({ page, context }) => {
  await signIn(page, ADA, "/tables");
  const cookie = await cookieOf(context);
  expect(cookie).toMatchObject({ httpOnly: true, sameSite: "Strict", path: "/", domain: "127.0.0.1" });
  const days = ((cookie?.expires ?? 0) - Date.now() / 1000) / 86_400;
  expect(days).toBeGreaterThan(SESSION_DAYS - 0.1);
  expect(days).toBeLessThanOrEqual(SESSION_DAYS);
  expect(await page.evaluate(() => document.cookie)).toBe("");

  const sent = page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/sql"));
  const csrf = (await (await sent).headerValue("x-headwater-csrf")) ?? "";
  const session = await page.evaluate(async () => (await (await fetch("/session")).json()) as { csrf: string });
  expect(csrf).toBe(session.csrf);
  expect(csrf.length).toBeGreaterThan(30);
  expect(await asked(page, "POST", "/sql")).toBe(403);
  expect(await asked(page, "POST", "/sql", { "x-headwater-csrf": "0".repeat(csrf.length) })).toBe(403);
  expect(await asked(page, "POST", "/sql", { "x-headwater-csrf": csrf })).toBe(200);
});

test("signing out ends the session", async ({ page, context }) => {
  await signIn(page, ADA, "/query");
  await page.getByRole("link", { name: "Cluster" }).click();
  await expect(page.getByRole("heading", { name: "Nodes" })).toBeVisible();
  const before = await cookieOf(context);
  // A lost server is said, and one stays in.
  await context.setOffline(true);
  await button(page, "Sign out").click();
  await expect(page.getByText("The server cannot be reached.", { exact: true })).toBeVisible();
  await context.setOffline(false);
  await button(page, "Sign out").click();
  await expect(form(page)).toBeVisible();
  expect(await cookieOf(context)).toBeUndefined();
  // What was copied of it is worth nothing.
  const stolen = await fetch(`${new URL(page.url()).origin}/session`, { headers: { cookie: `${COOKIE}=${before?.value}` } });
  expect(stolen.status).toBe(401);
  await page.goBack();
  await expect(page).toHaveURL(/\/query$/);
  await expect(form(page)).toBeVisible();
});

test("the next one on the same page sees neither answers nor statements of the one before", async ({ page }) => {
  await signIn(page, ADA, `/query#sql=${encodeURIComponent("SELECT 'of ada only' AS secret")}`);
  const answer = page.getByRole("gridcell", { name: "of ada only" });
  await expect(answer).toBeVisible();
  await button(page, "Sign out").click();
  await expect(form(page)).toBeVisible();
  await fillIn(page, BOB);
  await expect(page.getByRole("textbox", { name: "SQL" })).toBeVisible();
  await expect(page.getByRole("banner")).toContainText("bob");
  await expect(answer).toHaveCount(0);
  await page.goto("/query");
  await expect(page.getByRole("textbox", { name: "SQL" })).toBeVisible();
  await expect(page.getByText("of ada only")).toHaveCount(0);
  await button(page, "History").click();
  await expect(page.getByText("of ada only")).toHaveCount(0);
});

test("a session that ends while one watches is asked for again, and one goes on where one was", async ({ page, guarded }) => {
  await signIn(page, EVE, "/tables/rides#schema");
  await expect(page.getByRole("row", { name: /event_time/ })).toBeVisible();
  const renewed = { ...EVE, password: `another one ${Date.now()}` };
  await guarded.setUsers([ADA, BOB, CAROL, renewed]);
  try {
    await expect(form(page)).toBeVisible({ timeout: 20_000 });
    await fillIn(page, EVE);
    await expect(page.getByRole("alert")).toContainText(/password/i);
    await fillIn(page, renewed);
    await expect(page).toHaveURL(/\/tables\/rides#schema$/);
    await expect(page.getByRole("row", { name: /event_time/ })).toBeVisible();
  } finally {
    await guarded.setUsers([ADA, BOB, CAROL, EVE]);
  }
});

test("what is not saved outlives the end of a session", async ({ page, context }) => {
  await signIn(page, ADA, "/dashboards");
  await button(page, "New dashboard").click();
  await page.keyboard.insertText(`Unsaved ${Date.now()}`);
  await page.keyboard.press("Enter");
  await button(page, "Settings").click();
  await page.getByLabel("Title").fill("Written before the end");
  await button(page, "Take over").click();
  await context.clearCookies();
  await button(page, "Save").click();
  await expect(form(page)).toBeVisible();
  await fillIn(page, ADA);
  await expect(page.getByRole("heading", { name: "Written before the end" })).toBeVisible();
  await button(page, "Save").click();
  await expect(page.getByText("Saved as version 2")).toBeVisible();
});

test("who signs in anew in one window goes on in the others", async ({ page, context }) => {
  await signIn(page, ADA, "/query");
  const other = await context.newPage();
  await other.goto("/tables/rides");
  await button(other, "Sign out").click();
  await expect(form(other)).toBeVisible();
  await fillIn(other, ADA);
  await expect(form(other)).toHaveCount(0);
  await page.bringToFront();
  await page.getByRole("textbox", { name: "SQL" }).click();
  await page.keyboard.insertText("SELECT 40 + 2 AS answer");
  await page.keyboard.press("Escape");
  await page.keyboard.press("ControlOrMeta+Enter");
  await expect(page.getByRole("gridcell", { name: "42" })).toBeVisible();
  await other.close();
});

test("a window that asks who one is goes on when one has said so in another", async ({ page, context }) => {
  await page.goto("/tables/rides#schema");
  await expect(form(page)).toBeVisible();
  const other = await context.newPage();
  await signIn(other, ADA, "/cluster");
  await expect(page.getByRole("row", { name: /event_time/ })).toBeVisible();
  await other.close();
});

test("a reader sees nothing that he may not use", async ({ page, browser, guarded }) => {
  const changing = await newContext(browser, guarded.url);
  const administrator = await changing.newPage();
  await signIn(administrator, ADA, "/dashboards");
  await button(administrator, "New dashboard").click();
  await administrator.keyboard.insertText("Read by bob");
  await administrator.keyboard.press("Enter");
  await expect(administrator.getByText("No panels yet")).toBeVisible();
  const path = new URL(administrator.url()).pathname;
  await changing.close();

  await signIn(page, BOB, "/tables");
  await expect(page.getByRole("row", { name: /rides/ })).toBeVisible();
  await expect(button(page, "Table from a topic")).toHaveCount(0);
  await page.getByRole("link", { name: "rides" }).click();
  await expect(page.getByRole("region", { name: "Partitions of rides" }).getByRole("row")).toHaveCount(5);
  await expect(page.getByRole("link", { name: "Query" }).last()).toBeVisible();
  for (const name of ["Pause", "Resume", "Seal", "Drop…", /^Actions of partition/]) await expect(button(page, name)).toHaveCount(0);
  await picture(page, "table-of-a-reader");
  await page.getByRole("tab", { name: "Spec", exact: true }).click();
  await expect(page.getByText("Only administrators change it.")).toBeVisible();
  await expect(button(page, /^Apply/)).toHaveCount(0);
  const spec = page.getByRole("textbox", { name: /Spec of rides/ });
  await spec.click();
  await page.keyboard.type("nonsense");
  await expect(spec).not.toContainText("nonsense");

  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "Dashboards" }).click();
  await expect(page.getByRole("link", { name: /Read by bob/ }).first()).toBeVisible();
  for (const name of ["New dashboard", "Import"]) await expect(button(page, name)).toHaveCount(0);
  await button(page, "Actions of Read by bob").first().click();
  await expect(page.getByRole("menuitem", { name: "Export as JSON" })).toBeVisible();
  await expect(page.getByRole("menuitem", { name: "Delete…" })).toHaveCount(0);
  await page.goto(`${path}#edit`);
  await expect(page.getByRole("heading", { name: "Read by bob" })).toBeVisible();
  await page.keyboard.press("e");
  for (const name of ["Edit", "Save", "Add a panel"]) await expect(button(page, name)).toHaveCount(0);
  await button(page, "More").click();
  await expect(page.getByRole("menuitem", { name: "Copy the read-only link" })).toBeVisible();
  for (const name of ["Make a copy", "Delete…"]) await expect(page.getByRole("menuitem", { name })).toHaveCount(0);
});

test("who may change nothing any more is told so, and sees it", async ({ page, guarded }) => {
  await signIn(page, EVE, "/tables/rides");
  await expect(button(page, "Seal")).toBeVisible();
  await guarded.setUsers([ADA, BOB, CAROL, { ...EVE, role: "reader" }]);
  try {
    // The page has not heard of it: the server refuses.
    await expect
      .poll(() => page.evaluate(async () => ((await (await fetch("/session")).json()) as { role: string }).role), { timeout: 20_000 })
      .toBe("reader");
    await button(page, "Seal").click();
    await expect(page.getByText(/administrator/)).toBeVisible();
    await expect(button(page, "Seal")).toHaveCount(0);
    await expect(page.getByRole("region", { name: "Partitions of rides" }).getByRole("row")).toHaveCount(5);
  } finally {
    await guarded.setUsers([ADA, BOB, CAROL, EVE]);
  }
});

test("a reader ends queries of his own only", async ({ page, guarded, browser }) => {
  const ofAda = query(guarded.url, `${ENDLESS} -- asked by ada`, ADA).catch((error: Error) => error.message);
  const ofBob = query(guarded.url, `${ENDLESS} -- asked by bob`, BOB).catch((error: Error) => error.message);
  await signIn(page, BOB, "/cluster");
  const running = page.getByRole("region", { name: "Running queries" });
  const row = (who: string) => running.getByRole("row", { name: new RegExp(`asked by ${who}`) });
  await expect(row("ada")).toContainText("ada");
  await expect(row("ada").getByRole("button", { name: /^Kill/ })).toHaveCount(0);
  await picture(page, "cluster-of-a-reader");
  await row("bob").getByRole("button", { name: /^Kill/ }).click();
  await expect(page.getByText("The query was told to end.")).toBeVisible();
  expect(await ofBob).toMatch(/cancel/i);
  await expect(row("bob")).toHaveCount(0);
  await expect(row("ada")).toBeVisible();

  const changing = await newContext(browser, guarded.url);
  const administrator = await changing.newPage();
  await signIn(administrator, ADA, "/cluster");
  await administrator.getByRole("row", { name: /asked by ada/ }).getByRole("button", { name: /^Kill/ }).first().click();
  expect(await ofAda).toMatch(/cancel/i);
  await changing.close();
});

test("who guesses is made to wait, and told for how long", async ({ page }) => {
  await page.goto("/query");
  // Each further guess doubles the wait: until it is longer than what a slow machine takes to fill in the form once more.
  for (let i = 0, wait = 0; wait < 4; i++) {
    expect(i).toBeLessThan(20);
    await page.waitForTimeout(1000 * wait);
    const refused = page.waitForResponse((response) => response.request().method() === "POST" && response.url().endsWith("/session"));
    await fillIn(page, { ...CAROL, password: `guess ${i}` });
    const answer = await refused;
    expect([401, 429]).toContain(answer.status());
    wait = Number(answer.headers()["retry-after"] ?? 0);
    await expect(button(page, "Sign in")).toBeEnabled();
  }
  await fillIn(page, CAROL);
  await expect(page.getByRole("alert")).toContainText(/\d+ ?s/);
  await expect(form(page)).toBeVisible();
});
