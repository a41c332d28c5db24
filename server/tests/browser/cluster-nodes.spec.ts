// The Cluster view of a broker and a data node, with a log of queries some of which were slow ones.
import { test as base, expect, expectAccessible, picture, query } from "./fixtures";
import { copyRides, START_WAIT_MS, startCluster, STOP_WAIT_MS } from "./servers";

const test = base.extend<object, { cluster: string }>({
  cluster: [
    async ({ server }, use) => {
      const { url, end } = await startCluster();
      try {
        await copyRides(server.url, url);
        await use(url);
      } finally {
        await end();
      }
    },
    { scope: "worker", timeout: 2 * START_WAIT_MS + STOP_WAIT_MS },
  ],
  baseURL: async ({ cluster }, use) => use(cluster),
});

test.skip(!process.env.HEADWATER_BINARY, "clusters are started from HEADWATER_BINARY");

test("nodes have their roles, and what is placed is on the one that holds data", async ({ page }) => {
  await page.goto("/cluster");
  const nodes = page.getByRole("region", { name: "Nodes", exact: true });
  const row = (node: string) => nodes.getByRole("row", { name: new RegExp(`^${node}`) });
  await expect(row("data-1")).toBeVisible();
  const heads = await nodes.getByRole("columnheader").allTextContents();
  for (const [node, role] of [["broker-1", "broker"], ["data-1", "data"]] as const) {
    await expect(row(node).getByRole("cell").nth(heads.indexOf("Role"))).toHaveText(role);
    await expect(row(node)).toContainText("serving");
  }
  // Whom one asks.
  await expect(row("broker-1")).toContainText("answers you");
  await expect(row("data-1")).not.toContainText("answers you");
  await expect(row("broker-1").getByRole("cell").nth(heads.indexOf("Partitions"))).toHaveText("0");
  await expect(row("data-1").getByRole("cell").nth(heads.indexOf("Partitions"))).toHaveText("4");
  const placed = page.getByRole("list", { name: "What each node holds" }).getByRole("listitem");
  await expect(placed.filter({ hasText: "broker-1" })).toContainText("no partitions");
  await expect(placed.filter({ hasText: "data-1" }).locator(".chip")).toHaveCount(4);
  await picture(page, "cluster-nodes");
  await expectAccessible(page);
  await page.goto("/tables/rides");
  const partitions = page.getByRole("region", { name: "Partitions of rides" });
  await expect(partitions.getByRole("columnheader", { name: "Node" })).toBeVisible();
  await expect(partitions.getByRole("cell", { name: "data-1" })).toHaveCount(4);
});

test("the plans of slow queries are kept, and the slowest ones come first when that is wanted", async ({ page, cluster }) => {
  const names = ["slowest", "slow", "quick"];
  // Enough of them for a slow query.
  await expect.poll(async () => Number((await query(cluster, "SELECT count(*) FROM rides"))[0]?.[0]), { timeout: 60_000, intervals: [500] }).toBeGreaterThan(40_000);
  await query(cluster, "SELECT sum(a.value % b.value) AS slowest FROM generate_series(1, 30000) a, generate_series(1, 20000) b");
  await query(cluster, "SELECT max(md5(repeat(city, 3000))) AS slow FROM rides");
  await query(cluster, "SELECT 1 AS quick");
  await page.goto("/cluster");
  const log = page.getByRole("region", { name: "Ended queries" });
  const row = (name: string) => log.getByRole("row", { name: new RegExp(`AS ${name}\\b`) });
  /** The names in the order of their rows. */
  const listed = async () => {
    const rows = await log.getByRole("row").allTextContents();
    return rows.flatMap((text) => names.filter((name) => text.includes(`AS ${name} `) || text.includes(`AS ${name}done`)));
  };
  await expect.poll(listed).toEqual(["quick", "slow", "slowest"]);
  await page.getByRole("tab", { name: "Slowest" }).click();
  const took = (await query(cluster, "SELECT sql FROM system.query_log WHERE sql LIKE '% AS %' AND sql NOT LIKE '%query_log%' ORDER BY duration_ms DESC")) as [string][];
  const bySlowness = took.flatMap(([sql]) => names.filter((name) => new RegExp(`AS ${name}\\b`).test(sql)));
  expect(bySlowness.at(-1)).toBe("quick");
  await expect.poll(listed).toEqual(bySlowness);
  await picture(page, "cluster-slowest");
  await expectAccessible(page);

  await row("slow").getByRole("button", { name: /^More about query/ }).click();
  const dialog = page.getByRole("dialog");
  await expect(dialog).toContainText("AS slow FROM rides");
  const tree = dialog.getByRole("tree", { name: "Operators of the plan" });
  await expect(tree).toBeVisible();
  expect(await tree.getByRole("treeitem").count()).toBeGreaterThan(2);
  await expect(tree).toContainText(/Aggregate/i);
  await picture(page, "cluster-slow-plan");
  await expectAccessible(page);
  await page.keyboard.press("Escape");
  await expect(row("slow").getByRole("button")).toBeFocused();

  await page.getByRole("tab", { name: "Newest" }).click();
  await expect.poll(listed).toEqual(["quick", "slow", "slowest"]);
  await expect(row("quick").getByRole("button")).toHaveText("More");
  await row("quick").getByRole("button").click();
  await expect(dialog).toContainText("Plans are kept of slow queries only.");
});

test("a query that fails is in the log with its reason", async ({ page, cluster }) => {
  await query(cluster, "SELECT 1 / (value - value) AS failing FROM generate_series(1, 3)").catch(() => undefined);
  await page.goto("/cluster");
  const row = page.getByRole("region", { name: "Ended queries" }).getByRole("row", { name: /AS failing/ }).first();
  await expect(row).toContainText("failed");
  await row.getByRole("button").click();
  await expect(page.getByRole("dialog").getByRole("alert")).toContainText(/zero/i);
});
