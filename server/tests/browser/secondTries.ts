// What passed at a second try only, as the last thing that a run says: with its first error, so that nobody takes it for good.
import type { FullConfig, Reporter, Suite, TestCase } from "@playwright/test/reporter";

const ERROR_LINES_MAX = 3;
/** What colours a terminal. */
const COLOURS = /\u001b\[[0-9;]*m/g;

export default class SecondTries implements Reporter {
  private suite: Suite | null = null;

  onBegin(_config: FullConfig, suite: Suite): void {
    this.suite = suite;
  }

  /** After the other reporters have said what they have to say. */
  async onExit(): Promise<void> {
    const flaky = this.suite?.allTests().filter((test) => test.outcome() === "flaky") ?? [];
    if (flaky.length === 0) return;
    console.log(`\nbrowser: ${flaky.length === 1 ? "1 test has" : `${flaky.length} tests have`} passed at a second try only:`);
    for (const test of flaky) console.log(`  ${nameOf(test)}\n${firstError(test)}`);
  }
}

/** File, line and title. */
function nameOf(test: TestCase): string {
  const [, , file = "", ...titles] = test.titlePath();
  return `${file}:${test.location.line} › ${titles.join(" › ")}`;
}

function firstError(test: TestCase): string {
  const failed = test.results.find((result) => result.status !== test.expectedStatus);
  const lines = (failed?.error?.message ?? failed?.status ?? "").replaceAll(COLOURS, "").split("\n").filter((line) => line.trim() !== "");
  return lines.slice(0, ERROR_LINES_MAX).map((line) => `      ${line}`).join("\n");
}
