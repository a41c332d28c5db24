// How the tests run: in the Chromium of this machine, one after another, against one server, and some against more.
import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: ".",
  outputDir: "test-results",
  workers: 1,
  timeout: 120_000,
  expect: { timeout: 10_000 },
  // A machine that compiles beside it is slow; a test that passes only then is listed at the end.
  retries: 1,
  forbidOnly: true,
  reporter: [["list"], ["./secondTries.ts"]],
  use: {
    browserName: "chromium",
    viewport: { width: 1360, height: 860 },
    locale: "en-GB",
    timezoneId: "UTC",
    permissions: ["clipboard-read", "clipboard-write"],
    screenshot: "only-on-failure",
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: [
        // Root has no sandbox; the page under test is our own.
        ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
  },
});
