// The frame around the views.
import { expect, expectAccessible, picture, test } from "./fixtures";

test("navigates by links, by the browser's buttons and by address", async ({ page }) => {
  await page.goto("/");
  const views = page.getByRole("navigation", { name: "Views" });
  for (const [name, path] of [["Tables", "/tables"], ["Dashboards", "/dashboards"], ["Cluster", "/cluster"], ["Query", "/query"]] as const) {
    await views.getByRole("link", { name }).click();
    await expect(page).toHaveURL(new RegExp(`${path}$`));
    await expect(views.getByRole("link", { name })).toHaveAttribute("aria-current", "page");
  }
  await page.goBack();
  await expect(views.getByRole("link", { name: "Cluster" })).toHaveAttribute("aria-current", "page");
  // Addresses that are JSON endpoints for other clients are views for a browser.
  for (const path of ["/tables", "/tables/rides", "/dashboards", "/cluster"]) {
    await page.goto(path);
    await expect(views).toBeVisible();
  }
});

test("says in the title and to the keyboard where one is", async ({ page }) => {
  await page.goto("/dashboards/rides");
  await expect(page).toHaveTitle("Rides, live · Headwater");
  await page.getByRole("link", { name: "Dashboards" }).click();
  await expect(page).toHaveTitle("Dashboards · Headwater");
  await page.goto("/tables");
  await page.getByRole("link", { name: "rides", exact: true }).press("Enter");
  await expect(page).toHaveTitle("rides · Headwater");
  // The link is gone with its view: Tab goes on in the next one.
  await expect(page.getByRole("main")).toBeFocused();
});

test("a lost server takes no view away", async ({ page, context }) => {
  const others = page.waitForResponse(/assets\/Cluster-.*\.js/);
  await page.goto("/query");
  await others;
  await page.waitForLoadState("networkidle").catch(() => undefined);
  await context.setOffline(true);
  for (const name of ["Tables", "Dashboards", "Cluster"]) {
    await page.getByRole("link", { name, exact: true }).click();
    await expect(page.getByRole("heading", { name, exact: true }).last()).toBeVisible();
    // It is said once, and not by each part of the view.
    await expect(page.getByRole("alert")).toHaveCount(1);
  }
  await expect(page.getByRole("alert")).toContainText("The server cannot be reached");
  await context.setOffline(false);
  await expect(page.getByRole("heading", { name: "Nodes" })).toBeVisible();
  await expect(page.getByRole("alert")).toHaveCount(0);
});

test("nothing goes on moving for those who do not want it", async ({ page }) => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.goto("/query");
  expect(await page.evaluate(() => getComputedStyle(document.body).animationIterationCount)).toBe("1");
});

test("keeps the chosen theme over a reload, without a flash of the other one", async ({ page }) => {
  await page.emulateMedia({ colorScheme: "light" });
  await page.goto("/cluster");
  await page.getByRole("button", { name: "Use the dark theme" }).click();
  await page.reload({ waitUntil: "commit" });
  await expect.poll(() => page.evaluate(() => document.documentElement.dataset.theme)).toBe("dark");
  await expect(page.getByRole("button", { name: "Use the light theme" })).toBeVisible();
});

test("the chosen theme is there without its script, and an open server has nobody to sign out", async ({ page }) => {
  await page.emulateMedia({ colorScheme: "light" });
  await page.goto("/cluster");
  await page.getByRole("button", { name: "Use the dark theme" }).click();
  await page.route("**/theme.js", (route) => route.fulfill({ status: 401, json: {} }));
  await page.reload();
  await expect(page.getByRole("button", { name: "Use the light theme" })).toBeVisible();
  await expect(page.getByRole("button", { name: "Sign out" })).toHaveCount(0);
});

test("nothing is loaded from another origin", async ({ page, server }) => {
  const foreign: string[] = [];
  page.on("request", (request) => {
    if (!request.url().startsWith(server.url) && !request.url().startsWith("data:")) foreign.push(request.url());
  });
  for (const path of ["/query", "/tables", "/dashboards", "/cluster"]) {
    await page.goto(path);
    await page.waitForLoadState("networkidle").catch(() => undefined);
  }
  expect(foreign).toEqual([]);
});

test("is accessible and says what is not there", async ({ page }) => {
  await page.goto("/cluster/no/such/view");
  await expect(page.getByText("There is nothing at this address.")).toBeVisible();
  await picture(page, "nothing");
  await expectAccessible(page);
});
