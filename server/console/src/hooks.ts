// What views have in common: loading, sending, where the keyboard goes on, the time.
import { type FormEvent, type RefObject, useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { isAbort, LostError } from "./api/client";
import { useConnection } from "./api/connection";

export interface Loaded<T> {
  /** The last answer; stays while a newer one is fetched and when that fails, so that nothing flickers. */
  data: T | undefined;
  error: unknown;
  loading: boolean;
  reload(): void;
}

/**
 * Loads at once, when `key` changes, when the server is back, and every `everyMs` after an answer (not while the page is hidden,
 * but once also there: a page that is opened in the background has something to show when one looks at it).
 * A key that changes forgets the old data.
 */
export function useLoad<T>(key: string, load: (signal: AbortSignal) => Promise<T>, everyMs?: number): Loaded<T> {
  const [state, setState] = useState<{ key: string; data?: T; error: unknown; loading: boolean }>({ key, error: null, loading: true });
  const [round, setRound] = useState(0);
  const { epoch } = useConnection();
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const controller = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isFirst = true;
    const run = async () => {
      if (isFirst || !document.hidden) {
        isFirst = false;
        setState((old) => (old.key === key ? (old.loading ? old : { ...old, loading: true }) : { key, error: null, loading: true }));
        try {
          const data = await latest.current(controller.signal);
          if (controller.signal.aborted) return;
          setState({ key, data, error: null, loading: false });
        } catch (error) {
          if (isAbort(error) || controller.signal.aborted) return;
          setState((old) => ({ key, data: old.key === key ? old.data : undefined, error: error instanceof LostError && old.data !== undefined ? old.error : error, loading: false }));
        }
      }
      if (everyMs) timer = setTimeout(run, everyMs);
    };
    void run();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [key, everyMs, epoch, round]);
  const reload = useCallback(() => setRound((old) => old + 1), []);
  const mine = state.key === key;
  return { data: mine ? state.data : undefined, error: mine ? state.error : null, loading: !mine || state.loading, reload };
}

export interface Sending {
  busy: boolean;
  /** Why the last try failed; it stays until the next one. */
  error: unknown;
  submit(event: FormEvent): void;
}

/** Sends what a form has when it `isReady`, once at a time. What has succeeded stays busy: it leads away from the form. */
export function useSending(isReady: boolean, send: () => unknown): Sending {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const run = async () => {
    if (busy || !isReady) return;
    setBusy(true);
    setError(null);
    try {
      await send();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void run();
  };
  return { busy, error, submit };
}

const visibility = (changed: () => void) => {
  document.addEventListener("visibilitychange", changed);
  return () => document.removeEventListener("visibilitychange", changed);
};

/** Whether somebody may be looking at the page. */
export const useVisible = () => useSyncExternalStore(visibility, () => !document.hidden);

/** The browser asks before it leaves the page while something is not saved. */
export function useUnsaved(isUnsaved: boolean): void {
  useEffect(() => {
    if (!isUnsaved) return;
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener("beforeunload", ask);
    return () => removeEventListener("beforeunload", ask);
  }, [isUnsaved]);
}

/** When a change takes away what had the focus, the keyboard goes on from `ref`, and not from the beginning of the page. */
export function useKeptFocus(ref: RefObject<HTMLElement | null>, change: unknown): void {
  const before = useRef(change);
  useEffect(() => {
    if (Object.is(before.current, change)) return;
    before.current = change;
    if (document.activeElement === document.body) ref.current?.focus({ preventScroll: true });
  }, [ref, change]);
}

/** The time, each `everyMs` anew. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** Closes what is open when the pointer goes down outside of `ref`, or on Escape. */
export function useDismiss(open: boolean, close: () => void) {
  const ref = useRef<HTMLDivElement>(null);
  const latest = useRef(close);
  latest.current = close;
  useEffect(() => {
    if (!open) return;
    const pointer = (event: PointerEvent) => {
      if (!ref.current?.contains(event.target as Node)) latest.current();
    };
    const key = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      latest.current();
    };
    document.addEventListener("pointerdown", pointer);
    document.addEventListener("keydown", key, true);
    return () => {
      document.removeEventListener("pointerdown", pointer);
      document.removeEventListener("keydown", key, true);
    };
  }, [open]);
  return ref;
}
