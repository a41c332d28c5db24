// The Tables view: the list, a table's page, its spec, and the way from a topic to a table.
import type { Locator, Page } from "@playwright/test";
import { bytes, whole } from "../../console/src/format";
import { countShifts, expect, expectAccessible, picture, query, test } from "./fixtures";

const tab = (page: Page, name: string) => page.getByRole("tab", { name, exact: true });
const figure = (page: Page, name: string) => page.locator(".figure", { has: page.getByText(name, { exact: true }) }).locator("dd");
/** The row of `rides` in the list, and of no other table whose name begins so. */
const ridesRow = (page: Page) => page.getByRole("row", { name: /^rides\b/ });
const spec = (page: Page, name: RegExp) => page.getByRole("textbox", { name });

test("the list goes on by itself and leads to a table's page", async ({ page }) => {
  await page.goto("/tables");
  const row = ridesRow(page);
  await expect(row.getByText("live")).toBeVisible();
  const shifts = await countShifts(page);
  const rows = () => row.getByRole("cell").nth(2).textContent();
  const first = await rows();
  await expect.poll(rows).not.toBe(first);
  expect(await shifts()).toBeLessThan(0.02);
  await picture(page, "tables");
  await expectAccessible(page);
  await row.getByRole("link", { name: "rides" }).press("Enter");
  await expect(page).toHaveURL(/\/tables\/rides$/);
  await expect(page.getByRole("img", { name: /^Rate .* of rides/ })).toBeVisible();
});

test("a table's page moves in place", async ({ page }) => {
  await page.goto("/tables/rides");
  await expect(page.getByRole("region", { name: "Partitions of rides" }).getByRole("row")).toHaveCount(5);
  const shifts = await countShifts(page);
  const first = await figure(page, "Rows").textContent();
  await expect.poll(() => figure(page, "Rows").textContent()).not.toBe(first);
  await page.waitForTimeout(3000);
  expect(await shifts()).toBeLessThan(0.02);
  for (const name of ["Rate", "Lag", "Freshness"]) await expect(page.getByRole("img", { name: new RegExp(`^${name}.* of rides`) })).toBeVisible();
  await picture(page, "table");
  await expectAccessible(page);
});

test("each part of a table is there and accessible", async ({ page, server }) => {
  await query(server.url, "SELECT 1");
  await fetch(`${server.url}/tables/rides/seal`, { method: "POST" });
  await page.goto("/tables/rides");
  await tab(page, "Overview").focus();
  const parts = [
    ["Rows", page.getByRole("grid", { name: "Rows of rides" })],
    ["Schema", page.getByRole("row", { name: /event_time.*TIMESTAMP\(3\)/ })],
    ["Segments", page.getByRole("img", { name: /segments? from/ })],
    ["Dead letters and gaps", page.getByRole("region", { name: "Dead letters of rides" })],
    ["Spec", spec(page, /Spec of rides/)],
  ] as const;
  for (const [name, content] of parts) {
    await page.keyboard.press("ArrowRight");
    await expect(tab(page, name)).toHaveAttribute("aria-selected", "true");
    await expect(content).toBeVisible();
    await picture(page, `table-${name.toLowerCase().split(" ")[0]}`);
    await expectAccessible(page);
  }
  await page.reload();
  await expect(tab(page, "Spec")).toHaveAttribute("aria-selected", "true");
});

