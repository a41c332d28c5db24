// The ways that lead to a dashboard: from an answer in the Query view, and from a table.
import type { Locator, Page } from "@playwright/test";
import { button, call, type Document, figure, make, number, stored } from "./boards";
import { expect, expectAccessible, picture, type Server, test } from "./fixtures";

const dialog = (page: Page, name: string): Locator => page.getByRole("dialog", { name, exact: true });
const card = (page: Page, title: string): Locator => page.getByRole("region", { name: title, exact: true });
/** A button of a part of the page. */
const inside = (where: Locator, name: string): Locator => where.getByRole("button", { name, exact: true });

const select = (where: Page | Locator, name: string): Locator => where.getByRole("combobox", { name, exact: true });

const PER_VEHICLE = "SELECT vehicle, status, count(*) AS events FROM rides GROUP BY 1, 2 ORDER BY 1, 2";

const boardOf = (title: string): Document => ({ title, refresh_ms: 1000, time: { last: "15m" }, variables: [], panels: [number("first", "SELECT count(*) AS events FROM rides", 0)] });

/** A dashboard of the test's own, under a title that no other one has. */
async function makeBoard(server: Server): Promise<{ id: string; title: string }> {
  const title = `Board ${Date.now()}`;
  return { id: await make(server, boardOf(title)), title };
}

/** The answer to a statement, in the Query view. */
async function ask(page: Page, sql: string): Promise<void> {
  await page.goto(`/query#sql=${encodeURIComponent(sql)}`);
  await expect(page.getByRole("grid", { name: "Rows of the answer" })).toBeVisible();
}

const idIn = (page: Page) => new URL(page.url()).pathname.split("/").at(-1) ?? "";

test("an answer becomes a panel of a new dashboard, drawn as it is, by keyboard only", async ({ page, server }) => {
  await ask(page, PER_VEHICLE);
  await page.getByRole("tab", { name: "Chart" }).click();
  await select(page, "Chart").selectOption({ label: "Areas" });
  await select(page, "X axis").selectOption("vehicle");
  await select(page, "One series for each").selectOption("status");
  await page.getByRole("textbox", { name: "SQL" }).focus();
  await page.keyboard.press("Alt+a");
  const adding = dialog(page, "Add to dashboard");
  await expect(select(adding, "Dashboard")).toBeFocused();
  await expect(adding.getByLabel("Title of the panel")).toHaveValue("events by vehicle");
  await expect(select(adding, "Shown as")).toHaveValue("area");
  await expect(adding.getByLabel("Statement of the panel")).toHaveText(PER_VEHICLE);
  await expect(inside(adding, "Add the panel")).toBeDisabled();
  await picture(page, "add-panel");
  await expectAccessible(page);
  await page.keyboard.press("Tab");
  await page.keyboard.insertText(`From a query ${Date.now()}`);
  await page.keyboard.press("Enter");
  const added = dialog(page, "Added");
  await expect(added.getByRole("status")).toContainText("“events by vehicle” is on “From a query");
  await expect(added.getByRole("link", { name: "Open the dashboard" })).toBeFocused();
  await picture(page, "add-panel-done");
  await expectAccessible(page);
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/\/dashboards\/from-a-query-/);
  const panel = card(page, "events by vehicle");
  await expect(panel.locator("canvas")).toBeVisible();
  await expect(panel).toBeFocused();
  expect((await stored(server, idIn(page))).panels).toMatchObject([{ sql: PER_VEHICLE, kind: "area", x: "vehicle", y: ["events"], by: "status" }]);
  await picture(page, "add-panel-board");
  await expectAccessible(page);
});

test("rows become a table, one row a number, and the next panel goes where the last one went", async ({ page, server }) => {
  const board = await makeBoard(server);
  await ask(page, "SELECT city, count(*) AS n FROM rides GROUP BY city ORDER BY n DESC LIMIT 5");
  await button(page, "Add to dashboard").click();
  const adding = dialog(page, "Add to dashboard");
  await select(adding, "Dashboard").selectOption({ label: board.title });
  await expect(adding.getByLabel("Title of the dashboard")).toHaveCount(0);
  await expect(adding.getByLabel("Title of the panel")).toHaveValue("rides");
  await adding.getByLabel("Title of the panel").fill("Cities");
  await inside(adding, "Add the panel").click();
  await inside(dialog(page, "Added"), "Back to the query").click();
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(button(page, "Add to dashboard")).toBeFocused();

  await ask(page, "SELECT count(*) AS events FROM rides");
  await page.getByRole("tab", { name: "Chart" }).click();
  await button(page, "Add to dashboard").click();
  await expect(select(adding, "Dashboard")).toHaveValue(board.id);
  await expect(select(adding, "Shown as")).toHaveValue("number");
  await inside(adding, "Add the panel").click();
  await dialog(page, "Added").getByRole("link").click();
  await expect(page.getByRole("heading", { name: board.title })).toBeVisible();
  await expect(card(page, "Cities").getByRole("grid")).toBeVisible();
  const number = card(page, "events");
  await expect(number.locator("strong")).toBeVisible();
  const before = await figure(number);
  await expect.poll(() => figure(number), { timeout: 15_000 }).toBeGreaterThan(before);
  expect((await stored(server, board.id)).panels.map(({ id, title, kind }) => [id, title, kind])).toEqual([
    ["first", "first", "number"],
    ["p2", "Cities", "table"],
    ["p3", "events", "number"],
  ]);
});

