// What becomes of a dashboard: its settings, copies, what is discarded, conflicts, its end; and full screen.
import type { Page } from "@playwright/test";
import { button, call, documentOf, figure, make, number, open, panel, retitle, stored } from "./boards";
import { expect, expectAccessible, picture, test } from "./fixtures";

/** The answers of a panel that the page's stream brings within `ms`. */
async function runsWithin(page: Page, id: string, ms: number): Promise<number> {
  const shown = panel(page, id).locator("strong");
  await shown.evaluate((element) => {
    Object.assign(window, { runs: 0 });
    new MutationObserver(() => ((window as unknown as { runs: number }).runs += 1)).observe(element.closest("[data-panel]") as Element, { childList: true, subtree: true, characterData: true });
  });
  await page.waitForTimeout(ms);
  return page.evaluate(() => (window as unknown as { runs: number }).runs);
}

const fullScreen = (page: Page) => page.evaluate(() => document.fullscreenElement?.className ?? null);

test("settings: title, variables, time range, and how often a panel runs", async ({ page, server }) => {
  const document = documentOf("Chosen");
  document.refresh_ms = 60_000;
  const id = await open(page, server, document);
  await button(page, "Edit").click();
  await button(page, "Settings").click();
  const dialog = page.getByRole("dialog", { name: "Dashboard" });
  await expect(dialog.getByLabel("Title")).toHaveValue("Chosen");
  const refresh = dialog.getByLabel("A panel runs at most once in");
  await expect(refresh).toHaveValue("60000");
  await dialog.getByLabel("Title").fill(" ");
  await expect(dialog.getByRole("alert")).toContainText("needs a title");
  await expect(dialog.getByRole("button", { name: "Take over" })).toBeDisabled();
  await dialog.getByLabel("Title").fill("Chosen anew");
  await dialog.getByRole("button", { name: "Variable", exact: true }).click();
  const added = dialog.getByRole("group", { name: "Variable v2" });
  await added.getByLabel("Name").fill("city");
  await expect(dialog.getByRole("alert")).toContainText("two variables $city");
  await picture(page, "dashboard-settings");
  await expectAccessible(page);
  await dialog.getByLabel("Name").last().fill("vehicle");
  await dialog.getByLabel("Values, one per line").fill("bike\ncar");
  await refresh.selectOption({ label: "1 second" });
  await dialog.getByLabel("Time range at first").selectOption({ label: "Last hour" });
  await dialog.getByRole("button", { name: "Take over" }).click();
  await expect(page.getByRole("heading", { name: "Chosen anew" })).toBeVisible();
  await button(page, "Save").click();
  await expect(page.getByText("Saved as version 2")).toBeVisible();
  expect(await stored(server, id)).toMatchObject({ title: "Chosen anew", refresh_ms: 1000, time: { last: "1h" }, variables: [{ name: "city" }, { name: "vehicle", values: ["bike", "car"] }] });
  await expect(page.getByLabel("Time range")).toHaveValue("1h");
  await page.getByLabel("vehicle").selectOption("bike");
  await expect(page).toHaveURL(/var\.vehicle=bike/);
});

test("a panel runs as often as was chosen, and no oftener", async ({ page, server }) => {
  const rare = documentOf("Rare");
  rare.refresh_ms = 60_000;
  await open(page, server, rare);
  // The first answer may be followed by one for rows that came meanwhile.
  await page.waitForTimeout(1500);
  expect(await runsWithin(page, "all", 6000)).toBeLessThanOrEqual(1);
  await button(page, "Edit").click();
  await button(page, "Settings").click();
  await page.getByLabel("A panel runs at most once in").selectOption({ label: "1 second" });
  await button(page, "Take over").click();
  await button(page, "Save").click();
  await expect(page.getByText("Saved as version 2")).toBeVisible();
  await page.waitForTimeout(1500);
  const runs = await runsWithin(page, "all", 6000);
  expect(runs).toBeGreaterThanOrEqual(2);
});