test("segments say which offsets, rows and bytes they hold, and how much of it are indexes", async ({ page, server }) => {
  await fetch(`${server.url}/tables/rides/seal`, { method: "POST" });
  await page.goto("/tables/rides#segments");
  const listed = page.getByRole("region", { name: "Segments of rides" });
  await expect(listed).toBeVisible();
  await expect(listed.getByRole("columnheader", { name: "Of it indexes" })).toBeVisible();
  const heads = await listed.getByRole("columnheader").allTextContents();
  // A figure and its unit are parted by the style.
  const inCell = (value: number) => bytes(value).replace(" ", "");
  const cell = (row: Locator, head: string) => row.getByRole("cell").nth(heads.indexOf(head));
  const sealed = (await query(server.url, "SELECT id, rows, size_bytes, index_bytes, from_offset, to_offset FROM system.segments WHERE table_name = 'rides' AND state = 'sealed' ORDER BY max_time DESC LIMIT 3")) as [string, number, number, number, number, number][];
  expect(sealed.length).toBeGreaterThan(0);
  for (const [id, rows, size, indexes, from, to] of sealed) {
    expect(indexes).toBeGreaterThan(0);
    const row = listed.getByRole("row", { name: id });
    await expect(cell(row, "Offsets")).toHaveText(`${whole(from)} – ${whole(to)}`);
    await expect(cell(row, "Rows")).toHaveText(whole(rows));
    await expect(cell(row, "Size")).toHaveText(inCell(size));
    await expect(cell(row, "Of it indexes")).toHaveText(inCell(indexes));
    await expect(cell(row, "State")).toHaveText("sealed");
  }
});

// Also after a failure in between: all other tests look at a table that moves.
test.afterEach(async ({ server }) => {
  await fetch(`${server.url}/tables/rides/resume`, { method: "POST" });
});

test("pauses after a question, resumes and seals", async ({ page }) => {
  await page.goto("/tables/rides");
  await page.getByRole("button", { name: "Pause", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Pause rides" });
  await picture(page, "table-pause");
  await expectAccessible(page);
  await page.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);
  await page.getByRole("button", { name: "Pause", exact: true }).click();
  await dialog.getByRole("button", { name: "Pause", exact: true }).click();
  await expect(page.getByRole("button", { name: "Resume", exact: true })).toBeVisible();
  await expect(page.locator(".page-head").getByText("paused")).toBeVisible();
  await page.getByRole("button", { name: "Resume", exact: true }).click();
  await expect(page.locator(".page-head").getByText("live")).toBeVisible();
  const seal = page.getByRole("button", { name: "Seal", exact: true });
  await seal.press("Enter");
  await expect(page.getByText(/segments? sealed/)).toBeVisible();
  // A button that was busy still has the focus.
  await expect(seal).toBeFocused();

  await page.getByRole("button", { name: "Actions of partition 1" }).click();
  await page.getByRole("menuitem", { name: "Pause…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Pause", exact: true }).click();
  const row = page.getByRole("region", { name: "Partitions of rides" }).getByRole("row").nth(2);
  await expect(row.getByText("paused")).toBeVisible();
  await page.getByRole("button", { name: "Actions of partition 1" }).click();
  await page.getByRole("menuitem", { name: "Resume" }).click();
  await expect(row.getByText("live")).toBeVisible();
});

test("a spec with faults is refused at its lines, a good one is applied", async ({ page, server }) => {
  await page.goto("/tables/rides#spec");
  const editor = spec(page, /Spec of rides/);
  await editor.click();
  await page.keyboard.press("ControlOrMeta+End");
  await page.keyboard.type("retension: 7d");
  await page.getByRole("button", { name: "Apply…" }).click();
  const faults = page.getByRole("list", { name: "Faults of the spec" });
  await expect(faults).toContainText("did you mean retention?");
  await expect(page.locator(".cm-lintRange-error")).toHaveText("retension: 7d");
  await picture(page, "table-spec-faults");
  await expectAccessible(page);
  await faults.getByRole("button").click();
  await expect(editor).toBeFocused();
  await page.keyboard.type("retention: 7d");
  await page.getByRole("button", { name: "Apply…" }).click();
  const dialog = page.getByRole("dialog", { name: "Change rides" });
  await expect(dialog.getByRole("list", { name: "What changes" })).toContainText("retention");
  await dialog.getByRole("button", { name: "Apply" }).click();
  await expect(page.getByText("rides has its new spec.")).toBeVisible();
  const { table } = (await (await fetch(`${server.url}/tables/rides`)).json()) as { table: { spec: { retention?: string } } };
  expect(table.spec.retention).toBeTruthy();
});

test("a spec that is being written outlives a look at something else", async ({ page }) => {
  await page.goto("/tables/rides#spec");
  const editor = spec(page, /Spec of rides/);
  await editor.click();
  await page.keyboard.press("ControlOrMeta+End");
  await page.keyboard.type("# not applied yet");
  await tab(page, "Schema").click();
  await expect(editor).toHaveCount(0);
  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "Cluster" }).click();
  await expect(page.getByRole("heading", { name: "Nodes" })).toBeVisible();
  await page.goBack();
  await tab(page, "Spec").click();
  await expect(editor).toContainText("# not applied yet");
  await page.getByRole("button", { name: "Undo all" }).click();
  await expect(editor).not.toContainText("# not applied yet");
});

