// The whole way of somebody new: from a topic to a table, to a dashboard over it that moves, to a link for others.
import { button, figure } from "./boards";
import { expect, newContext, picture, query, tabTo, test } from "./fixtures";
import { editor, grid, result } from "./queries";

/** Where the demo's topic is. */
async function brokersOf(url: string): Promise<string> {
  const { table } = (await (await fetch(`${url}/tables/rides`, { headers: { accept: "application/json" } })).json()) as { table: { spec: { stream: { brokers: string[] } } } };
  return table.spec.stream.brokers.join(",");
}

const drop = (url: string, table: string) => fetch(`${url}/tables/${table}?purge=true`, { method: "DELETE" });

test("from a topic to a table, to a dashboard that moves, to a link that others open", async ({ page, browser, server }) => {
  const table = `rides_${Date.now() % 1_000_000}`;
  await page.goto("/tables");
  await button(page, "Table from a topic").click();
  await page.getByLabel("Brokers", { exact: true }).fill(await brokersOf(server.url));
  await page.getByLabel("Topic", { exact: true }).fill("rides");
  await button(page, "Look at the topic").click();
  await expect(page.getByRole("grid", { name: "Previewed rows" })).toBeVisible();
  await page.getByLabel("Table", { exact: true }).fill(table);
  try {
    await button(page, "Make the table").click();
    await expect(page).toHaveURL(new RegExp(`/tables/${table}$`));
    await expect(page.locator(".page-head").getByText("live")).toBeVisible();

    // Its rows, by the link of its page.
    await page.locator(".page-head").getByRole("link", { name: "Query" }).click();
    await expect(editor(page)).toContainText(table);
    await expect(grid(page)).toBeVisible();
    await expect(result(page).getByRole("button", { name: new RegExp(`^${table}: newest row`) })).toBeVisible();

    await page.getByRole("link", { name: "Dashboards" }).click();
    await button(page, "New dashboard").click();
    await page.getByLabel("Title").fill(`Over ${table}`);
    await button(page, "Create").click();
    await button(page, "Add a panel").click();
    await page.getByLabel("Title").fill("Events");
    await page.getByLabel("SQL of the panel").fill(`SELECT count(*) AS events FROM ${table}`);
    await page.keyboard.press("Control+Enter");
    await expect(page.getByRole("dialog").locator("strong")).toBeVisible();
    await button(page, "Add the panel").click();
    await button(page, "Panel").click();
    await page.getByLabel("Title").fill("By vehicle");
    await page.getByLabel("SQL of the panel").fill(`SELECT vehicle, count(*) AS events FROM ${table} WHERE event_time >= $time_from GROUP BY vehicle ORDER BY events DESC`);
    await page.keyboard.press("Control+Enter");
    await expect(page.getByRole("dialog").locator("canvas")).toBeVisible();
    await button(page, "Add the panel").click();
    await page.keyboard.press("Control+s");
    await expect(page.getByText("Saved as version 2")).toBeVisible();
    const events = page.getByRole("region", { name: "Events", exact: true });
    await expect(events.locator("strong")).toBeVisible();
    const before = await figure(events);
    await expect.poll(() => figure(events), { timeout: 20_000 }).toBeGreaterThan(before);
    await picture(page, "journey");

    await button(page, "More").click();
    await page.getByRole("menuitem", { name: "Copy the read-only link" }).click();
    await expect(page.getByText("The read-only link is copied")).toBeVisible();
    const link = await page.evaluate(() => navigator.clipboard.readText());
    const others = await newContext(browser, server.url);
    const other = await others.newPage();
    await other.goto(link);
    await expect(other.getByRole("heading", { name: `Over ${table}` })).toBeVisible();
    await expect(other.getByRole("navigation", { name: "Views" })).toHaveCount(0);
    for (const name of ["Edit", "More", "Panel"]) await expect(button(other, name)).toHaveCount(0);
    const seen = other.getByRole("region", { name: "Events", exact: true });
    await expect(other.getByRole("region", { name: "By vehicle" }).locator("canvas")).toBeVisible();
    const first = await figure(seen);
    await expect.poll(() => figure(seen), { timeout: 20_000 }).toBeGreaterThan(first);
    // What is seen is what is there.
    const [[rows]] = (await query(server.url, `SELECT count(*) FROM ${table}`)) as [[number]];
    expect(await figure(seen)).toBeGreaterThan(rows / 2);
    await others.close();
  } finally {
    await drop(server.url, table);
  }
});

