// Server-sent events. A stream that ends is opened again by the browser; one that cannot be opened is looked at here.
import { ApiError, errorDetails, LostError, send } from "./client";
import { serverAnswered, serverLost } from "./connection";
import type { ErrorDetails } from "./types";

const RETRY_MS = 1500;
const BUSY_RETRY_MS = 30_000;
const LOOK_WAIT_MS = 5000;
const WATCH_EVERY_MS = 2000;

export interface EventHandlers {
  /** Each named event with its data, parsed by the caller. */
  onEvent(name: string, data: string): void;
  /** The stream is open (again): what follows starts from the last known state. */
  onOpen?(): void;
  onLost?(): void;
  /** The server answers, but not with a stream. */
  onRefused?(error: ErrorDetails, status: number): void;
}

/** When to ask again after an answer that was no stream; null: never, asking again changes nothing. */
export function retryAfter(status: number): number | null {
  if (status < 400) return RETRY_MS;
  return status === 429 || status >= 500 ? BUSY_RETRY_MS : null;
}

/** Follows a stream until the returned function is called. A stream that is silent for `silenceMs` is taken for a broken one. */
export function follow(url: string, names: string[], handlers: EventHandlers, silenceMs = Number.POSITIVE_INFINITY): () => void {
  const over = new AbortController();
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let heard = 0;
  let isBroken = false;

  const open = () => {
    const made = new EventSource(url);
    source = made;
    isBroken = false;
    heard = Date.now();
    made.onopen = () => {
      isBroken = false;
      heard = Date.now();
      serverAnswered();
      handlers.onOpen?.();
    };
    for (const name of names) {
      made.addEventListener(name, (event) => {
        heard = Date.now();
        handlers.onEvent(name, (event as MessageEvent<string>).data);
      });
    }
    made.onerror = () => {
      if (over.signal.aborted) return;
      // Every stream ends one day, and the browser opens the next one: only if that fails something is wrong.
      if (made.readyState !== EventSource.CLOSED && !isBroken) isBroken = true;
      else void look();
    };
  };

  /** The browser does not say why there is no stream: the address is asked once. */
  const look = async () => {
    source?.close();
    source = null;
    handlers.onLost?.();
    let wait: number | null = RETRY_MS;
    const controller = new AbortController();
    try {
      await send("GET", url, { headers: { accept: "text/event-stream" }, signal: AbortSignal.any([over.signal, controller.signal, AbortSignal.timeout(LOOK_WAIT_MS)]) });
    } catch (error) {
      if (over.signal.aborted) return;
      if (error instanceof ApiError) {
        handlers.onRefused?.(errorDetails(error), error.status);
        wait = retryAfter(error.status);
      } else if (!(error instanceof LostError)) serverLost(); // It took too long.
    }
    // Its head was enough.
    controller.abort();
    if (!over.signal.aborted && wait !== null) timer = setTimeout(open, wait);
  };

  const watch = setInterval(() => {
    if (source && Date.now() - heard > silenceMs) void look();
  }, WATCH_EVERY_MS);
  open();
  return () => {
    over.abort();
    clearInterval(watch);
    clearTimeout(timer);
    source?.close();
  };
}
