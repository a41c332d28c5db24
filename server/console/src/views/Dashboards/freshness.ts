// How old the newest rows of a dashboard are, as far as the server has said.
import type { PanelAnswer } from "../../dashboards/model";
import { duration, timeOfDay } from "../../format";

/** After so long without a new answer an age that was said once says nothing any more. */
export const STALE_MS = 15_000;

export interface Freshness {
  /** By panel: the age of its newest row, in milliseconds, when it was said. */
  ages: Readonly<Record<string, number>>;
  /** By panel: when its last answer was made. */
  ran: Readonly<Record<string, number>>;
  /** When the last new answer came. */
  answeredAt: number | null;
  /** When the newest row of all was there. */
  newestAt: number;
  /** Whether the server goes on saying how old rows are when there are no new ones. */
  isFollowed: boolean;
}

export const UNKNOWN_FRESHNESS: Freshness = { ages: {}, ran: {}, answeredAt: null, newestAt: 0, isFollowed: false };

/** A panel's answer came; one that was there before comes again with each connection. */
export function withAnswer(old: Freshness, panel: string, { freshness_ms: age, ran_at_ms: ranAt }: Pick<PanelAnswer, "freshness_ms" | "ran_at_ms">, now: number): Freshness {
  if (age === null) return old;
  const ran = ranAt ?? now;
  if (ran <= (old.ran[panel] ?? Number.NEGATIVE_INFINITY)) return old;
  return { ...old, ages: { ...old.ages, [panel]: age }, ran: { ...old.ran, [panel]: ran }, answeredAt: now, newestAt: Math.max(old.newestAt, ran - age) };
}

/** A beat may say how old the newest row of each panel is by now. */
export function withBeat(old: Freshness, beat: { freshness_ms?: Record<string, number | null> | null }): Freshness {
  if (!beat.freshness_ms) return old;
  const known = Object.entries(beat.freshness_ms).filter((entry): entry is [string, number] => typeof entry[1] === "number");
  return { ...old, ages: Object.fromEntries(known), isFollowed: true };
}

/** In words, by the panel that is furthest behind; null while nothing is known. */
export function freshnessText({ ages, answeredAt, newestAt, isFollowed }: Freshness, now: number): string | null {
  const known = Object.values(ages);
  if (known.length === 0) return null;
  if (!isFollowed && answeredAt !== null && now - answeredAt > STALE_MS) return `no new rows since ${timeOfDay(newestAt)}`;
  return `newest row ${duration(Math.max(...known))} old`;
}
