// What a dashboard is, and what can be done with it without a server.
import type { Cell, Column, Cut, ErrorDetails } from "../api/types";
import { CHART_KINDS, type ChartKind } from "../charts/choice";
import type { Option } from "../components/Field";

export type PanelKind = ChartKind | "table";
export const PANEL_KINDS: Option<PanelKind>[] = [...CHART_KINDS, { value: "table", label: "Table" }];

export const GRID_COLUMNS = 12;
export const PANELS_MAX = 50;
const PANEL_ROWS_MAX = 50;
/** An answer with more rows is refused to a panel. */
export const ANSWER_ROWS_MAX = 10_000;

export interface Place {
  x: number;
  y: number;
  w: number;
  h: number;
}

export interface Panel {
  id: string;
  title: string;
  sql: string;
  kind: PanelKind;
  x?: string;
  y?: string[];
  by?: string;
  at: Place;
}

export interface Variable {
  name: string;
  label: string;
  kind: "text" | "list";
  values?: string[];
  sql?: string;
  default: string;
}

export interface Dashboard {
  title: string;
  refresh_ms: number;
  time: { last: string };
  variables: Variable[];
  panels: Panel[];
}

/** What is known of a panel: its last answer, and what went wrong since. */
export interface PanelAnswer {
  columns: Column[];
  rows: Cell[][];
  cuts: Record<string, Cut>;
  freshness_ms: number | null;
  ran_at_ms?: number;
  error?: ErrorDetails;
}

const RANGES: Option[] = [
  { value: "1m", label: "Last minute" },
  { value: "5m", label: "Last 5 minutes" },
  { value: "15m", label: "Last 15 minutes" },
  { value: "1h", label: "Last hour" },
  { value: "6h", label: "Last 6 hours" },
  { value: "1d", label: "Last day" },
  { value: "7d", label: "Last 7 days" },
  { value: "30d", label: "Last 30 days" },
];
const REFRESHES: Option<number>[] = [
  { value: 1_000, label: "1 second" },
  { value: 2_000, label: "2 seconds" },
  { value: 5_000, label: "5 seconds" },
  { value: 10_000, label: "10 seconds" },
  { value: 30_000, label: "30 seconds" },
  { value: 60_000, label: "1 minute" },
  { value: 300_000, label: "5 minutes" },
];

/** What may be chosen, with what is chosen already, whatever that is. */
const including = <V extends string | number>(options: Option<V>[], value: V, label: string): Option<V>[] => (options.some((option) => option.value === value) ? options : [...options, { value, label }]);
export const rangesWith = (last: string) => including(RANGES, last, `Last ${last}`);
export const refreshesWith = (ms: number) => including(REFRESHES, ms, `${ms} ms`);

export const emptyDashboard = (title: string): Dashboard => ({ title, refresh_ms: 1_000, time: { last: "15m" }, variables: [], panels: [] });

/** A title as an id: what stands in the address. */
export function idOf(title: string): string {
  const plain = title.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase();
  const id = plain.replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 56).replace(/-+$/, "");
  return id || "dashboard";
}

/** An id that no panel has. */
export function newPanelId(panels: Panel[]): string {
  const taken = new Set(panels.map((panel) => panel.id));
  for (let number = panels.length + 1; ; number++) {
    if (!taken.has(`p${number}`)) return `p${number}`;
  }
}

const overlaps = (a: Place, b: Place) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

/** How large a panel is at first: a number needs less room than what is drawn. */
export const firstSize = (kind: PanelKind): Pick<Place, "w" | "h"> => (kind === "number" ? { w: 3, h: 3 } : { w: 6, h: 7 });

/** The first free place of this size, line by line. */
export function freePlace(panels: Panel[], w: number, h: number): Place {
  for (let y = 0; ; y++) {
    for (let x = 0; x + w <= GRID_COLUMNS; x++) {
      const place = { x, y, w, h };
      if (!panels.some((panel) => overlaps(panel.at, place))) return place;
    }
  }
}

/** Everything moves up as far as it can, in the order of `rank`, and nothing lies on anything else. */
export function compacted(panels: Panel[], rank: (panel: Panel) => number = (panel) => panel.at.y): Panel[] {
  const order = [...panels].sort((a, b) => rank(a) - rank(b) || a.at.x - b.at.x);
  const placed = new Map<string, Place>();
  for (const panel of order) {
    let at = { ...panel.at };
    const blocked = (place: Place) => [...placed.values()].some((other) => overlaps(other, place));
    while (blocked(at)) at = { ...at, y: at.y + 1 };
    while (at.y > 0 && !blocked({ ...at, y: at.y - 1 })) at = { ...at, y: at.y - 1 };
    placed.set(panel.id, at);
  }
  return panels.map((panel) => ({ ...panel, at: placed.get(panel.id) ?? panel.at }));
}

