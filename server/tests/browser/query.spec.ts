// The Query view, used as a person uses it.
import type { Request } from "@playwright/test";
import { FUNCTIONS } from "../../console/src/views/Query/editor/words";
import { countShifts, expect, expectAccessible, picture, query, test } from "./fixtures";
import { editor, grid, result, run, write } from "./queries";

const SLOW = "SELECT sum(a.value % b.value) AS s FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b";

test.beforeEach(async ({ page }) => {
  await page.goto("/query");
  await expect(page.getByRole("navigation", { name: "Tables and columns" }).getByRole("button", { name: "rides", exact: true })).toBeVisible();
});

test("types with completion, runs, and sees rows, time and freshness", async ({ page }) => {
  await picture(page, "query-empty");
  await editor(page).click();
  await page.keyboard.type("SELECT  FROM rid", { delay: 20 });
  await expect(page.getByRole("option", { name: /^rides/ })).toBeVisible();
  await page.waitForTimeout(100); // Enter just after the list appears is taken for a line break.
  await page.keyboard.press("Enter");
  for (let i = 0; i < " FROM rides".length; i++) await page.keyboard.press("ArrowLeft");
  await page.keyboard.type("ci", { delay: 20 });
  await expect(page.getByRole("option", { name: /city/ })).toBeVisible();
  await picture(page, "query-completion");
  await page.waitForTimeout(100);
  if (!(await page.getByRole("option", { name: /city/ }).isVisible())) {
    await editor(page).focus();
    await page.keyboard.press("Control+Space");
    await page.waitForTimeout(150);
  }
  await page.keyboard.press("Enter");
  await page.keyboard.type(", count(*) AS n");
  await page.keyboard.press("End");
  await page.keyboard.type(" GROUP BY city ORDER BY n DESC LIMIT 7");
  await expect(editor(page)).toHaveText("SELECT city, count(*) AS n FROM rides GROUP BY city ORDER BY n DESC LIMIT 7");
  await page.keyboard.press("ControlOrMeta+Enter");
  await expect(result(page).getByText("7 rows")).toBeVisible();
  await expect(grid(page).getByRole("row")).toHaveCount(8);
  const freshness = result(page).getByRole("button", { name: /rides: newest row .* old/ });
  await freshness.click();
  await expect(page.getByRole("dialog", { name: "What of rides is in the answer" }).getByRole("row")).toHaveCount(5);
  await picture(page, "query-cut");
  await page.keyboard.press("Escape");
});

test("runs the statement under the cursor, or what is selected", async ({ page }) => {
  await write(page, "SELECT 1 AS first;\n\nSELECT 2 AS second;");
  await page.keyboard.press("ControlOrMeta+Enter");
  await expect(grid(page).getByRole("columnheader", { name: "second" })).toBeVisible();
  await page.keyboard.press("ControlOrMeta+Home");
  await page.keyboard.press("ControlOrMeta+Enter");
  await expect(grid(page).getByRole("columnheader", { name: "first" })).toBeVisible();
  await page.keyboard.press("Shift+End");
  for (let i = 0; i < ' AS first;'.length; i++) await page.keyboard.press("Shift+ArrowLeft");
  await page.keyboard.press("ControlOrMeta+Enter");
  await expect(grid(page).getByRole("columnheader", { name: "first" })).toHaveCount(0);
  await expect(grid(page).getByRole("gridcell", { name: "1" })).toBeVisible();
});

test("shows where a statement is wrong, and mends it with the suggestion", async ({ page }) => {
  await run(page, "SELECT 1;\nSELECT ciiity, count(*) AS n\nFROM rides\nGROUP BY 1");
  const alert = result(page).getByRole("alert");
  await expect(alert).toContainText("ciiity");
  await expect(alert).toContainText("line 2, column 8");
  await expect(page.locator(".cm-lintRange-error")).toHaveText("ciiity");
  await picture(page, "query-error");
  await expectAccessible(page);
  await alert.getByRole("button", { name: "Use city" }).click();
  await expect(editor(page)).toContainText("SELECT city, count(*)");
  await expect(page.locator(".cm-lintRange-error")).toHaveCount(0);
  await page.keyboard.press("ControlOrMeta+Enter");
  await expect(grid(page).getByRole("columnheader", { name: "city" })).toBeVisible();
});