test("from a topic to a table that moves, and away with it", async ({ page, server }) => {
  const name = `rides_${Date.now()}`;
  const { table } = (await (await fetch(`${server.url}/tables/rides`)).json()) as { table: { spec: { stream: { brokers: string[] } } } };
  const rides = table.spec;
  await page.goto("/tables");
  await page.getByRole("button", { name: "Table from a topic" }).click();
  await picture(page, "wizard-topic");
  await expectAccessible(page);
  await page.getByLabel("Brokers", { exact: true }).fill(rides.stream.brokers.join(","));
  await page.getByLabel("Topic", { exact: true }).fill("ridez");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("alert")).toContainText("did you mean rides?");
  await page.getByLabel("Topic", { exact: true }).fill("rides");
  await page.getByRole("button", { name: "Look at the topic" }).click();

  const editor = spec(page, /Spec of the new table/);
  await expect(editor).toContainText("event_time");
  await expect(page.getByRole("grid", { name: "Previewed rows" })).toBeVisible();
  await picture(page, "wizard-spec");
  await expectAccessible(page);
  await page.getByRole("tab", { name: /^Dead letters/ }).click();
  await page.getByRole("button", { name: "Make the table" }).click();
  await expect(page.getByRole("alert")).toContainText("There is a table rides already");
  await page.getByLabel("Table", { exact: true }).fill(`${name} two`);
  await expect(page.getByRole("list", { name: "Faults of the spec" })).toContainText("name");
  await page.getByLabel("Table", { exact: true }).fill(name);
  try {
    await page.getByRole("button", { name: "Make the table" }).click();
    await expect(page).toHaveURL(new RegExp(`/tables/${name}$`));
    await expect.poll(async () => Number((await figure(page, "Rows").textContent())?.replaceAll(",", ""))).toBeGreaterThan(0);

    await page.getByRole("button", { name: "Drop…" }).click();
    const dialog = page.getByRole("dialog", { name: `Drop ${name}` });
    const drop = dialog.getByRole("button", { name: /^Drop it/ });
    await expect(drop).toBeDisabled();
    await dialog.getByRole("checkbox").check();
    await dialog.getByRole("textbox").fill("rides");
    await expect(drop).toBeDisabled();
    await dialog.getByRole("textbox").fill(name);
    await picture(page, "table-drop");
    await expectAccessible(page);
    await drop.click();
    await expect(page).toHaveURL(/\/tables$/);
    await expect(page.getByRole("link", { name })).toHaveCount(0);
  } finally {
    // A table that is left would be in the lists of all tests after this one.
    await fetch(`${server.url}/tables/${name}?purge=true`, { method: "DELETE" });
  }
});

test("helps where there is nothing", async ({ page }) => {
  await page.goto("/tables/no_such_table");
  await expect(page.getByText("There is no table no_such_table")).toBeVisible();
  await expectAccessible(page);
  await page.route("**/tables", (route) => (route.request().resourceType() === "document" ? route.continue() : route.fulfill({ json: { tables: [] } })));
  await page.goto("/tables");
  await expect(page.getByRole("heading", { name: "No table yet" })).toBeVisible();
  await expect(page.getByRole("button", { name: "Table from a topic" })).toHaveCount(1);
  await picture(page, "tables-empty");
  await expectAccessible(page);
});
