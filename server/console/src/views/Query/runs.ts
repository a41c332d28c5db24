// What runs, and what came of it, per tab. It lives outside of React: a change of view stops nothing.
import { ApiError, cancelQuery, errorDetails, isAbort, newQueryId, progress, sql as ask } from "../../api/client";
import type { Answer, ErrorDetails, Progress } from "../../api/types";
import { counted, duration } from "../../format";
import { createStore, useStore } from "../../store";
import { remember } from "./workspace";

const PROGRESS_FIRST_MS = 300;
const PROGRESS_EVERY_MS = 400;
/** The answers of so many tabs are kept, those that were looked at last. */
const ANSWERS_MAX = 6;

export interface Run {
  id: string;
  sql: string;
  /** Where the statement begins in the tab's text. */
  from: number;
  startedAt: number;
  state: "running" | "done" | "failed" | "cancelled";
  progress: Progress | null;
  /** While a statement runs: the answer before, which stays in sight. */
  answer: Answer | null;
  /** The statement that `answer` belongs to. */
  answered: string;
  /** The answer was let go, since it was not looked at for long. */
  letGo?: boolean;
  error: ErrorDetails | null;
  elapsedMs: number;
}

type Runs = Readonly<Record<string, Run>>;

const runs = createStore<Runs>({});
const controllers = new Map<string, AbortController>();

export const useRun = (tab: string): Run | undefined => useStore(runs)[tab];
export const useRuns = () => useStore(runs);

/** How a run ended, for those who do not see it; an error is an alert of its own. */
export function spokenOf(run: Run | undefined): string {
  if (run?.state === "done" && run.answer) return `${counted(run.answer.rows.length, "row")} in ${duration(run.answer.stats?.elapsed_ms ?? run.elapsedMs)}`;
  return run?.state === "cancelled" ? "Cancelled" : "";
}

function update(tab: string, id: string, change: Partial<Run>): void {
  const run = runs.get()[tab];
  if (run?.id === id) runs.set({ ...runs.get(), [tab]: { ...run, ...change } });
}

/** The runs without the answers of those tabs that were looked at longest ago; `looks` has the last one first. */
export function withoutOld(all: Runs, looks: string[], max = ANSWERS_MAX): Runs {
  const kept = new Set(looks.slice(0, max));
  const old = Object.entries(all).filter(([tab, run]) => !kept.has(tab) && run.answer !== null && run.state !== "running");
  if (old.length === 0) return all;
  return { ...all, ...Object.fromEntries(old.map(([tab, run]) => [tab, { ...run, answer: null, letGo: true }])) };
}

let looks: string[] = [];

/** A tab is looked at. */
export function lookAt(tab: string): void {
  looks = [tab, ...looks.filter((other) => other !== tab)];
  runs.set(withoutOld(runs.get(), looks));
}

export async function start(tab: string, sql: string, from: number): Promise<void> {
  cancel(tab);
  const id = newQueryId();
  const controller = new AbortController();
  controllers.set(tab, controller);
  const before = runs.get()[tab];
  const startedAt = performance.now();
  const run: Run = { id, sql, from, startedAt, state: "running", progress: null, answer: before?.answer ?? null, answered: before?.answered ?? "", error: null, elapsedMs: 0 };
  runs.set({ ...runs.get(), [tab]: run });
  const watching = watch(tab, id, controller.signal);
  const end = (state: "done" | "failed" | "cancelled", change: Partial<Run>) => {
    const elapsedMs = performance.now() - startedAt;
    update(tab, id, { state, elapsedMs, ...change });
    runs.set(withoutOld(runs.get(), looks));
    remember({ sql, at: Date.now(), state, ms: elapsedMs, rows: change.answer?.rows.length ?? 0 });
  };
  try {
    const answer = await ask(sql, { queryId: id, signal: controller.signal });
    end(answer.error ? "failed" : "done", { answer, answered: sql, error: answer.error ?? null });
  } catch (error) {
    if (isAbort(error) || (error instanceof ApiError && error.details.kind === "cancelled")) end("cancelled", {});
    else end("failed", { answer: null, error: errorDetails(error) });
  } finally {
    controller.abort();
    if (controllers.get(tab) === controller) controllers.delete(tab);
    await watching;
  }
}

/** Asks how far the query is, as long as the server knows of it. */
async function watch(tab: string, id: string, signal: AbortSignal): Promise<void> {
  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve();
      }, { once: true });
    });
  await pause(PROGRESS_FIRST_MS);
  while (!signal.aborted) {
    try {
      const known = await progress(id, signal);
      if (known === null) return;
      update(tab, id, { progress: known });
    } catch {
      return; // Aborted, or the server is lost: the query itself says so.
    }
    await pause(PROGRESS_EVERY_MS);
  }
}

/** Whether there was something to cancel. */
export function cancel(tab: string): boolean {
  const run = runs.get()[tab];
  const controller = controllers.get(tab);
  if (run?.state !== "running" || !controller) return false;
  controller.abort();
  cancelQuery(run.id).catch(() => undefined); // Closing the connection has cancelled it already.
  return true;
}

export function forgetRun(tab: string): void {
  cancel(tab);
  looks = looks.filter((other) => other !== tab);
  const { [tab]: _gone, ...others } = runs.get();
  runs.set(others);
}
