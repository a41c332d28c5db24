// A dashboard's live answers: one stream of server-sent events, one store per panel, so that a new answer renders its panel only.
import { useEffect, useRef, useState } from "react";
import { follow } from "../../api/events";
import { parseExactly } from "../../api/exact";
import type { ErrorDetails } from "../../api/types";
import { liveUrl } from "../../dashboards/api";
import type { PanelAnswer } from "../../dashboards/model";
import { useVisible } from "../../hooks";
import { createStore, type Store } from "../../store";
import { type Freshness, UNKNOWN_FRESHNESS, withAnswer, withBeat } from "./freshness";

/** The server says every five seconds that it is there. */
const SILENCE_MAX_MS = 13_000;
/** After the last event of a version: if the new one is not known by then, the old one is asked for again. */
const AGAIN_MS = 3_000;
const GONE = 404;

export interface Live {
  state: "connecting" | "live" | "lost";
  /** Why the server sends nothing, though it answers. */
  refused: ErrorDetails | null;
}

export class PanelStores {
  readonly freshness = createStore<Freshness>(UNKNOWN_FRESHNESS);
  private readonly stores = new Map<string, Store<PanelAnswer | null>>();
  of(panel: string): Store<PanelAnswer | null> {
    let store = this.stores.get(panel);
    if (!store) {
      store = createStore<PanelAnswer | null>(null);
      this.stores.set(panel, store);
    }
    return store;
  }
}

interface Handlers {
  /** Another version of the dashboard is there; null: it was deleted. */
  onVersion(version: number | null): void;
}

/** Of a beat or of another version: which one it is. */
interface Said {
  version: number | null;
  etag: string | null;
  freshness_ms?: Record<string, number | null>;
}

const LIVE: Live = { state: "live", refused: null };

/** Follows the version of a dashboard with the tag `etag` (null: none) while the page is in sight. `search` is what the viewer has chosen. */
export function useLive(id: string, etag: string | null, search: string, stores: PanelStores, handlers: Handlers): Live {
  const [live, setLive] = useState<Live>({ state: "connecting", refused: null });
  const [round, setRound] = useState(0);
  const latest = useRef(handlers);
  latest.current = handlers;
  const visible = useVisible();
  useEffect(() => {
    if (etag === null || !visible) return;
    let again: ReturnType<typeof setTimeout> | undefined;
    const { freshness } = stores;
    freshness.set(UNKNOWN_FRESHNESS);
    const onEvent = (name: string, data: string) => {
      setLive(LIVE);
      if (name === "panel") {
        const { panel, ...answer } = parseExactly(data) as PanelAnswer & { panel: string };
        stores.of(panel).set(answer);
        freshness.set(withAnswer(freshness.get(), panel, answer, Date.now()));
        return;
      }
      const said = JSON.parse(data) as Said;
      if (said.etag === etag) {
        freshness.set(withBeat(freshness.get(), said));
        return;
      }
      // The stream's last event; by itself it would connect to the same address again.
      stop();
      latest.current.onVersion(said.version);
      again = setTimeout(() => setRound((old) => old + 1), AGAIN_MS);
    };
    const stop = follow(
      liveUrl(id, search),
      ["panel", "beat", "dashboard"],
      {
        onEvent,
        onOpen: () => setLive(LIVE),
        onLost: () => setLive((old) => ({ ...old, state: "lost" })),
        onRefused: (refused, status) => {
          if (status === GONE) latest.current.onVersion(null);
          else setLive({ state: "lost", refused });
        },
      },
      SILENCE_MAX_MS,
    );
    return () => {
      clearTimeout(again);
      stop();
    };
  }, [id, etag, search, stores, round, visible]);
  return live;
}
