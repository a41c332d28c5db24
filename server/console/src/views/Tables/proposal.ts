// The dashboard that is proposed for a table, from its schema and a look at its newest rows. Pure: what is asked, and what follows.
import { literal, quoted } from "../../api/names";
import type { Known } from "../../api/types";
import { type Dashboard, emptyDashboard, GRID_COLUMNS, type Panel, type Place } from "../../dashboards/model";
import { kindOf } from "../../sqlTypes";
import type { TableDocument } from "./data";

type Described = Pick<TableDocument, "name" | "columns" | "spec">;

/** So many of the newest rows are looked at, and so many columns of them. */
const LOOK_ROWS = 5_000;
const LOOK_COLUMNS_MAX = 30;
/** A look at fewer rows says little of what a column holds. */
export const LOOK_ROWS_MIN = 200;
/** Bars of more values, or of longer ones, are not read. */
const VALUES_MAX = 50;
const LETTERS_MAX = 40;
/** Each value stands in so many rows, on average, or it is rather a name than a kind of thing. */
const ROWS_PER_VALUE_MIN = 5;
const TOPS_MAX = 2;
const TOP_VALUES = 10;
const BUCKETS_MAX = 300;

/** What a look at the newest rows says. */
export interface Look {
  rows: number;
  /** How old the newest one is, by its time column; null: without one, or without rows. */
  age_s: number | null;
  /** From the oldest to the newest of them. */
  span_s: number | null;
  /** Of each text column: how many values it has, and the length of the longest. */
  texts: { name: string; values: number; letters: number }[];
}

export const NO_LOOK: Look = { rows: 0, age_s: null, span_s: null, texts: [] };

type TimeKind = "instant" | "date" | "none";

function timeKind({ spec, columns }: Described): TimeKind {
  const type = columns.find(({ name }) => name === spec.time_column)?.type ?? "";
  if (kindOf(type) !== "time") return "none";
  return /^DATE/i.test(type) ? "date" : "instant";
}

const textsOf = ({ columns }: Described): string[] => columns.filter(({ name, type }) => type === "STRING" && !name.startsWith("$")).slice(0, LOOK_COLUMNS_MAX).map(({ name }) => name);

/** One statement over the newest rows; without a time column the stream's time says which those are. */
export function lookStatement(table: Described): string {
  const time = timeKind(table) === "none" ? "$timestamp" : (table.spec.time_column ?? "");
  const texts = textsOf(table);
  const taken = [`${quoted(time)} AS t`, ...texts.map((name, i) => `${quoted(name)} AS c${i}`)];
  const times = timeKind(table) === "instant" ? ["to_unixtime(now()) - to_unixtime(max(t)) AS age_s", "to_unixtime(max(t)) - to_unixtime(min(t)) AS span_s"] : [];
  const counts = texts.flatMap((_, i) => [`count(DISTINCT c${i}) AS values_${i}`, `max(length(c${i})) AS letters_${i}`]);
  return `SELECT ${["count(*) AS seen", ...times, ...counts].join(", ")} FROM (SELECT ${taken.join(", ")} FROM ${quoted(table.name)} ORDER BY ${quoted(time)} DESC LIMIT ${LOOK_ROWS}) AS newest`;
}

export function lookIn(table: Described, row: Record<string, Known> | undefined): Look {
  const number = (name: string) => (row?.[name] === undefined || row[name] === null ? null : Number(row[name]));
  return {
    rows: number("seen") ?? 0,
    age_s: number("age_s"),
    span_s: number("span_s"),
    texts: textsOf(table).map((name, i) => ({ name, values: number(`values_${i}`) ?? 0, letters: number(`letters_${i}`) ?? 0 })),
  };
}

/** The text columns that are worth bars: the first ones of the schema, which is their author's order. */
export function tops({ rows, texts }: Look): string[] {
  const fits = texts.filter(({ values, letters }) => values >= 2 && values <= VALUES_MAX && values * ROWS_PER_VALUE_MIN <= rows && letters <= LETTERS_MAX);
  return fits.slice(0, TOPS_MAX).map(({ name }) => name);
}

type Unit = "second" | "minute" | "hour" | "day";

export interface Scale {
  /** The time range of the dashboard. */
  last: string;
  unit: Unit;
  /** Whether the newest rows are in that range; those of an old topic are in none that counts from now. */
  isRecent: boolean;
}

const SECONDS: Record<Unit, number> = { second: 1, minute: 60, hour: 3_600, day: 86_400 };
/** From a range that is seen to move to one that is seen to have something in it. */
const SCALES = [
  { last: "5m", range_s: 300, unit: "second" },
  { last: "6h", range_s: 21_600, unit: "minute" },
  { last: "30d", range_s: 2_592_000, unit: "hour" },
] as const;