test("cancels a query, which then ends in the server as well", async ({ page, server }) => {
  await run(page, SLOW);
  await expect(page.getByRole("progressbar", { name: "Progress of the query" })).toBeVisible();
  const running = () => query(server.url, "SELECT count(*) FROM system.queries WHERE state = 'running' AND sql LIKE '%a.value % b.value%' AND sql NOT LIKE '%system%'");
  await expect.poll(running).toEqual([[1]]);
  await picture(page, "query-running");
  await editor(page).focus();
  await page.keyboard.press("Escape");
  await expect(result(page).getByRole("heading", { name: "Cancelled" })).toBeVisible();
  await expect.poll(running).toEqual([[0]]);
});

test("shows how far a query is, as the server says", async ({ page }) => {
  await page.route("**/queries/*", (route) =>
    route.request().method() === "GET"
      ? route.fulfill({ json: { id: "q", state: "running", elapsed_ms: 2000, segments_total: 40, segments_done: 10, rows_scanned: 5_000_000, rows_total: 20_000_000, rows_returned: 0 } })
      : route.continue(),
  );
  await run(page, SLOW);
  await expect(page.getByRole("progressbar", { name: "Progress of the query" })).toContainText("10 of 40 segments · 5 M rows · 2.5 M/s");
  await picture(page, "query-progress");
  await page.getByRole("button", { name: "Cancel" }).press("Enter");
  await expect(result(page).getByRole("heading", { name: "Cancelled" })).toBeVisible();
  await expect(editor(page)).toBeFocused();
});

test("draws what fits the answer, and what is picked", async ({ page }) => {
  const chart = page.getByRole("tab", { name: "Chart" });
  await run(page, "SELECT date_trunc('second', event_time) AS second, count(*) AS n FROM rides WHERE event_time > now() - INTERVAL '5 minutes' GROUP BY second ORDER BY second");
  await chart.click();
  await expect(page.getByRole("img", { name: "line chart of n over second" })).toBeVisible();
  await picture(page, "query-line");
  await run(page, "SELECT vehicle, status, count(*) AS n FROM rides GROUP BY vehicle, status ORDER BY n DESC");
  await expect(page.getByRole("img", { name: /^bar chart of n over/ })).toBeVisible();
  await picture(page, "query-bar");
  await expectAccessible(page);
  await page.getByRole("combobox", { name: "Chart" }).selectOption("area");
  await page.getByRole("combobox", { name: "X axis" }).selectOption("status");
  await page.getByRole("combobox", { name: "One series for each" }).selectOption("vehicle");
  await expect(page.getByRole("img", { name: "area chart of n over status" })).toBeVisible();
  await run(page, "SELECT distance_km, fare FROM rides WHERE currency = 'EUR' AND fare IS NOT NULL LIMIT 3000");
  await expect(page.getByRole("img", { name: "scatter chart of fare over distance_km" })).toBeVisible();
  await picture(page, "query-scatter");
  await run(page, "SELECT count(*) AS orders, 9007199254740993 AS exact FROM rides");
  await expect(page.getByText("9,007,199,254,740,993")).toBeVisible();
  await picture(page, "query-number");
});

test("draws the plan of EXPLAIN ANALYZE", async ({ page }) => {
  await write(page, "SELECT a.city, b.orders, avg(a.fare) AS fare FROM rides a JOIN (SELECT city, count(*) AS orders FROM rides GROUP BY city) b ON a.city = b.city WHERE a.fare > 10 GROUP BY a.city, b.orders ORDER BY fare DESC LIMIT 5");
  await page.getByRole("button", { name: "Explain" }).click();
  const tree = page.getByRole("tree", { name: "Operators of the plan" });
  await expect(tree).toBeVisible();
  expect(await tree.getByRole("treeitem").count()).toBeGreaterThan(3);
  await picture(page, "query-plan");
  await expectAccessible(page);
  await tree.locator('[tabindex="0"]').focus();
  await page.keyboard.press("Home");
  await expect(tree.getByRole("treeitem").first()).toBeFocused();
  await page.keyboard.press("ArrowDown");
  await expect(tree.getByRole("treeitem").nth(1)).toBeFocused();
  await page.getByRole("tab", { name: "Text" }).click();
  await expect(page.getByText("elapsed_compute").first()).toBeVisible();
});

