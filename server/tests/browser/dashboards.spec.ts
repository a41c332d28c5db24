// Dashboards, used as a person does: watched, made, arranged, shared, and edited by two at once.
import { readFile } from "node:fs/promises";
import { button, call, type Document, documentOf, figure, make, number, open, panel, retitle, stored, writeSql } from "./boards";
import { expect, expectAccessible, picture, query, test } from "./fixtures";

test("the demo's dashboard moves while events flow, and nothing blinks", async ({ page }) => {
  await page.goto("/d/rides");
  await expect(page.getByText("Rides, live")).toBeVisible();
  await expect(page.getByRole("status").filter({ hasText: "live" })).toBeVisible();
  const events = panel(page, "events");
  await expect(events.locator("strong")).toBeVisible();
  for (const id of ["status", "vehicles", "payments"]) await expect(panel(page, id).locator("canvas")).toBeVisible();
  await expect(panel(page, "cities").getByRole("grid")).toBeVisible();
  // From here on every element that is taken out of a panel is noted: an update changes what is there.
  await page.evaluate(() => {
    const gone: string[] = [];
    Object.assign(window, { gone });
    const observer = new MutationObserver((records) => {
      for (const { removedNodes } of records) for (const node of removedNodes) if (node instanceof HTMLElement && node.matches("canvas, .board-number, .chart, .grid, .board-panel")) gone.push(node.className || node.tagName);
    });
    observer.observe(document.querySelector(".board-grid") as Element, { childList: true, subtree: true });
  });
  const before = await figure(events);
  await expect.poll(() => figure(events), { timeout: 15_000 }).toBeGreaterThan(before);
  const between = await figure(events);
  await expect.poll(() => figure(events), { timeout: 15_000 }).toBeGreaterThan(between);
  expect(await page.evaluate(() => (window as unknown as { gone: string[] }).gone)).toEqual([]);
  // A read-only link has no navigation and nothing to change.
  await expect(page.getByRole("navigation", { name: "Views" })).toHaveCount(0);
  await expect(button(page, "Edit")).toHaveCount(0);
  await picture(page, "dashboard");
  await expectAccessible(page);
});

test("variables and time range are in the address, and a link reproduces them", async ({ page, server }) => {
  const id = await make(server, documentOf("Cities"));
  await page.goto(`/dashboards/${id}`);
  const [[city]] = (await query(server.url, "SELECT city FROM rides GROUP BY city ORDER BY count(*) DESC LIMIT 1")) as [[string]];
  await expect(panel(page, "chosen").locator("strong")).toBeVisible();
  await page.getByLabel("City").selectOption(city);
  await page.getByLabel("Time range").selectOption({ label: "Last hour" });
  await expect(page).toHaveURL(new RegExp(`\\?last=1h&var\\.city=`));
  await expect.poll(async () => (await figure(panel(page, "chosen"))) < (await figure(panel(page, "all"))) / 2).toBe(true);
  await page.reload();
  await expect(page.getByLabel("City")).toHaveValue(city);
  await expect(page.getByLabel("Time range")).toHaveValue("1h");
  await expect.poll(async () => (await figure(panel(page, "chosen"))) < (await figure(panel(page, "all"))) / 2).toBe(true);
  // The link that is copied shows the same to whoever opens it.
  await button(page, "More").click();
  await page.getByRole("menuitem", { name: "Copy the read-only link" }).click();
  const link = await page.evaluate(() => navigator.clipboard.readText());
  expect(new URL(link).pathname).toBe(`/d/${id}`);
  await page.goto(link);
  await expect(page.getByLabel("City")).toHaveValue(city);
});

