// Whether a dashboard is live, and how old its newest rows are.
import { useNow } from "../../hooks";
import { type Store, useStore } from "../../store";
import { type Freshness, freshnessText } from "./freshness";
import type { Live } from "./useLive";

const WORDS: Record<Live["state"], string> = { connecting: "connecting", live: "live", lost: "not live" };

export function LiveChip({ state, freshness }: { state: Live["state"]; freshness: Store<Freshness> }) {
  const known = useStore(freshness);
  const text = freshnessText(known, useNow(1000));
  return (
    <span className={`board-live ${state}`} title={text === null ? undefined : "By the panel that is furthest behind, when it was answered"}>
      <span role="status">{WORDS[state]}</span>
      {state === "live" && text !== null && <span className="muted"> · {text}</span>}
    </span>
  );
}