test("stays fast with 100,000 rows of 20 columns", async ({ page }) => {
  const columns = Array.from({ length: 17 }, (_, i) => `a.value * ${i + 2} AS c${i}`).join(", ");
  await run(page, `SELECT a.value AS id, ${columns}, 'text ' || a.value AS words, now() AS at FROM generate_series(1, 100000) a ORDER BY id`);
  await expect(result(page).getByText("100,000 rows")).toBeVisible({ timeout: 60_000 });
  // Only what is in sight is in the document.
  expect(await grid(page).getByRole("row").count()).toBeLessThan(80);
  await grid(page).focus();
  await page.keyboard.press("ControlOrMeta+ArrowDown");
  await expect(grid(page).getByRole("gridcell", { name: "100000", exact: true })).toBeVisible();
  await page.keyboard.press("s");
  await page.keyboard.press("s");
  await expect(grid(page).getByRole("columnheader", { name: "id" })).toHaveAttribute("aria-sort", "descending");
  await expect(grid(page).getByRole("gridcell", { name: "1", exact: true })).toBeVisible();
  await page.keyboard.press("ControlOrMeta+ArrowUp");
  await page.keyboard.press("Shift+ArrowDown");
  await page.keyboard.press("Shift+ArrowRight");
  await page.keyboard.press("ControlOrMeta+c");
  await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toBe("100000\t200000\n99999\t199998");
  await picture(page, "query-rows");
  // A frame in which a far jump is drawn. The bound is wide: it tells a grid that draws a window from one that draws all.
  const slowest = await grid(page).evaluate(async (element) => {
    const frame = () => new Promise<number>((resolve) => requestAnimationFrame(resolve));
    const times: number[] = [];
    for (let i = 1; i <= 40; i++) {
      const before = await frame();
      element.scrollTop = i * 60_000;
      await frame();
      times.push((await frame()) - before);
    }
    return times.sort((a, b) => a - b)[Math.floor(times.length * 0.9)] ?? 0;
  });
  test.info().annotations.push({ type: "p90 of two frames, ms", description: String(Math.round(slowest)) });
  expect(slowest).toBeLessThan(400);
});

test("a chart of an answer with 200 columns has its place", async ({ page }) => {
  await run(page, `SELECT ${Array.from({ length: 200 }, (_, i) => `value + ${i} AS a_rather_long_name_${i}`).join(", ")} FROM generate_series(1, 3)`);
  await expect(grid(page).getByRole("gridcell", { name: "3", exact: true }).first()).toBeVisible();
  await page.getByRole("tab", { name: "Chart" }).click();
  const area = await page.getByRole("img", { name: /chart of/ }).boundingBox();
  expect(area?.height).toBeGreaterThan(150);
  await picture(page, "query-200-columns");
});

test("a column is made wider by dragging", async ({ page }) => {
  await run(page, "SELECT 1 AS narrow, 2 AS other");
  const head = grid(page).getByRole("columnheader", { name: "narrow" });
  const before = await head.boundingBox();
  if (!before) throw new Error("the head is not drawn");
  await page.mouse.move(before.x + before.width - 2, before.y + 10);
  await page.mouse.down();
  await page.mouse.move(before.x + before.width + 98, before.y + 10, { steps: 4 });
  await page.mouse.up();
  await expect.poll(async () => Math.round((await head.boundingBox())?.width ?? 0)).toBe(Math.round(before.width) + 100);
  await expect(head).toHaveAttribute("aria-sort", "none");
});

test("a link reproduces the query and its chart", async ({ page, context }) => {
  await run(page, "SELECT vehicle, count(*) AS n\nFROM rides\nGROUP BY vehicle -- % & # 'ü'");
  await page.getByRole("tab", { name: "Chart" }).click();
  await page.getByRole("combobox", { name: "Chart" }).selectOption("line");
  await page.getByRole("button", { name: "Copy link" }).click();
  await expect(page.getByText("Link copied")).toBeVisible();
  const link = await page.evaluate(() => navigator.clipboard.readText());
  expect(link).toContain("/query#sql=");
  const other = await context.newPage();
  await other.goto(link);
  await expect(editor(other)).toContainText("GROUP BY vehicle -- % & # 'ü'");
  await expect(other.getByRole("img", { name: "line chart of n over vehicle" })).toBeVisible();
  await other.close();
});

