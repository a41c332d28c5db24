// How far a query is, as the server knows it while it works.
import { expect, picture, query, test } from "./fixtures";
import { result, run } from "./queries";

const SEALS = 4;
/** Some ten milliseconds of work for every thousand rows that are read. */
const SLOW = "SELECT max(md5(repeat(city, 3000))) AS kept_busy FROM rides";

test("a long query shows segments, rows and rows per second that grow, and then its answer", async ({ page, server }) => {
  test.skip(!server.own, "a server that runs already may have too much or too little to read");
  // Segments on each of four partitions, and enough rows to be at it for a while.
  for (let i = 0; i < SEALS; i++) {
    await page.waitForTimeout(1000);
    await fetch(`${server.url}/tables/rides/seal`, { method: "POST" });
  }
  await expect.poll(async () => Number((await query(server.url, "SELECT count(*) FROM rides"))[0]?.[0]), { timeout: 60_000, intervals: [500] }).toBeGreaterThan(60_000);
  await page.goto("/query");
  const bar = page.getByRole("progressbar", { name: "Progress of the query" });
  const seen: { done: number; all: number; text: string; now: number | null }[] = [];
  await run(page, SLOW);
  await expect(bar).toBeVisible();
  await expect(async () => {
    const text = (await bar.textContent({ timeout: 1000 })) ?? "";
    const found = /([\d,]+) of ([\d,]+) segments · ([\d.,]+)( [kMG])? rows · ([\d.,]+)( [kMG])?\/s/.exec(text);
    if (found) seen.push({ done: Number(found[1]), all: Number(found[2]), text, now: Number(await bar.getAttribute("aria-valuenow", { timeout: 1000 })) });
    // Some of it, and not all of it.
    expect(seen.some(({ done, all, text }) => done > 0 && done < all && !text.includes("· 0 rows"))).toBe(true);
  }).toPass({ timeout: 30_000, intervals: [100] });
  await picture(page, "query-progress-real");
  await expect(result(page).getByText("1 row", { exact: true })).toBeVisible({ timeout: 90_000 });
  await expect(bar).toHaveCount(0);
  for (const { done, all, now } of seen) expect(Math.abs((now ?? 0) - (100 * done) / all)).toBeLessThanOrEqual(1);
  const parts = seen.map(({ done }) => done);
  expect(parts).toEqual([...parts].sort((a, b) => a - b));
  await expect(result(page)).toContainText(/read [\d.]+ k of [\d.]+ k rows, \d+ of \d+ segments/);
});