test("a dashboard is made, arranged by hand, saved and found again", async ({ page }) => {
  await page.goto("/dashboards");
  await button(page, "New dashboard").click();
  // A dialog begins with what is to be filled in.
  await expect(page.getByLabel("Title")).toBeFocused();
  await page.keyboard.insertText(`Made by hand ${Date.now()}`);
  await page.keyboard.press("Enter");
  await expect(page.getByText("No panels yet")).toBeVisible();
  await picture(page, "dashboard-empty");
  await expectAccessible(page);

  await button(page, "Add a panel").click();
  await page.getByLabel("Title").fill("Fares by vehicle");
  await writeSql(page, "SELECT nobody FROM rides");
  await page.keyboard.press("Control+Enter");
  await expect(page.getByRole("alert")).toContainText("nobody");
  await writeSql(page, "SELECT vehicle, sum(fare) AS fares, count(*) AS events FROM rides WHERE event_time >= $time_from GROUP BY vehicle ORDER BY fares DESC");
  await page.keyboard.press("Control+Enter");
  // As the answer suggests, until somebody picks another way.
  await expect(page.getByRole("radio", { name: "Bars" })).toBeChecked();
  await expect(page.getByRole("dialog").locator("canvas")).toBeVisible();
  await page.getByRole("checkbox", { name: "fares" }).check();
  await expectAccessible(page);
  await button(page, "Add the panel").click();
  await expect(page.locator(".board-panel canvas")).toBeVisible();
  // What was made is what one goes on with.
  await expect(page.getByRole("region", { name: "Fares by vehicle" })).toBeFocused();
  await button(page, "Panel").click();
  await page.getByLabel("Title").fill("Events");
  await writeSql(page, "SELECT count(*) AS events FROM rides");
  await page.getByText("Big number", { exact: true }).click();
  await button(page, "Add the panel").click();

  // Dragged by its head, resized by its corner.
  const number = page.getByRole("region", { name: "Events", exact: true });
  await expect(number.locator("strong")).toBeVisible();
  const bars = page.getByRole("region", { name: "Fares by vehicle" });
  const head = await number.locator("header h2").boundingBox();
  const left = await bars.boundingBox();
  if (!head || !left) throw new Error("the panels are not in sight");
  await page.mouse.move(head.x + 10, head.y + 8);
  await page.mouse.down();
  await page.mouse.move(left.x + 60, left.y + 12, { steps: 12 });
  await page.mouse.up();
  await expect.poll(async () => (await number.boundingBox())?.x).toBe(left.x);
  const corner = await page.locator(".react-grid-item", { has: number }).locator(".react-resizable-handle-se").boundingBox();
  if (!corner) throw new Error("there is no corner");
  const before = await number.boundingBox();
  await page.mouse.move(corner.x + 8, corner.y + 8);
  await page.mouse.down();
  await page.mouse.move(corner.x - 240, corner.y - 120, { steps: 12 });
  await page.mouse.up();
  await expect.poll(async () => (await number.boundingBox())?.width ?? 0).toBeLessThan(before?.width ?? 0);
  await picture(page, "dashboard-edited");
  await expectAccessible(page);
  await page.keyboard.press("Control+s");
  await expect(page.getByText("Saved as version 2")).toBeVisible();
  await expect(button(page, "Edit")).toBeVisible();
  const saved = await number.boundingBox();
  await page.reload();
  await expect(number.locator("strong")).toBeVisible();
  expect(await number.boundingBox()).toMatchObject({ x: saved?.x, width: saved?.width });
  // It is live now, without anybody having asked for it.
  const shown = await figure(number);
  await expect.poll(() => figure(number), { timeout: 15_000 }).toBeGreaterThan(shown);
  await page.goto("/dashboards");
  await expect(page.getByRole("link", { name: /Made by hand/ }).first()).toBeVisible();
  await picture(page, "dashboards");
  await expectAccessible(page);
});