test("tabs and history outlive a reload", async ({ page }) => {
  await run(page, "SELECT 'one' AS kept");
  await expect(grid(page).getByRole("gridcell", { name: "one" })).toBeVisible();
  await page.getByRole("button", { name: "New tab" }).click();
  await run(page, "SELECT 'two' AS kept");
  await expect(grid(page).getByRole("gridcell", { name: "two" })).toBeVisible();
  await page.getByRole("tab", { name: "Query 1" }).click();
  await expect(grid(page).getByRole("gridcell", { name: "one" })).toBeVisible();
  await page.reload();
  await expect(page.getByRole("tab", { name: "Query 2" })).toBeVisible();
  await expect(editor(page)).toHaveText("SELECT 'one' AS kept");
  await page.getByRole("button", { name: "History" }).click();
  const dialog = page.getByRole("dialog", { name: "History" });
  await expect(dialog.getByRole("listitem")).toHaveCount(2);
  await picture(page, "query-history");
  await expectAccessible(page);
  await expect(dialog.getByRole("searchbox")).toBeFocused();
  await page.keyboard.type("two");
  await dialog.getByRole("listitem").getByRole("button").click();
  await expect(editor(page)).toHaveText("SELECT 'two' AS kept");
});

test("everything by keyboard", async ({ page }) => {
  const active = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent ?? "");
  await page.keyboard.press("Alt+t");
  await page.keyboard.press("Alt+e");
  await expect(editor(page)).toBeFocused();
  await page.keyboard.type("SELECT value FROM generate_series(1, 5)");
  await page.keyboard.press("Escape");
  await page.keyboard.press("ControlOrMeta+Enter");
  await expect(result(page).getByText("5 rows")).toBeVisible();
  await expect(page.getByRole("status").filter({ hasText: /^5 rows in / })).toHaveCount(1);
  // Tab leaves the editor, and comes by everything on its way to the rows.
  const passed: string[] = [];
  for (let i = 0; i < 25; i++) {
    await page.keyboard.press("Tab");
    passed.push(await active());
    if (passed.at(-1) === "Rows of the answer") break;
  }
  expect(passed).toEqual(expect.arrayContaining(["Height of the editor", "Run", "Explain", "History", "Copy link", "Export", "Rows", "Rows of the answer"]));
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ControlOrMeta+c");
  await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toBe("2");
  await page.keyboard.press("Shift+Tab");
  while ((await active()) !== "Rows") await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("ArrowRight");
  await expect(page.getByRole("tab", { name: "Chart" })).toBeFocused();
  await expect(page.getByRole("img", { name: /chart/ })).toBeVisible();
  await page.keyboard.press("Alt+h");
  await expect(page.getByRole("dialog", { name: "History" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await page.keyboard.press("Alt+w");
  await expect(page.getByRole("tab", { name: "Query 2" })).toHaveCount(0);
});

test("an error is marked at its place behind letters of all kinds", async ({ page }) => {
  await run(page, "SELECT '👍🏽 größer' AS ä, ciiity FROM rides");
  await expect(page.locator(".cm-lintRange-error")).toHaveText("ciiity");
  await result(page).getByRole("button", { name: "Use city" }).click();
  await expect(editor(page)).toHaveText("SELECT '👍🏽 größer' AS ä, city FROM rides");
});

test("Escape in a tab's name cancels nothing that runs", async ({ page }) => {
  await run(page, SLOW);
  await expect(page.getByRole("progressbar", { name: "Progress of the query" })).toBeVisible();
  await page.getByRole("tab", { name: "Query 1" }).dblclick();
  await page.getByLabel("Name of the tab").press("Escape");
  await expect(page.getByRole("tab", { name: "Query 1" })).toBeFocused();
  await expect(page.getByRole("progressbar", { name: "Progress of the query" })).toBeVisible();
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect(result(page).getByRole("heading", { name: "Cancelled" })).toBeVisible();
});

test("too many tabs are refused, and two windows have the same ones", async ({ page, context }) => {
  await write(page, "SELECT 'the first'");
  for (let i = 0; i < 29; i++) await page.keyboard.press("Alt+t");
  await expect(page.getByRole("tablist", { name: "Statements" }).getByRole("tab")).toHaveCount(30);
  await page.keyboard.press("Alt+t");
  await expect(page.getByText("There are 30 tabs; close one to open another.")).toBeVisible();
  for (let i = 0; i < 27; i++) await page.keyboard.press("Alt+w");
  await page.getByRole("tab", { name: "Query 1" }).click();
  await expect(editor(page)).toHaveText("SELECT 'the first'");

  const other = await context.newPage();
  await other.goto("/query");
  await expect(other.getByRole("tablist", { name: "Statements" }).getByRole("tab")).toHaveCount(3);
  await other.getByRole("tab", { name: "Query 2" }).click();
  await write(other, "SELECT 'the other window'");
  await other.keyboard.press("Alt+t");
  await expect(page.getByRole("tab", { name: "Query 4" })).toBeVisible();
  await write(page, "SELECT 'this window'");
  await page.getByRole("tab", { name: "Query 2" }).click();
  await expect(editor(page)).toHaveText("SELECT 'the other window'");
  // It is kept a moment after it was written.
  await expect.poll(() => page.evaluate(() => JSON.stringify(localStorage))).toContain("this window");
  await other.reload();
  await other.getByRole("tab", { name: "Query 1" }).click();
  await expect(editor(other)).toHaveText("SELECT 'this window'");
  await other.close();
});

test("is accessible when it is empty and with rows, in both themes", async ({ page }) => {
  await expectAccessible(page);
  await run(page, "SELECT city, fare, tip, tags FROM rides LIMIT 12");
  await expect(result(page).getByText("12 rows")).toBeVisible();
  await expectAccessible(page);
});

test("an answer that is refreshed does not move what is on the page", async ({ page }) => {
  await run(page, "SELECT count(*) AS n FROM rides");
  await page.getByRole("tab", { name: "Chart" }).click();
  await expect(page.locator(".big-number strong")).toBeVisible();
  const shifts = await countShifts(page);
  const first = await page.locator(".big-number strong").textContent();
  await editor(page).focus();
  for (let i = 0; i < 5; i++) {
    await page.keyboard.press("ControlOrMeta+Enter");
    // The number before stays until the new one is there.
    await expect(page.locator(".big-number strong")).toBeVisible();
    await page.waitForTimeout(300);
  }
  await expect.poll(() => page.locator(".big-number strong").textContent()).not.toBe(first);
  expect(await shifts()).toBeLessThan(0.02);
});

test("offers what the server lists, having asked it once", async ({ page }) => {
  // From anew: what was asked before the test counts is over.
  await page.goto("/cluster");
  const isAsking = (request: Request) => request.postData()?.includes("SHOW FUNCTIONS") ?? false;
  let asked = 0;
  page.on("request", (request) => (asked += Number(isAsking(request))));
  await page.goto("/query");
  await write(page, "SELECT LEVEN");
  const option = page.getByRole("option", { name: /^levenshtein/ });
  // As soon as the server has answered.
  await expect(async () => {
    await page.keyboard.press("Escape");
    await page.keyboard.press("Control+Space");
    await expect(option).toContainText("(str1, str2)", { timeout: 1000 });
  }).toPass();
  const info = page.locator(".cm-completionInfo");
  await expect(info).toContainText("Levenshtein distance between the two given strings");
  // Beside the list, and not cut off with it.
  await expect(info).toBeInViewport({ ratio: 0.9 });
  await picture(page, "query-functions");
  await page.keyboard.press("Escape");
  await page.getByRole("link", { name: "Cluster" }).click();
  await page.getByRole("link", { name: "Query" }).click();
  await editor(page).click();
  await page.keyboard.press("Control+Space");
  await expect(option).toBeVisible();
  expect(asked).toBe(1);
});

test("the functions that the editor offers are there", async ({ server }) => {
  for (const { name, kind } of FUNCTIONS.filter(({ kind }) => kind !== "table")) {
    const problem = await query(server.url, `SELECT ${name}()${kind === "window" ? " OVER (ORDER BY 1)" : ""}`).then(
      () => "",
      (error: Error) => error.message,
    );
    expect(problem, name).not.toContain("there is no function");
  }
});

test("says that the server is lost, and goes on when it is back", async ({ page, server }) => {
  test.skip(!server.own, "the server is not ours to stop");
  test.setTimeout(180_000);
  await run(page, "SELECT count(*) AS n FROM rides");
  await expect(result(page).getByText("1 row")).toBeVisible();
  await server.stop();
  try {
    await page.keyboard.press("ControlOrMeta+Enter");
    await expect(page.getByText("The server cannot be reached. Trying again")).toBeVisible();
    await expect(result(page).getByRole("alert")).toContainText("The server cannot be reached.");
    await picture(page, "query-lost");
    await expectAccessible(page);
  } finally {
    await server.start();
  }
  await expect(page.getByText("The server cannot be reached. Trying again")).toHaveCount(0);
  await result(page).getByRole("button", { name: "Run it again" }).click();
  await expect(result(page).getByText("1 row")).toBeVisible();
});
