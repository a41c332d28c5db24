// Answers as files: in each format, all rows of them, and nothing that is not whole.
import { readFile } from "node:fs/promises";
import type { Page } from "@playwright/test";
import { expect, query, test } from "./fixtures";
import { arrowRows, parquetRows } from "./formats";
import { result, run } from "./queries";

test.beforeEach(async ({ page }) => {
  await page.goto("/query");
  await expect(page.getByRole("navigation", { name: "Tables and columns" }).getByRole("button", { name: "rides", exact: true })).toBeVisible();
});

async function exported(page: Page, item: string): Promise<{ name: string; content: Buffer }> {
  await page.getByRole("button", { name: "Export" }).click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("menuitem", { name: item }).click()]);
  return { name: download.suggestedFilename(), content: await readFile(await download.path()) };
}

test("exports the answer in each format, as the server has it", async ({ page }) => {
  await run(page, "SELECT value AS n, value * 0.5 AS half, 'ü, \"' || value AS words FROM generate_series(1, 3) ORDER BY n");
  await expect(result(page).getByText("3 rows")).toBeVisible();
  const csv = await exported(page, "CSV");
  expect(csv.name).toMatch(/^headwater-.*\.csv$/);
  expect(csv.content.toString().replaceAll("\r\n", "\n")).toBe('n,half,words\n1,0.5,"ü, ""1"\n2,1.0,"ü, ""2"\n3,1.5,"ü, ""3"\n');
  const json = await exported(page, "JSON, a row per line");
  expect(json.name).toMatch(/\.ndjson$/);
  expect(json.content.toString().trim().split("\n").map((line) => JSON.parse(line) as unknown)).toEqual([1, 2, 3].map((n) => ({ n, half: n / 2, words: `ü, "${n}` })));
  const parquet = await exported(page, "Parquet");
  expect(parquet.name).toMatch(/^headwater-.*\.parquet$/);
  expect(parquetRows(parquet.content)).toBe(3);
  const arrow = await exported(page, "Arrow");
  expect(arrow.name).toMatch(/^headwater-.*\.arrow$/);
  expect(arrowRows(arrow.content)).toBe(3);
  for (const { content } of [parquet, arrow]) for (const name of ["half", "words"]) expect(content.includes(name)).toBe(true);
});

test("a file has all rows, also those that the console does not show", async ({ page }) => {
  await run(page, "SELECT value AS n FROM generate_series(1, 250000)");
  await expect(result(page).getByRole("alert")).toContainText("at most 200,000 rows", { timeout: 60_000 });
  expect(parquetRows((await exported(page, "Parquet")).content)).toBe(250_000);
  expect(arrowRows((await exported(page, "Arrow")).content)).toBe(250_000);
  expect((await exported(page, "CSV")).content.toString().trim().split("\n").length).toBe(250_001);
});

test("a table's rows of a fixed part are all in its file", async ({ page, server }) => {
  const part = 'FROM rides WHERE "$partition" = 0 AND "$offset" < 200';
  const [[rows]] = (await query(server.url, `SELECT count(*) ${part}`)) as [[number]];
  expect(rows).toBeGreaterThan(100);
  await run(page, `SELECT * ${part}`);
  await expect(result(page).getByText(`${rows} rows`)).toBeVisible();
  expect(parquetRows((await exported(page, "Parquet")).content)).toBe(rows);
  expect(arrowRows((await exported(page, "Arrow")).content)).toBe(rows);
});

test("an export that is not whole is no file", async ({ page }) => {
  await run(page, "SELECT 1 AS n");
  await expect(result(page).getByText("1 row")).toBeVisible();
  let asked: { rows_max?: number; query_id?: string } = {};
  await page.route("**/sql", (route) => {
    const body = route.request().postDataJSON() as typeof asked & { format?: string };
    if (body.format !== "ndjson") return route.continue();
    asked = body;
    return route.fulfill({ body: '{"n":1}\n{"error":{"kind":"memory_exceeded","message":"it needs more memory"}}\n' });
  });
  await page.getByRole("button", { name: "Export" }).click();
  await page.getByRole("menuitem", { name: "JSON" }).press("Enter");
  await expect(page.getByText("The export broke off, nothing was saved: it needs more memory")).toBeVisible();
  await expect(page.getByRole("button", { name: "Export" })).toBeFocused();
  expect(asked.rows_max).toBeGreaterThan(1_000_000);
  expect(asked.query_id).toMatch(/^console-/);
});