test("full screen of the whole board and of one panel, by button and by key", async ({ page, server }) => {
  await open(page, server, documentOf("Large"));
  await button(page, "Full screen").click();
  await expect.poll(() => fullScreen(page)).toMatch(/\bboard\b/);
  await expect(panel(page, "all").locator("strong")).toBeVisible();
  // Nothing of the page is to be seen beside it.
  const corners = await page.evaluate(() => [[2, 2], [innerWidth - 2, 2], [2, innerHeight - 2], [innerWidth - 2, innerHeight - 2]].map(([x, y]) => document.elementFromPoint(x as number, y as number)?.closest(".board") !== null));
  expect(corners).toEqual([true, true, true, true]);
  const before = await figure(panel(page, "all"));
  await expect.poll(() => figure(panel(page, "all")), { timeout: 15_000 }).toBeGreaterThan(before);
  const colours = await page.evaluate(() => [document.querySelector(".board") as Element, document.documentElement].map((one) => getComputedStyle(one).backgroundColor));
  expect(colours[0]).toBe(colours[1]);
  await picture(page, "dashboard-full-screen");
  await expectAccessible(page);
  await page.keyboard.press("f");
  await expect.poll(() => fullScreen(page)).toBeNull();
  await page.keyboard.press("f");
  await expect.poll(() => fullScreen(page)).toMatch(/\bboard\b/);
  await button(page, "Full screen").click();
  await expect.poll(() => fullScreen(page)).toBeNull();

  await panel(page, "all").hover();
  await button(page, "Actions of all").click();
  await page.getByRole("menuitem", { name: "Full screen" }).click();
  await expect.poll(() => fullScreen(page)).toMatch(/board-panel/);
  const box = await panel(page, "all").boundingBox();
  expect(box).toMatchObject({ x: 0, y: 0, width: await page.evaluate(() => innerWidth) });
  await picture(page, "dashboard-panel-full-screen");
  // What brought it there takes it back.
  await panel(page, "all").hover();
  await button(page, "Actions of all").click();
  await page.getByRole("menuitem", { name: "Full screen" }).click();
  await expect.poll(() => fullScreen(page)).toBeNull();
});

test("in full screen one is still told and asked", async ({ page, server }) => {
  await open(page, server, documentOf("Told"));
  await page.keyboard.press("f");
  await expect.poll(() => fullScreen(page)).toMatch(/\bboard\b/);
  await button(page, "More").click();
  await page.getByRole("menuitem", { name: "Copy the read-only link" }).click();
  const told = page.getByText("The read-only link is copied");
  await expect(told).toBeVisible();
  const clip = (await told.boundingBox()) ?? { x: 0, y: 0, width: 0, height: 0 };
  const drawn = await page.screenshot({ clip });
  await expect(told).toHaveCount(0);
  // It was drawn above the board, and not below where nobody sees it.
  expect(drawn.equals(await page.screenshot({ clip }))).toBe(false);
  await button(page, "More").click();
  await page.getByRole("menuitem", { name: "Delete…" }).click();
  await expect(page.getByRole("dialog", { name: "Delete “Told”?" })).toBeInViewport();
  await button(page, "Keep it").click();
  await expect.poll(() => fullScreen(page)).toMatch(/\bboard\b/);
});

test("a copy is a dashboard of its own", async ({ page, server }) => {
  const id = await open(page, server, documentOf("Copied"));
  await button(page, "More").click();
  await page.getByRole("menuitem", { name: "Make a copy" }).click();
  await expect(page.getByRole("heading", { name: "Copied (copy)" })).toBeVisible();
  await expect(page).toHaveURL(new RegExp(`/dashboards/${id}-copy$`));
  await expect(panel(page, "all").locator("strong")).toBeVisible();
  await button(page, "Edit").click();
  await retitle(page, "No copy any more");
  await button(page, "Save").click();
  await expect(page.getByText("Saved as version 2")).toBeVisible();
  expect((await stored(server, id)).title).toBe("Copied");
  expect((await stored(server, `${id}-copy`)).panels).toEqual((await stored(server, id)).panels);
  // The next one finds another name.
  await page.goto(`/dashboards/${id}`);
  await button(page, "More").click();
  await page.getByRole("menuitem", { name: "Make a copy" }).click();
  await expect(page).toHaveURL(new RegExp(`/dashboards/${id}-copy-2$`));
});

test("what is discarded is gone after a question, and only then", async ({ page, server }) => {
  const id = await open(page, server, documentOf("Kept"));
  await button(page, "Edit").click();
  // Nothing was changed: nothing to ask.
  await button(page, "Done").click();
  await expect(button(page, "Edit")).toBeVisible();
  await button(page, "Edit").click();
  await retitle(page, "Thrown away");
  await panel(page, "all").focus();
  await page.keyboard.press("Delete");
  await expect(panel(page, "all")).toHaveCount(0);
  await button(page, "Discard").click();
  const question = page.getByRole("dialog", { name: "Discard what you have changed?" });
  await expect(question).toContainText("version 1");
  await picture(page, "dashboard-discard");
  await expectAccessible(page);
  await question.getByRole("button", { name: "Go on editing" }).click();
  await expect(page.getByRole("heading", { name: "Thrown away" })).toBeVisible();
  await button(page, "Discard").click();
  await question.getByRole("button", { name: "Discard" }).click();
  await expect(page.getByRole("heading", { name: "Kept" })).toBeVisible();
  await expect(panel(page, "all").locator("strong")).toBeVisible();
  await page.reload();
  await expect(page.getByRole("heading", { name: "Kept" })).toBeVisible();
  expect((await stored(server, id)).title).toBe("Kept");
});

