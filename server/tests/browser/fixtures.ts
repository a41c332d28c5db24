// What all tests need: a server, a page that has nothing to complain about, and looks at it.
//
// The server is a demo, started once for all tests of a worker (servers.ts). HEADWATER_TEST_URL names one (or a development
// server in front of one) that runs already instead; tests that stop the server are then skipped. HEADWATER_TEST_CONSOLE names
// a directory with a build of the console that is to be seen in the place of the binary's own.
import { existsSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import AxeBuilder from "@axe-core/playwright";
import { test as base, type Browser, type BrowserContext, expect, type Locator, type Page } from "@playwright/test";
import { type Server, START_WAIT_MS, startDemo, STOP_WAIT_MS } from "./servers";

export { query, type Server } from "./servers";

const TYPES: Record<string, string> = { ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

/** Shows the build of HEADWATER_TEST_CONSOLE, with the headers of the server. */
async function showOtherConsole(context: BrowserContext): Promise<void> {
  const directory = process.env.HEADWATER_TEST_CONSOLE;
  if (!directory) return;
  await context.route("**/*", async (route) => {
    const request = route.request();
    const path = new URL(request.url()).pathname;
    const file = join(directory, path);
    if (request.resourceType() === "document") await route.fulfill({ response: await route.fetch(), path: join(directory, "index.html") });
    else if (extname(path) in TYPES && existsSync(file)) await route.fulfill({ contentType: TYPES[extname(path)], body: readFileSync(file) });
    else await route.fallback();
  });
}

export const test = base.extend<{ faults: string[] }, { server: Server }>({
  server: [
    async ({}, use) => {
      const running = process.env.HEADWATER_TEST_URL;
      if (running) {
        await use({ url: running, own: false, stop: async () => {}, start: async () => {} });
        return;
      }
      const { server, end } = await startDemo();
      try {
        await use(server);
      } finally {
        await end();
      }
    },
    { scope: "worker", timeout: START_WAIT_MS + STOP_WAIT_MS },
  ],
  baseURL: async ({ server }, use) => use(server.url),
  context: async ({ context }, use) => {
    await showOtherConsole(context);
    await use(context);
  },
  /** What the page complained about: exceptions and violations of the content security policy. Every test ends with none. */
  faults: [
    async ({ page }, use) => {
      const faults: string[] = [];
      page.on("pageerror", (error) => faults.push(error.message));
      page.on("console", (message) => {
        if (message.type() === "error" && /Content Security Policy|Refused to/i.test(message.text())) faults.push(message.text());
      });
      await use(faults);
      expect(faults).toEqual([]);
    },
    { auto: true },
  ],
});

/** Somebody else's browser, which knows nothing of the test's own. */
export async function newContext(browser: Browser, baseURL: string): Promise<BrowserContext> {
  const context = await browser.newContext({ baseURL, locale: "en-GB", timezoneId: "UTC", viewport: { width: 1360, height: 860 } });
  await showOtherConsole(context);
  return context;
}

/** axe finds nothing, in both themes. */
export async function expectAccessible(page: Page): Promise<void> {
  for (const theme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme: theme });
    // An editor follows the theme a moment later, and a busy machine takes long to look at a page.
    await expect(async () => {
      const { violations } = await new AxeBuilder({ page }).analyze();
      const found = violations.flatMap(({ id, help, nodes }) => nodes.map((node) => `${theme}: ${id}: ${help}: ${node.html.slice(0, 200)} ${node.any.map((check) => check.message).join("; ")}`));
      expect(found).toEqual([]);
    }).toPass({ timeout: 30_000 });
  }
}

/** Counts from now on how far what is on the page is moved without anybody's doing. */
export async function countShifts(page: Page): Promise<() => Promise<number>> {
  await page.evaluate(() => {
    Object.assign(window, { shift: 0 });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) (window as unknown as { shift: number }).shift += (entry as unknown as { value: number }).value;
    }).observe({ type: "layout-shift" });
  });
  return () => page.evaluate(() => (window as unknown as { shift: number }).shift);
}

/** A picture of the page in both themes, into the directory HEADWATER_SCREENSHOTS if that is set. */
export async function picture(page: Page, name: string): Promise<void> {
  const directory = process.env.HEADWATER_SCREENSHOTS;
  if (!directory) return;
  for (const theme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme: theme });
    await page.mouse.move(2, 400);
    await page.waitForTimeout(250);
    await page.screenshot({ path: join(directory, `${name}-${theme}.png`) });
  }
}

/** By keyboard to `target`, as far as it takes. */
export async function tabTo(page: Page, target: Locator, key: "Tab" | "Shift+Tab" = "Tab"): Promise<void> {
  await expect(target).toBeVisible();
  for (let i = 0; i < 80; i++) {
    if (await target.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press(key);
  }
  await expect(target, "80 times Tab do not lead to it").toBeFocused({ timeout: 1 });
}

export { expect };