test("what somebody else saves at the same moment stays, and what is being edited here gets the panel too", async ({ page, server }) => {
  const board = await makeBoard(server);
  await page.goto(`/dashboards/${board.id}`);
  await button(page, "Edit").click();
  await button(page, "Settings").click();
  await page.getByLabel("Title").fill("Mine, not saved");
  await button(page, "Take over").click();
  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "Query" }).click();
  await ask(page, PER_VEHICLE);
  await button(page, "Add to dashboard").click();
  const adding = dialog(page, "Add to dashboard");
  await select(adding, "Dashboard").selectOption({ label: board.title });
  await adding.getByLabel("Title of the panel").fill("Mine");
  await inside(adding, "Add the panel").click();
  await dialog(page, "Added").getByRole("link").click();
  await expect(page.getByRole("heading", { name: "Mine, not saved" })).toBeVisible();
  await expect(card(page, "Mine")).toBeVisible();
  await button(page, "Save").click();
  await expect(page.getByText("Saved as version 3")).toBeVisible();
  expect((await stored(server, board.id)).panels.map(({ title }) => title)).toEqual(["first", "Mine"]);

  // Between reading and writing somebody else is faster.
  let writes = 0;
  await page.route(`**/dashboards/${board.id}`, async (route) => {
    if (route.request().method() === "PUT" && ++writes === 1) expect((await call(server, "PUT", board.id, { "if-match": "*" }, boardOf("Theirs"))).status).toBe(200);
    await route.continue();
  });
  await ask(page, PER_VEHICLE);
  await button(page, "Add to dashboard").click();
  await select(adding, "Dashboard").selectOption(board.id);
  await inside(adding, "Add the panel").click();
  await expect(dialog(page, "Added")).toBeVisible();
  expect(writes).toBe(2);
  const after = await stored(server, board.id);
  expect([after.title, after.panels.map(({ title }) => title)]).toEqual(["Theirs", ["first", "rides"]]);
});

test("what cannot be added says why, and what was written stays", async ({ page, server }) => {
  const board = await makeBoard(server);
  await ask(page, PER_VEHICLE);
  await button(page, "Add to dashboard").click();
  const adding = dialog(page, "Add to dashboard");
  await select(adding, "Dashboard").selectOption(board.id);
  await adding.getByLabel("Title of the panel").fill("Kept");
  expect((await call(server, "DELETE", board.id, { "if-match": "*" })).status).toBe(204);
  await inside(adding, "Add the panel").click();
  await expect(adding.getByRole("alert")).toContainText(board.id);
  await expect(adding.getByLabel("Title of the panel")).toHaveValue("Kept");
  // What is gone cannot be chosen any more.
  await expect(select(adding, "Dashboard").getByRole("option", { name: board.title })).toHaveCount(0);
  await picture(page, "add-panel-refused");
  await expectAccessible(page);
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  // A plan is no answer that a panel could show.
  await button(page, "Explain").click();
  await expect(page.getByRole("tab", { name: "Plan" })).toBeVisible();
  await expect(button(page, "Add to dashboard")).toBeDisabled();
});

test("a reader is offered neither", async ({ page }) => {
  await page.route("**/session", (route) => route.fulfill({ json: { user: "reader", role: "reader", csrf: "x", open: false } }));
  await ask(page, PER_VEHICLE);
  await expect(button(page, "Copy link")).toBeVisible();
  await expect(button(page, "Add to dashboard")).toHaveCount(0);
  await page.keyboard.press("Alt+a");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await page.goto("/tables/rides");
  await expect(page.getByRole("link", { name: "Query", exact: true }).last()).toBeVisible();
  await expect(button(page, "New dashboard")).toHaveCount(0);
});