/** In the order in which they are read. */
export const inReadingOrder = (panels: Panel[]): Panel[] => [...panels].sort((a, b) => a.at.y - b.at.y || a.at.x - b.at.x);

/** The panel that one goes on with when this one is gone: the next one, or the last one before it. */
export function neighbourOf(panels: Panel[], id: string): string | undefined {
  const ordered = inReadingOrder(panels);
  const at = ordered.findIndex((panel) => panel.id === id);
  return (ordered[at + 1] ?? ordered[at - 1])?.id;
}

/**
 * A panel is moved or resized by the keyboard, inside of the grid; the others make room. A step up or down is past one neighbour:
 * anything less would be undone by all of them moving up.
 */
export function nudged(panels: Panel[], id: string, change: Partial<Record<keyof Place, number>>): Panel[] {
  const panel = panels.find((one) => one.id === id);
  if (!panel) return panels;
  const w = Math.min(GRID_COLUMNS, Math.max(1, panel.at.w + (change.w ?? 0)));
  const h = Math.min(PANEL_ROWS_MAX, Math.max(1, panel.at.h + (change.h ?? 0)));
  const x = Math.min(GRID_COLUMNS - w, Math.max(0, panel.at.x + (change.x ?? 0)));
  const beside = panels.filter((one) => one.id !== id && one.at.x < x + w && x < one.at.x + one.at.w);
  let rank = panel.at.y - 0.5;
  let { y } = panel.at;
  if ((change.y ?? 0) > 0) {
    const next = beside.filter((one) => one.at.y > panel.at.y).sort((a, b) => a.at.y - b.at.y)[0];
    if (!next) return panels;
    rank = next.at.y + 0.5;
    // Below it, even if that one cannot move up into the place that is left.
    y = next.at.y + next.at.h;
  }
  if ((change.y ?? 0) < 0) rank = Math.max(...beside.filter((one) => one.at.y < panel.at.y).map((one) => one.at.y)) - 0.5;
  if (!Number.isFinite(rank)) return panels;
  const moved = panels.map((one) => (one.id === id ? { ...one, at: { x, y, w, h } } : one));
  return compacted(moved, (one) => (one.id === id ? rank : one.at.y));
}

/** What a viewer has chosen, as it stands in the address. */
export interface Chosen {
  values: Record<string, string>;
  last?: string;
}

const RANGE_UNITS_S: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400 };
const RANGE_MAX_S = 3_660 * 86_400;

/** Whether the server takes it for a time range. */
function isRange(text: string): boolean {
  const [, number, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const seconds = Number(number) * (RANGE_UNITS_S[unit ?? ""] ?? Number.NaN);
  return seconds >= 1 && seconds <= RANGE_MAX_S;
}

/** What is no choice is left out: an address that was cut shows the dashboard as it is. */
export function chosenIn(search: string): Chosen {
  const chosen: Chosen = { values: {} };
  for (const [name, value] of new URLSearchParams(search)) {
    if (name === "last" && isRange(value)) chosen.last = value;
    else if (name.startsWith("var.")) chosen.values[name.slice(4)] = value;
  }
  return chosen;
}

/** The choice as a query string, `?` included; what is as the dashboard has it is left out. */
export function searchOf(chosen: Chosen, dashboard: Dashboard): string {
  const parameters = new URLSearchParams();
  if (chosen.last && chosen.last !== dashboard.time.last) parameters.set("last", chosen.last);
  for (const variable of dashboard.variables) {
    const value = chosen.values[variable.name];
    if (value !== undefined && value !== variable.default) parameters.set(`var.${variable.name}`, value);
  }
  const text = parameters.toString();
  return text ? `?${text}` : "";
}

export function valuesOf(dashboard: Dashboard, chosen: Chosen): Record<string, string> {
  return Object.fromEntries(dashboard.variables.map((variable) => [variable.name, chosen.values[variable.name] ?? variable.default]));
}

/** The tag in an ETag header; whoever compresses an answer on its way may have made it a weak one. */
export const tagOf = (header: string): string => /^(?:W\/)?"(.*)"$/.exec(header.trim())?.[1] ?? header.trim();

export const isSame = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