/** The shortest range in whose first half the newest row is, with an event in most of its parts. */
export function scaleOf(kind: TimeKind, { rows, age_s, span_s }: Look): Scale {
  if (kind === "date") return { last: "30d", unit: "day", isRecent: true };
  const age = Math.max(0, age_s ?? 0);
  const gap = rows > 1 ? Math.max(0, span_s ?? 0) / (rows - 1) : 0;
  const fits = SCALES.filter(({ range_s }) => age * 2 <= range_s);
  const scale = fits.find(({ unit }) => gap <= SECONDS[unit]) ?? fits.at(-1);
  if (scale) return { last: scale.last, unit: scale.unit, isRecent: true };
  const unit = (["second", "minute", "hour"] as const).find((one) => (span_s ?? 0) <= SECONDS[one] * BUCKETS_MAX) ?? "day";
  return { last: "30d", unit, isRecent: false };
}

/** A name for a count that is not the column's. */
const countName = (column: string) => (column === "events" ? "n" : "events");

/** How a panel is proposed: its place depends on which of them are taken. */
export type Proposed = Omit<Panel, "at">;

export interface Proposal {
  last: string;
  panels: Proposed[];
}

export function proposalFor(table: Described, look: Look): Proposal {
  const kind = timeKind(table);
  const scale = scaleOf(kind, look);
  const [from, time] = [quoted(table.name), quoted(table.spec.time_column ?? "")];
  const isRanged = kind !== "none" && scale.isRecent;
  const ranged = isRanged ? `\nWHERE ${time} >= $time_from` : "";
  // Each partition once, as the node tells of it that is furthest.
  const partitions = (columns: string) => `(SELECT partition, ${columns} FROM system.partitions WHERE table_name = ${literal(table.name)} GROUP BY partition)`;
  const panels: Proposed[] = [
    { id: "rows", title: "Rows", kind: "number", y: ["rows"], sql: `SELECT count(*) AS rows\nFROM ${from}` },
    { id: "rate", title: "Rows per second", kind: "number", y: ["rows/s"], sql: `SELECT round(sum(rate), 1) AS "rows/s"\nFROM ${partitions("max(rows_per_second) AS rate")}` },
    { id: "freshness", title: "Behind the topic", kind: "number", y: ["ms"], sql: `SELECT max(age) AS ms, sum(lag) AS lag\nFROM ${partitions("min(freshness_ms) AS age, min(lag) AS lag")}` },
  ];
  if (kind !== "none") panels.push(eventsPanel(from, time, kind, scale));
  for (const column of tops(look)) {
    const [name, count] = [quoted(column), countName(column)];
    panels.push({ id: `top-${panels.length}`, title: `Top ${column}`, kind: "bar", x: column, y: [count], sql: `SELECT ${name}, count(*) AS ${count}\nFROM ${from}${ranged}\nGROUP BY 1\nORDER BY 2 DESC\nLIMIT ${TOP_VALUES}` });
  }
  return { last: scale.last, panels };
}

function eventsPanel(from: string, time: string, kind: TimeKind, { unit, isRecent }: Scale): Proposed {
  const bucket = kind === "date" ? time : `date_trunc('${unit}', ${time})`;
  const whole = unit === "second" ? ` AND ${time} < date_trunc('second', now())` : "";
  // The first bucket is a whole one, too.
  const since = kind === "date" ? "$time_from" : `date_trunc('${unit}', $time_from)`;
  const which = isRecent ? `WHERE ${time} >= ${since}${whole}\nGROUP BY 1\nORDER BY 1` : `GROUP BY 1\nORDER BY 1 DESC\nLIMIT ${BUCKETS_MAX}`;
  // A second is over soon, and is drawn then; of longer ones the last bar is seen to grow.
  const note = whole && isRecent ? "-- Up to the second before this one, which is not over yet.\n" : "";
  return { id: "events", title: `Events per ${unit}`, kind: whole && isRecent ? "line" : "bar", x: unit, y: ["events"], sql: `${note}SELECT ${bucket} AS ${unit}, count(*) AS events\nFROM ${from}\n${which}` };
}

/** Numbers in the first line, what moves below them, and the bars below that: each line is filled. */
export function placed(panels: Proposed[]): Panel[] {
  const lines = [
    { own: panels.filter(({ kind }) => kind === "number"), h: 3 },
    { own: panels.filter(({ id }) => id === "events"), h: 6 },
    { own: panels.filter(({ id }) => id.startsWith("top-")), h: 7 },
  ];
  let y = 0;
  return lines.flatMap(({ own, h }) => {
    const w = GRID_COLUMNS / Math.max(1, own.length);
    const line = own.map((panel, i): Panel => ({ ...panel, at: { x: i * w, y, w, h } satisfies Place }));
    if (own.length > 0) y += h;
    return line;
  });
}

export const dashboardOf = (title: string, last: string, panels: Proposed[]): Dashboard => ({ ...emptyDashboard(title), time: { last }, panels: placed(panels) });
