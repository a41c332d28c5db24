import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { connectionState } from "./connection";
import { follow, retryAfter } from "./events";
import type { ErrorDetails } from "./types";

class Source extends EventTarget {
  static readonly CLOSED = 2;
  static made: Source[] = [];
  readyState = 0;
  onopen: (() => void) | null = null;
  onerror: (() => void) | null = null;
  constructor(readonly url: string) {
    super();
    Source.made.push(this);
  }
  opened() {
    this.readyState = 1;
    this.onopen?.();
  }
  failed(readyState: number) {
    this.readyState = readyState;
    this.onerror?.();
  }
  close() {
    this.readyState = Source.CLOSED;
  }
}

const last = () => Source.made.at(-1) as Source;
let said: string[];
let stop: () => void;
let asked: number;

function start(answer: () => Response | Error) {
  said = [];
  asked = 0;
  vi.stubGlobal("fetch", async (path: string) => {
    const made = path === "/live" ? answer() : new Response("");
    if (path === "/live") asked += 1;
    if (made instanceof Error) throw made;
    return made;
  });
  const onRefused = ({ message }: ErrorDetails, status: number) => said.push(`refused ${status} ${message}`);
  stop = follow("/live", ["beat"], { onEvent: (name) => said.push(name), onOpen: () => said.push("open"), onLost: () => said.push("lost"), onRefused }, 13_000);
}

beforeEach(() => {
  vi.useFakeTimers();
  Source.made = [];
  vi.stubGlobal("EventSource", Source);
});

afterEach(() => {
  stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const refusal = (status: number) => () => new Response(JSON.stringify({ error: { kind: "k", message: "no" } }), { status });

test("the end of a stream that comes back is nothing", async () => {
  start(() => new Response(""));
  last().opened();
  last().failed(0);
  last().opened();
  last().failed(0);
  last().opened();
  await vi.advanceTimersByTimeAsync(5000);
  expect([said, asked, connectionState().state, Source.made.length]).toEqual([["open", "open", "open"], 0, "connected", 1]);
});

test("a stream that does not come back is looked at, and a server that does not answer is lost", async () => {
  start(() => new TypeError("connection refused"));
  const { epoch } = connectionState();
  last().opened();
  last().failed(0);
  last().failed(0);
  await vi.advanceTimersByTimeAsync(0);
  expect([said, connectionState().state]).toEqual([["open", "lost"], "lost"]);
  await vi.advanceTimersByTimeAsync(1500);
  expect(Source.made.length).toBe(2);
  last().opened();
  expect(connectionState()).toEqual({ state: "connected", epoch: epoch + 1 });
});

test("a refusal is said, and is no lost server", async () => {
  start(refusal(400));
  last().failed(2);
  await vi.advanceTimersByTimeAsync(120_000);
  expect([said, asked, Source.made.length, connectionState().state]).toEqual([["lost", "refused 400 no"], 1, 1, "connected"]);
});

test("a busy server is asked again much later", async () => {
  start(refusal(429));
  last().failed(2);
  await vi.advanceTimersByTimeAsync(29_000);
  expect(Source.made.length).toBe(1);
  await vi.advanceTimersByTimeAsync(2000);
  expect(Source.made.length).toBe(2);
  expect([400, 403, 404, 429, 500, 503].map(retryAfter)).toEqual([null, null, null, 30_000, 30_000, 30_000]);
});

test("silence is taken for a broken stream", async () => {
  start(() => new Response(""));
  last().opened();
  await vi.advanceTimersByTimeAsync(10_000);
  last().dispatchEvent(Object.assign(new Event("beat"), { data: "" }));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(said).toEqual(["open", "beat"]);
  await vi.advanceTimersByTimeAsync(6000);
  expect([said, asked, Source.made.length]).toEqual([["open", "beat", "lost"], 1, 2]);
});