test("a table's dashboard is proposed, made and moves", async ({ page, server }) => {
  await page.goto("/tables/rides");
  await button(page, "New dashboard").click();
  const proposal = dialog(page, "New dashboard over rides");
  await expect(proposal.getByLabel("Title")).toBeFocused();
  const panels = proposal.getByRole("checkbox");
  await expect(panels).toHaveCount(6);
  for (const name of [/^Events per (second|minute)/, /^Rows per second/, /^Behind the topic/, /^Top vehicle/, /^Top status/]) await expect(proposal.getByRole("checkbox", { name })).toBeChecked();
  await picture(page, "proposal");
  await expectAccessible(page);
  const title = `Rides at a glance ${Date.now()}`;
  await proposal.getByLabel("Title").fill(title);
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/\/dashboards\/rides-at-a-glance-/);
  await expect(page.getByRole("heading", { name: title })).toBeVisible();
  for (const name of ["Top vehicle", "Top status"]) await expect(card(page, name).locator("canvas")).toBeVisible();
  await expect(page.getByRole("region", { name: /^Events per/ }).locator("canvas")).toBeVisible();
  for (const name of ["Rows per second", "Behind the topic"]) await expect(card(page, name).locator("strong")).toHaveText(/^[\d,.]+$/);
  const rows = card(page, "Rows");
  const before = await figure(rows);
  await expect.poll(() => figure(rows), { timeout: 15_000 }).toBeGreaterThan(before);
  expect(await stored(server, idIn(page))).toMatchObject({ title, refresh_ms: 1000 });
  await picture(page, "proposal-board");
  await expectAccessible(page);
});

test("from a topic to a dashboard that moves, in seconds", async ({ page, server }) => {
  const { table } = (await (await fetch(`${server.url}/tables/rides`)).json()) as { table: { spec: { stream: { brokers: string[] } } } };
  const name = `rides_seen_${Date.now()}`;
  await page.goto("/tables");
  await button(page, "Table from a topic").click();
  await page.getByLabel("Brokers", { exact: true }).fill(table.spec.stream.brokers.join(","));
  await page.getByLabel("Topic", { exact: true }).fill("rides");
  await button(page, "Look at the topic").click();
  await page.getByLabel("Table", { exact: true }).fill(name);
  const madeNow = page.getByRole("region", { name: "What now" });
  try {
    await button(page, "Make the table").click();
    await expect(page).toHaveURL(new RegExp(`/tables/${name}$`));
    await expect(madeNow).toContainText(`${name} is there and reads its topic.`);
    await picture(page, "table-made");
    await expectAccessible(page);
    await inside(madeNow, "Show it as a dashboard").click();
    const proposal = dialog(page, `New dashboard over ${name}`);
    await expect(proposal.getByRole("checkbox", { name: /^Top / })).toHaveCount(2);
    await proposal.getByRole("checkbox", { name: /^Behind the topic/ }).uncheck();
    await inside(proposal, "Create").click();
    const rows = card(page, "Rows");
    await expect(rows.locator("strong")).toBeVisible();
    const before = await figure(rows);
    await expect.poll(() => figure(rows), { timeout: 15_000 }).toBeGreaterThan(before);
    await expect(card(page, "Behind the topic")).toHaveCount(0);
    await picture(page, "table-made-board");
    // The address of a table that was just made says so once.
    await page.goBack();
    await expect(page.getByRole("heading", { name, exact: true })).toBeVisible();
    await expect(madeNow).toHaveCount(0);
  } finally {
    await fetch(`${server.url}/tables/${name}?purge=true`, { method: "DELETE" });
  }
});

test.describe("in a narrow window", () => {
  test.use({ viewport: { width: 420, height: 800 } });
  test("the dialogs and what opens them fit", async ({ page }) => {
    const fits = async () => expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(420);
    await ask(page, PER_VEHICLE);
    await picture(page, "query-narrow");
    await button(page, "Add to dashboard").click();
    await expect(dialog(page, "Add to dashboard")).toBeVisible();
    await fits();
    await picture(page, "add-panel-narrow");
    await page.keyboard.press("Escape");
    await page.goto("/tables/rides");
    await button(page, "New dashboard").click();
    await expect(dialog(page, "New dashboard over rides").getByRole("checkbox")).toHaveCount(6);
    await fits();
    await picture(page, "proposal-narrow");
    await page.keyboard.press("Escape");
    await picture(page, "table-narrow");
    await fits();
  });
});