test("by keyboard only: moved, resized, removed, saved", async ({ page, server }) => {
  const id = await open(page, server, documentOf("By keyboard"));
  await page.keyboard.press("e");
  await expect(page.getByText("By keyboard: arrows move")).toBeVisible();
  const chosen = panel(page, "chosen");
  while (!(await chosen.evaluate((element) => element === document.activeElement))) await page.keyboard.press("Tab");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Shift+ArrowLeft");
  await page.keyboard.press("Shift+ArrowDown");
  await expect(chosen).toBeFocused();
  const all = panel(page, "all");
  while (!(await all.evaluate((element) => element === document.activeElement))) await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Delete");
  await expect(all).toHaveCount(0);
  await expect(chosen).toBeFocused();
  await page.keyboard.press("Control+s");
  await expect(page.getByText("Saved as version 2")).toBeVisible();
  const saved = await stored(server, id);
  expect(saved.panels.map((one) => [one.id, one.at])).toEqual([["chosen", { x: 5, y: 0, w: 3, h: 4 }]]);
});

test("two who edit at once: the second is told, and loses nothing", async ({ page, server }) => {
  const id = await open(page, server, documentOf("Of two"));
  await button(page, "Edit").click();
  await retitle(page, "Mine");
  expect((await call(server, "PUT", id, { "if-match": "*" }, documentOf("Theirs"))).status).toBe(200);
  // What is unsaved survives a reload as well.
  await expect.poll(() => page.evaluate(() => JSON.stringify(sessionStorage))).toContain("Mine");
  page.once("dialog", (dialog) => void dialog.accept());
  await page.reload();
  await expect(page.getByRole("heading", { name: "Mine" })).toBeVisible();
  await button(page, "Save").click();
  const dialog = page.getByRole("dialog", { name: "Somebody else has changed this dashboard" });
  await expect(dialog).toContainText("Version 2");
  await expectAccessible(page);
  await dialog.getByRole("button", { name: "Save mine as a copy" }).click();
  await expect(page.getByRole("heading", { name: "Mine (copy)" })).toBeVisible();
  expect((await stored(server, id)).title).toBe("Theirs");
});

test("who watches sees a change of somebody else, and the end", async ({ page, server }) => {
  const id = await make(server, documentOf("Watched"));
  await page.goto(`/d/${id}`);
  await expect(panel(page, "chosen").locator("strong")).toBeVisible();
  const changed = { ...documentOf("Watched, changed"), panels: [number("other", "SELECT 42 AS answer", 0)] };
  expect((await call(server, "PUT", id, { "if-match": "*" }, changed)).status).toBe(200);
  await expect(page.getByRole("heading", { name: "Watched, changed" })).toBeVisible();
  await expect(panel(page, "other").locator("strong")).toHaveText("42");
  expect((await call(server, "DELETE", id, { "if-match": "*" })).status).toBe(204);
  await expect(page.getByText("This dashboard is not there")).toBeVisible();
});

test("what somebody else deletes while it is edited is kept as a copy", async ({ page, server }) => {
  const id = await open(page, server, documentOf("Of two, once"));
  await button(page, "Edit").click();
  await retitle(page, "Still mine");
  expect((await call(server, "DELETE", id, { "if-match": "*" })).status).toBe(204);
  await expect(page.getByRole("alert")).toContainText("Somebody else has deleted this dashboard");
  await expect(page.getByRole("heading", { name: "Still mine" })).toBeVisible();
  await expect(button(page, "Save")).toBeDisabled();
  await expectAccessible(page);
  // It survives a reload as well, before and after the server has said that there is nothing.
  page.once("dialog", (dialog) => void dialog.accept());
  await page.reload();
  await button(page, "Save mine as a copy").click();
  await expect(page.getByRole("heading", { name: "Still mine (copy)" })).toBeVisible();
});

test("what is changed while a save is under way is not lost", async ({ page, server }) => {
  const id = await open(page, server, documentOf("Slow"));
  let writes = 0;
  let goOn = () => {};
  const wait = new Promise<void>((resolve) => (goOn = resolve));
  await page.route(`**/dashboards/${id}`, async (route) => {
    if (route.request().method() !== "PUT") return route.continue();
    writes += 1;
    // For as long as it takes to change something.
    await wait;
    await route.continue();
  });
  await button(page, "Edit").click();
  await retitle(page, "First");
  await page.keyboard.press("Control+s");
  await retitle(page, "Second");
  await page.keyboard.press("Control+s");
  goOn();
  await expect(page.getByText("Saved as version 2")).toBeVisible();
  await expect(page.getByRole("heading", { name: "Second" })).toBeVisible();
  await button(page, "Save").click();
  await expect(page.getByText("Saved as version 3")).toBeVisible();
  expect(writes).toBe(2);
  expect((await stored(server, id)).title).toBe("Second");
});