/** Edits in the page, and saves as somebody else what is stored then: the page's own save meets a conflict. */
async function conflict(page: Page, id: string, server: Parameters<typeof call>[0]): Promise<void> {
  await button(page, "Edit").click();
  await retitle(page, "Mine");
  const theirs = { ...documentOf("Theirs"), panels: [number("theirs", "SELECT 42 AS answer", 0)] };
  expect((await call(server, "PUT", id, { "if-match": "*" }, theirs)).status).toBe(200);
  await button(page, "Save").click();
  await expect(page.getByRole("dialog", { name: "Somebody else has changed this dashboard" })).toContainText("Version 2");
}

test("of two who edit at once the second may overwrite the first", async ({ page, server }) => {
  const id = await open(page, server, documentOf("Of two"));
  await conflict(page, id, server);
  // What one has is still in sight, though it is not what is stored.
  await expect(panel(page, "all").locator("strong")).toBeVisible();
  await picture(page, "dashboard-conflict");
  await expectAccessible(page);
  // Thought over: everything is as it was, and saving asks again.
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  expect((await stored(server, id)).title).toBe("Theirs");
  await page.keyboard.press("Control+s");
  await button(page, "Overwrite with mine").click();
  await expect(page.getByText("Saved as version 3")).toBeVisible();
  await expect(page.getByRole("dialog")).toHaveCount(0);
  const after = await stored(server, id);
  expect([after.title, after.panels.map((one) => one.id)]).toEqual(["Mine", ["all", "chosen"]]);
  await expect(panel(page, "all").locator("strong")).toBeVisible();
});

test("of two who edit at once the second may take what the first has made", async ({ page, server }) => {
  const id = await open(page, server, documentOf("Of two"));
  await conflict(page, id, server);
  await button(page, "Take theirs").click();
  await expect(page.getByRole("heading", { name: "Theirs", exact: true })).toBeVisible();
  await expect(panel(page, "theirs").locator("strong")).toHaveText("42");
  await expect(button(page, "Edit")).toBeVisible();
  expect((await stored(server, id)).title).toBe("Theirs");
});

test("overwriting what has changed once more asks once more", async ({ page, server }) => {
  const id = await open(page, server, documentOf("Of three"));
  await conflict(page, id, server);
  // The page knows version 2, and does not hear of the third one.
  const document = (url: URL) => url.pathname === `/dashboards/${id}`;
  await page.route(document, (route) => (route.request().method() === "GET" ? route.fulfill({ status: 500, json: { error: { kind: "internal", message: "not now" } } }) : route.continue()));
  expect((await call(server, "PUT", id, { "if-match": "*" }, documentOf("Of somebody third"))).status).toBe(200);
  const refused = page.waitForResponse((response) => response.request().method() === "PUT");
  await button(page, "Overwrite with mine").click();
  expect((await refused).status()).toBe(412);
  expect((await stored(server, id)).title).toBe("Of somebody third");
  await expect(page.getByRole("dialog", { name: "Somebody else has changed this dashboard" })).toBeVisible();
  await page.unroute(document);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+s");
  await expect(page.getByRole("dialog")).toContainText("Version 3");
  await button(page, "Overwrite with mine").click();
  await expect(page.getByText("Saved as version 4")).toBeVisible();
});

test("deleted from the board and from the list, after a question", async ({ page, server }) => {
  const id = await open(page, server, documentOf("To be deleted"));
  await button(page, "More").click();
  await page.getByRole("menuitem", { name: "Delete…" }).click();
  const question = page.getByRole("dialog", { name: "Delete “To be deleted”?" });
  await expect(question).toContainText("Everybody who watches it");
  await picture(page, "dashboard-delete");
  await expectAccessible(page);
  await button(page, "Keep it").click();
  expect((await call(server, "GET", id, {})).status).toBe(200);
  await button(page, "More").click();
  await page.getByRole("menuitem", { name: "Delete…" }).click();
  await question.getByRole("button", { name: "Delete" }).click();
  await expect(page).toHaveURL(/\/dashboards$/);
  await expect(page.getByRole("link", { name: id })).toHaveCount(0);
  expect((await call(server, "GET", id, {})).status).toBe(404);

  const title = `Of the list ${Date.now()}`;
  const second = await make(server, documentOf(title));
  await page.reload();
  await button(page, `Actions of ${title}`).click();
  await page.getByRole("menuitem", { name: "Delete…" }).click();
  // Somebody else was faster with a change: what one has not seen is not deleted.
  expect((await call(server, "PUT", second, { "if-match": "*" }, documentOf(title))).status).toBe(200);
  await button(page, "Delete").click();
  await expect(page.getByRole("dialog").getByRole("alert")).toBeVisible();
  expect((await call(server, "GET", second, {})).status).toBe(200);
  await button(page, "Keep it").click();
  await page.reload();
  await button(page, `Actions of ${title}`).click();
  await page.getByRole("menuitem", { name: "Delete…" }).click();
  await button(page, "Delete").click();
  await expect(page.getByText(`“${title}” is deleted`)).toBeVisible();
  await expect(page.getByRole("link", { name: second })).toHaveCount(0);
});
