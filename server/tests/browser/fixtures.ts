// A real server for the tests, and what they all need.
//
// `headwater demo` of HEADWATER_BINARY on a free port, started once for all tests of a worker. HEADWATER_TEST_URL names a
// server (or a development server in front of one) that runs already instead; tests that stop the server are then skipped.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import AxeBuilder from "@axe-core/playwright";
import { test as base, expect, type Page } from "@playwright/test";

const START_WAIT_MS = 60_000;
const STOP_WAIT_MS = 20_000;

export interface Server {
  url: string;
  /** Whether stop() and start() are possible. */
  own: boolean;
  stop(): Promise<void>;
  start(): Promise<void>;
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const listener = createServer();
    listener.once("error", reject);
    listener.listen(0, "127.0.0.1", () => {
      const address = listener.address();
      const port = typeof address === "object" && address ? address.port : 0;
      listener.close(() => resolve(port));
    });
  });
}

export async function query(url: string, sql: string): Promise<unknown[][]> {
  const response = await fetch(`${url}/sql`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ sql }) });
  const answer = (await response.json()) as { rows: unknown[][]; error?: { message: string } };
  if (answer.error) throw new Error(answer.error.message);
  return answer.rows;
}

class Demo implements Server {
  readonly own = true;
  private child: ChildProcess | null = null;
  constructor(
    readonly url: string,
    private readonly binary: string,
    private readonly listen: string,
    private readonly data: string,
  ) {}

  async start(): Promise<void> {
    const child = spawn(this.binary, ["demo", "--listen", this.listen, "--data", this.data, "--rate", "2000"], { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr?.on("data", (part: Buffer) => {
      said = (said + part.toString()).slice(-4000);
    });
    this.child = child;
    const deadline = Date.now() + START_WAIT_MS;
    while (Date.now() < deadline) {
      if (child.exitCode !== null) throw new Error(`headwater demo ended with ${child.exitCode}: ${said}`);
      try {
        const [[rows]] = (await query(this.url, "SELECT count(*) FROM rides")) as [[number]];
        if (rows > 0) return;
      } catch {
        // Not there yet.
      }
      await sleep(100);
    }
    throw new Error(`headwater demo had no rows after ${START_WAIT_MS} ms: ${said}`);
  }

  async stop(): Promise<void> {
    const child = this.child;
    this.child = null;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGINT");
    await Promise.race([ended, sleep(STOP_WAIT_MS)]);
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await ended;
    }
  }
}

export const test = base.extend<{ faults: string[] }, { server: Server }>({
  server: [
    async ({}, use) => {
      const running = process.env.HEADWATER_TEST_URL;
      if (running) {
        await use({ url: running, own: false, stop: async () => {}, start: async () => {} });
        return;
      }
      const binary = process.env.HEADWATER_BINARY;
      if (!binary) throw new Error("set HEADWATER_BINARY to the binary to test (or run .ci/browser)");
      const listen = `127.0.0.1:${await freePort()}`;
      const data = await mkdtemp(join(tmpdir(), "headwater-browser-"));
      const demo = new Demo(`http://${listen}`, binary, listen, data);
      try {
        await demo.start();
        await use(demo);
      } finally {
        await demo.stop();
        await rm(data, { recursive: true, force: true });
      }
    },
    { scope: "worker", timeout: START_WAIT_MS + STOP_WAIT_MS },
  ],
  baseURL: async ({ server }, use) => use(server.url),
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

export { expect };