test("a panel that is being written is not dropped without a question", async ({ page, server }) => {
  const id = await make(server, documentOf("Asked"));
  await page.goto(`/dashboards/${id}`);
  await button(page, "Edit").click();
  await button(page, "Panel").click();
  const editor = page.getByRole("dialog", { name: "New panel" });
  await editor.getByLabel("SQL of the panel").fill("SELECT 1 AS typed");
  const question = page.getByRole("dialog", { name: "Throw away what you have written?" });
  await page.keyboard.press("Escape");
  await expect(question).toBeVisible();
  await expectAccessible(page);
  // However often it is pressed.
  for (let i = 0; i < 4; i++) await page.keyboard.press("Escape");
  await expect(editor).toBeVisible();
  await expect(editor.getByLabel("SQL of the panel")).toHaveText("SELECT 1 AS typed");
  if (await question.isVisible()) await button(page, "Go on writing").click();
  await editor.getByRole("button", { name: "Close" }).click();
  await button(page, "Throw it away").click();
  await expect(page.getByRole("dialog")).toHaveCount(0);
});

test("a server that sends no events is not taken for a lost one", async ({ page, server }) => {
  const id = await make(server, documentOf("Refused"));
  let asked = 0;
  await page.route("**/live", (route) => {
    asked += 1;
    return route.fulfill({ status: 429, json: { error: { kind: "overloaded", message: "too many watch already" } } });
  });
  await page.goto(`/d/${id}`);
  await expect(page.getByRole("alert")).toContainText("too many watch already");
  await expect(page.getByRole("status").filter({ hasText: "not live" })).toBeVisible();
  await page.waitForTimeout(4000);
  await expect(page.getByText("The server cannot be reached")).toHaveCount(0);
  expect(asked).toBeLessThanOrEqual(2);
  await expectAccessible(page);
});

test("a stream that ends and comes back shows nothing of it", async ({ page, server }) => {
  const id = await make(server, documentOf("Ended on purpose"));
  const { etag } = Object.fromEntries((await call(server, "GET", id, {})).headers) as { etag: string };
  let asked = 0;
  let read = 0;
  page.on("request", (request) => (read += Number(request.url().endsWith(`/dashboards/${id}`) && request.resourceType() === "fetch")));
  await page.route("**/live", (route) => {
    asked += 1;
    return route.fulfill({ contentType: "text/event-stream", body: `retry: 200\nevent: beat\ndata: {"version":1,"etag":${etag}}\n\nevent: again\ndata: {}\n\n` });
  });
  await page.goto(`/d/${id}`);
  await expect.poll(() => asked, { timeout: 20_000 }).toBeGreaterThan(4);
  await expect(page.getByRole("status").filter({ hasText: /^live/ })).toBeVisible();
  await expect(page.getByRole("alert")).toHaveCount(0);
  expect(read).toBe(1);
});

test("a list that fails says so", async ({ page, server }) => {
  const broken = documentOf("Without a list");
  (broken.variables[0] as { sql: string }).sql = "SELECT nothing FROM rides";
  const id = await make(server, broken);
  await page.goto(`/d/${id}`);
  await expect(page.getByText("its list failed")).toBeVisible();
  await expect(panel(page, "chosen").locator("strong")).toBeVisible();
});

test("a table without rows says so, under its heads", async ({ page, server }) => {
  const empty = documentOf("Without rows");
  empty.panels.push({ ...number("none", "SELECT city FROM rides WHERE false", 8), kind: "table" });
  await open(page, server, empty);
  await expect(panel(page, "none").getByText("No rows in this time range.")).toBeVisible();
  await expect(panel(page, "none").getByRole("columnheader", { name: "city" })).toBeVisible();
  await expectAccessible(page);
});

