import { Badge } from "../../components/Figures";

const TONES: Record<string, "plain" | "good" | "warn" | "bad" | "accent"> = { live: "good", catching_up: "accent", starting: "accent", paused: "warn", failed: "bad" };

/** The state of a partition, or of a table as that of its worst one. */
export const State = ({ state }: { state: string }) => <Badge tone={TONES[state] ?? "plain"}>{state.replaceAll("_", " ")}</Badge>;
