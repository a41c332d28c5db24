// The Cluster view: nodes and what they hold, what runs, and the end of a query that runs too long.
import { expect, expectAccessible, picture, query, test } from "./fixtures";

const LONG = "SELECT sum(a.value * b.value) AS kept_busy FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b";

// What a failed test has left would run for a minute, and be taken for the next one's.
test.afterEach(async ({ server }) => {
  const left = await query(server.url, "SELECT id FROM system.queries WHERE state = 'running' AND sql LIKE '%AS kept_busy%' AND sql NOT LIKE '%system.queries%'");
  for (const [id] of left) await fetch(`${server.url}/queries/${String(id)}`, { method: "DELETE" });
});

test("shows the nodes, what they hold and what they do", async ({ page, server }) => {
  await fetch(`${server.url}/tables/rides/seal`, { method: "POST" });
  const [[node]] = (await query(server.url, "SELECT node FROM system.nodes")) as [[string]];
  await page.goto("/cluster");
  const row = page.getByRole("region", { name: "Nodes", exact: true }).getByRole("row").nth(1);
  await expect(row).toContainText(node);
  await expect(row).toContainText("serving");
  await expect(row).toContainText(/\d\.\d of \d+ cores?/);
  await expect(row).toContainText(/\d (MiB|GiB|MB|GB) of \d/);
  const placed = page.getByRole("list", { name: "What each node holds" });
  await expect(placed.locator(".chip")).toHaveCount(4);
  await expect(placed.getByRole("img", { name: new RegExp(`^${node}: [1-9]\\d* segments?`) })).toBeVisible();
  await expect(page.getByRole("region", { name: "Background tasks" }).getByRole("row", { name: /seal.*rides/ }).first()).toBeVisible();
  await picture(page, "cluster");
  await expectAccessible(page);
});

test("ends a query that runs", async ({ page, server }) => {
  const ended = query(server.url, LONG).then(
    () => "an answer",
    (error: Error) => error.message,
  );
  await page.goto("/cluster");
  const running = page.getByRole("region", { name: "Running queries" });
  await expect(running.getByRole("row", { name: /kept_busy/ })).toBeVisible();
  await picture(page, "cluster-running");
  await expectAccessible(page);
  await running.getByRole("row", { name: /kept_busy/ }).getByRole("button", { name: /^Kill query/ }).press("Enter");
  await expect(page.getByText("The query was told to end.")).toBeVisible();
  expect(await ended).toMatch(/cancel/i);
  await expect(page.getByText("No query runs right now.")).toBeVisible();
  // What the console itself asks is not in the lists.
  const log = page.getByRole("region", { name: "Ended queries" });
  await expect(log.getByRole("row", { name: /kept_busy/ }).first()).toBeVisible();
  await expect(log.getByText("/* console */")).toHaveCount(0);
});

test("shows the plan of a query that runs, and says if its end was refused", async ({ page, server }) => {
  const ended = query(server.url, LONG).catch((error: Error) => error.message);
  await page.goto("/cluster");
  const row = page.getByRole("region", { name: "Running queries" }).getByRole("row", { name: /kept_busy/ });
  await expect(row).toContainText("anonymous");
  await row.getByRole("button", { name: /^Plan of query/ }).click();
  const dialog = page.getByRole("dialog");
  await expect(dialog.getByRole("tree", { name: "Operators of the plan" })).toBeVisible();
  await picture(page, "cluster-plan");
  await expectAccessible(page);
  await page.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);

  await page.route("**/queries/*", (route) => (route.request().method() === "DELETE" ? route.fulfill({ status: 404, json: { error: { kind: "not_found", message: "no such query is running" } } }) : route.continue()));
  await row.getByRole("button", { name: /^Kill query/ }).click();
  await expect(page.getByText("no such query is running")).toBeVisible();
  await expect(page.getByText("The query was told to end.")).toHaveCount(0);
  await page.unroute("**/queries/*");
  await row.getByRole("button", { name: /^Kill query/ }).click();
  expect(await ended).toMatch(/cancel/i);
});