test.describe("elsewhere", () => {
  test.use({ timezoneId: "America/New_York" });
  test("times are those of the reader's zone, and say so", async ({ page, server }) => {
    const id = await open(page, server, documentOf("Elsewhere"));
    await expect(page.getByText("America/New_York")).toBeVisible();
    await page.goto("/dashboards");
    const time = page.getByRole("link", { name: id }).locator("time");
    const instant = Date.parse((await time.getAttribute("datetime")) ?? "");
    await expect(time).toHaveText(new Date(instant).toLocaleString("sv-SE", { timeZone: "America/New_York" }));
    await expect(page.getByText("times in America/New_York")).toBeVisible();
  });
});

test("a panel that fails says why, and the others go on", async ({ page, server }) => {
  const broken = documentOf("Broken");
  broken.panels.push(number("broken", "SELECT nobody FROM rides", 8));
  const id = await make(server, broken);
  await page.goto(`/dashboards/${id}`);
  await expect(panel(page, "broken")).toContainText("nobody");
  const before = await figure(panel(page, "all"));
  await expect.poll(() => figure(panel(page, "all")), { timeout: 15_000 }).toBeGreaterThan(before);
  await picture(page, "dashboard-broken");
  await expectAccessible(page);
});

test("a dashboard goes out as JSON and comes back", async ({ page, server }) => {
  const document = documentOf(`Carried ${Date.now()}`);
  const id = await make(server, document);
  await page.goto(`/dashboards/${id}`);
  await button(page, "More").click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("menuitem", { name: "Export as JSON" }).click()]);
  const file = await download.path();
  const exported = JSON.parse(await readFile(file, "utf8")) as Document;
  expect(exported.panels.map((one) => one.sql)).toEqual(document.panels.map((one) => one.sql));
  await page.goto("/dashboards");
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), button(page, "Import").click()]);
  await chooser.setFiles({ name: `carried-${Date.now()}.json`, mimeType: "application/json", buffer: await readFile(file) });
  await expect(page).toHaveURL(/\/dashboards\/carried-/);
  await expect(panel(page, "all").locator("strong")).toBeVisible();
  // What is no dashboard is refused, with what is wrong.
  await page.goto("/dashboards");
  const [again] = await Promise.all([page.waitForEvent("filechooser"), button(page, "Import").click()]);
  await again.setFiles({ name: "bad.json", mimeType: "application/json", buffer: Buffer.from('{"title": "x", "colour": "red"}') });
  await expect(page.getByRole("alert")).toContainText("colour");
});

test("a lost server is said, what was shown stays, and it goes on by itself", async ({ page, server }) => {
  test.skip(!server.own, "the server is not ours to stop");
  await page.goto("/d/rides");
  const events = panel(page, "events");
  await expect(events.locator("strong")).toBeVisible();
  await server.stop();
  try {
    await expect(page.getByRole("alert")).toContainText("cannot be reached");
    await expect(events.locator("strong")).toBeVisible();
    await picture(page, "dashboard-lost");
  } finally {
    // The tests after this one have no other server.
    await server.start();
  }
  await expect(page.getByRole("alert")).toHaveCount(0, { timeout: 20_000 });
  await expect(page.getByRole("status").filter({ hasText: "live" })).toBeVisible({ timeout: 20_000 });
  const before = await figure(events);
  await expect.poll(() => figure(events), { timeout: 20_000 }).not.toBe(before);
});

test("fits a narrow window", async ({ page }) => {
  await page.setViewportSize({ width: 420, height: 800 });
  await page.goto("/d/rides");
  await expect(panel(page, "events").locator("strong")).toBeVisible();
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  expect(width).toBeLessThanOrEqual(420);
  await picture(page, "dashboard-narrow");
});