test("by keyboard only: a statement is written, run, and its answer saved as a file", async ({ page }) => {
  await page.goto("/query");
  await expect(page.getByRole("navigation", { name: "Tables and columns" }).getByRole("button", { name: "rides", exact: true })).toBeVisible();
  // One may write at once.
  await expect(editor(page)).toBeFocused();
  await page.keyboard.type("SELECT value AS n FROM generate_series(1, 5)");
  await page.keyboard.press("Escape");
  await tabTo(page, button(page, "Run"));
  await page.keyboard.press("Enter");
  await expect(result(page).getByText("5 rows")).toBeVisible();
  const exports = button(page, "Export");
  await tabTo(page, exports);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("menuitem", { name: "CSV" })).toBeFocused();
  await page.keyboard.press("ArrowDown");
  await expect(page.getByRole("menuitem", { name: "Parquet" })).toBeFocused();
  const [download] = await Promise.all([page.waitForEvent("download"), page.keyboard.press("Enter")]);
  expect(download.suggestedFilename()).toMatch(/\.parquet$/);
  await expect(exports).toBeFocused();
  await tabTo(page, grid(page));
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ControlOrMeta+c");
  await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toBe("2");
});

test("by keyboard only: a dashboard is made, gets a panel, is saved and opened again", async ({ page }) => {
  const title = `By keys ${Date.now()}`;
  await page.goto("/dashboards");
  await tabTo(page, button(page, "New dashboard"));
  await page.keyboard.press("Enter");
  await expect(page.getByLabel("Title")).toBeFocused();
  await page.keyboard.type(title);
  await page.keyboard.press("Enter");
  await tabTo(page, button(page, "Add a panel"));
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "New panel" });
  await expect(dialog.getByLabel("Title")).toBeFocused();
  await page.keyboard.type("Fares");
  await tabTo(page, dialog.getByLabel("SQL of the panel"));
  await page.keyboard.type("SELECT vehicle, sum(fare) AS fares FROM rides GROUP BY vehicle");
  await page.keyboard.press("Control+Enter");
  await expect(dialog.locator("canvas")).toBeVisible();
  // The ways of drawing are one stop, and arrows go through them.
  await tabTo(page, dialog.getByRole("radio", { name: "Bars" }));
  while (!(await dialog.getByRole("radio", { name: "Table" }).isChecked())) await page.keyboard.press("ArrowRight");
  await expect(dialog.getByRole("grid")).toBeVisible();
  await tabTo(page, dialog.getByRole("button", { name: "Add the panel" }));
  await page.keyboard.press("Enter");
  await expect(page.getByRole("region", { name: "Fares" })).toBeFocused();
  await page.keyboard.press("Control+s");
  await expect(page.getByText("Saved as version 2")).toBeVisible();

  await tabTo(page, page.getByRole("link", { name: "Dashboards" }), "Shift+Tab");
  await page.keyboard.press("Enter");
  await expect(page).toHaveTitle("Dashboards · Headwater");
  await tabTo(page, page.getByRole("link", { name: new RegExp(title) }));
  await page.keyboard.press("Enter");
  await expect(page.getByRole("region", { name: "Fares" }).getByRole("columnheader", { name: "fares" })).toBeVisible();
});

test("by keyboard only: from a topic to a table", async ({ page, server }) => {
  const table = `keys_${Date.now() % 1_000_000}`;
  const brokers = await brokersOf(server.url);
  await page.goto("/tables");
  await tabTo(page, button(page, "Table from a topic"));
  await page.keyboard.press("Enter");
  await expect(page.getByLabel("Brokers", { exact: true })).toBeFocused();
  await page.keyboard.type(brokers);
  await page.keyboard.press("Tab");
  await expect(page.getByLabel("Topic", { exact: true })).toBeFocused();
  await page.keyboard.type("rides");
  await page.keyboard.press("Enter");
  const name = page.getByLabel("Table", { exact: true });
  await expect(name).toHaveValue("rides");
  // The form that had the focus is gone: one goes on at what is to be corrected first.
  await expect(name).toBeFocused();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type(table);
  await expect(page.getByRole("grid", { name: "Previewed rows" })).toBeVisible();
  try {
    await tabTo(page, button(page, "Make the table"));
    await page.keyboard.press("Enter");
    await expect(page).toHaveURL(new RegExp(`/tables/${table}$`));
    await expect(page.getByRole("region", { name: `Partitions of ${table}` }).getByRole("row")).toHaveCount(5);
    await tabTo(page, page.getByRole("tab", { name: "Overview" }));
    await page.keyboard.press("ArrowRight");
    await expect(page.getByRole("grid", { name: `Rows of ${table}` })).toBeVisible();
    // And away with it.
    await tabTo(page, button(page, "Drop…"), "Shift+Tab");
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog", { name: `Drop ${table}` });
    await tabTo(page, dialog.getByRole("textbox"));
    await page.keyboard.type(table);
    await page.keyboard.press("Enter");
    await expect(page).toHaveURL(/\/tables$/);
    await expect(page.getByRole("link", { name: table })).toHaveCount(0);
  } finally {
    await drop(server.url, table);
  }
});
