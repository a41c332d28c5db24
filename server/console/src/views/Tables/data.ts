// What the views of tables ask the server for.
import { ApiError, OWN_MARK, request, rowsOf, sql } from "../../api/client";
import { literal, quoted } from "../../api/names";
import type { Answer, Known, Partition } from "../../api/types";
import { type Look, lookIn, lookStatement } from "./proposal";

export interface Segment {
  table_name: string;
  id: string;
  path: string | null;
  partition: number;
  from_offset: Known;
  to_offset: Known;
  rows: Known;
  size_bytes: Known;
  index_bytes: Known;
  sealed_at: string | null;
  state: string;
  min_time: string | null;
  max_time: string | null;
  node: string | null;
}

export interface SpecColumn {
  name: string;
  type: string;
  nullable?: boolean;
  path?: string;
  index?: unknown;
}

export interface TableDocument {
  name: string;
  spec: { columns: SpecColumn[]; time_column?: string; sort_key?: string[]; stream?: { brokers: string[]; topic: string } };
  columns: { name: string; type: string; nullable: boolean }[];
  log_version: number;
  trouble: string | null;
}

/** So many segments are drawn and listed; the sums are always those of all. */
export const SEGMENTS_MAX = 2000;
const LETTERS_MAX = 200;

/** Of a partition that several nodes tell of, the one that is furthest. */
export function furthest(partitions: Partition[]): Partition[] {
  const best = new Map<string, Partition>();
  const away = (partition: Partition) => Number(partition.state === "elsewhere");
  for (const one of partitions) {
    const key = `${one.table_name} ${one.partition}`;
    const other = best.get(key);
    const isBetter = !other || away(one) < away(other) || (away(one) === away(other) && Number(one.visible_offset ?? 0) > Number(other.visible_offset ?? 0));
    if (isBetter) best.set(key, one);
  }
  return [...best.values()].sort((a, b) => a.table_name.localeCompare(b.table_name) || a.partition - b.partition);
}

export interface Totals {
  lag: number | null;
  rate: number | null;
  freshness: number | null;
  letters: number;
  state: string;
}

const ORDER = ["failed", "starting", "catching_up", "paused", "live"];

/** A table as one line: sums of its partitions, and of freshness and state the worst. */
export function totals(partitions: Partition[]): Totals {
  const known = (of: (partition: Partition) => Known) => partitions.map(of).filter((value) => value !== null).map(Number);
  const sum = (values: number[]) => (values.length > 0 ? values.reduce((a, b) => a + b, 0) : null);
  const fresh = known((partition) => partition.freshness_ms);
  const worst = partitions.map(({ state }) => state).sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b))[0];
  return {
    lag: sum(known((partition) => partition.lag)),
    rate: sum(known((partition) => partition.rows_per_second)),
    freshness: fresh.length > 0 ? Math.max(...fresh) : null,
    letters: sum(known((partition) => partition.dead_letters)) ?? 0,
    state: worst ?? "starting",
  };
}

export interface Size {
  table_name: string;
  rows: Known;
  size_bytes: Known;
  segments: Known;
}

export interface Overview {
  name: string;
  partitions: Partition[];
  /** What queries see; null: not known. */
  rows: Known;
}

/** How often sizes are asked for: they are sums over all segments there are, and move with each one that is sealed. */
export const SIZES_EVERY_MS = 10_000;

const SIZES =
  "SELECT table_name, sum(rows) AS rows, sum(size_bytes) AS size_bytes, count(*) FILTER (WHERE state = 'sealed') AS segments FROM (SELECT table_name, id, state, max(rows) AS rows, max(size_bytes) AS size_bytes FROM system.segments GROUP BY table_name, id, state, partition, from_offset) GROUP BY table_name";

/** Of so many tables every row is counted, also those that are not sealed yet. */
const COUNTED_MAX = 50;

type Counts = Map<string, Known>;

/** The rows that queries see. The numbers of the segments are without what is open. */
async function countRows(tables: string[], signal: AbortSignal): Promise<Counts> {
  const counts = tables.map((table) => `SELECT ${literal(table)} AS table_name, count(*) AS rows FROM ${quoted(table)}`);
  const rows = await rowsOf<{ table_name: string; rows: Known }>(counts.join(" UNION ALL "), signal);
  return new Map(rows.map((row) => [row.table_name, row.rows]));
}

/** Tables that could not be counted are tried again after so long. */
const UNCOUNTED_MS = 60_000;
const uncounted = new Map<string, number>();

/** The rows of all tables that can be counted: one that cannot does not keep the others from it. */
async function countAll(tables: string[], signal: AbortSignal): Promise<Counts> {
  const tried = tables.filter((table) => (uncounted.get(table) ?? 0) < Date.now());
  if (tried.length === 0 || tables.length > COUNTED_MAX) return new Map();
  try {
    return await countRows(tried, signal);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
  const each = await Promise.allSettled(tried.map((table) => countRows([table], signal)));
  for (const [i, one] of each.entries()) if (one.status === "rejected" && one.reason instanceof ApiError) uncounted.set(tried[i] ?? "", Date.now() + UNCOUNTED_MS);
  return new Map(each.flatMap((one) => (one.status === "fulfilled" ? [...one.value] : [])));
}

export async function loadTables(signal: AbortSignal): Promise<Overview[]> {
  const [{ tables }, partitions] = await Promise.all([request<{ tables: string[] }>("GET", "/tables", { signal }), rowsOf<Partition>("SELECT * FROM system.partitions", signal)]);
  const all = furthest(partitions);
  const counts = await countAll(tables, signal);
  return tables.map((name) => ({ name, partitions: all.filter((one) => one.table_name === name), rows: counts.get(name) ?? null }));
}

/** A table without segments has none that is told of. */
export const sizeOf = (sizes: Size[], table: string): Size => sizes.find((size) => size.table_name === table) ?? { table_name: table, rows: 0, size_bytes: 0, segments: 0 };

export const loadSizes = (signal: AbortSignal) => rowsOf<Size>(SIZES, signal);

export const loadTable = async (table: string, signal: AbortSignal) => (await request<{ table: TableDocument }>("GET", `/tables/${encodeURIComponent(table)}`, { signal })).table;

export const loadPartitions = async (table: string, signal: AbortSignal) =>
  furthest(await rowsOf<Partition>(`SELECT * FROM system.partitions WHERE table_name = ${literal(table)}`, signal));

export const loadSize = async (table: string, signal: AbortSignal): Promise<Size> => sizeOf(await rowsOf<Size>(`SELECT * FROM (${SIZES}) WHERE table_name = ${literal(table)}`, signal), table);

export const loadCount = async (table: string, signal: AbortSignal): Promise<Known> => (await countRows([table], signal)).get(table) ?? null;

export async function loadSegments(table: string, signal: AbortSignal): Promise<Segment[]> {
  const rows = await rowsOf<Segment>(`SELECT * FROM system.segments WHERE table_name = ${literal(table)} ORDER BY max_time DESC NULLS LAST, partition LIMIT ${SEGMENTS_MAX}`, signal);
  const seen = new Set<string>();
  // Each node that holds a segment tells of it.
  return rows.filter((one) => {
    const key = `${one.partition} ${one.from_offset} ${one.id}`;
    return !seen.has(key) && seen.add(key);
  });
}

export function loadSample(document: TableDocument, signal: AbortSignal): Promise<Answer> {
  const time = document.spec.time_column;
  return sql(`${OWN_MARK} SELECT * FROM ${quoted(document.name)}${time ? ` ORDER BY ${quoted(time)} DESC` : ""} LIMIT 100`, { signal });
}

/** So long a look at the newest rows may take: a dashboard is proposed without it, too. */
const LOOK_WAIT_MS = 5_000;

/** Null: it took longer. */
export async function loadLook(document: TableDocument, signal: AbortSignal): Promise<Look | null> {
  try {
    const [row] = await rowsOf<Record<string, Known>>(lookStatement(document), AbortSignal.any([signal, AbortSignal.timeout(LOOK_WAIT_MS)]));
    return lookIn(document, row);
  } catch (error) {
    if (error instanceof DOMException && error.name === "TimeoutError") return null;
    throw error;
  }
}

export interface Letter {
  partition: number;
  offset: Known;
  timestamp: string | null;
  reason: string;
  payload: string | null;
  truncated: boolean;
}

export const loadLetters = (table: string, signal: AbortSignal) =>
  rowsOf<Letter>(
    `SELECT partition, "offset", "timestamp", reason, encode(payload, 'base64') AS payload, truncated FROM system.dead_letters WHERE table_name = ${literal(table)} ORDER BY "timestamp" DESC NULLS LAST LIMIT ${LETTERS_MAX}`,
    signal,
  );

export interface Gap {
  partition: number;
  from_offset: Known;
  to_offset: Known;
  reason: string;
  recorded_at: string | null;
}

export const loadGaps = (table: string, signal: AbortSignal) => rowsOf<Gap>(`SELECT * FROM system.gaps WHERE table_name = ${literal(table)} ORDER BY recorded_at DESC`, signal);

/** The bytes of a message as text; what is no UTF-8 shows as replacement characters. */
export function payloadText(base64: string | null): string {
  if (base64 === null) return "";
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));
  } catch {
    return base64;
  }
}

const path = (table: string, action: string, partition: number | null) => `/tables/${encodeURIComponent(table)}/${action}${partition === null ? "" : `?partition=${partition}`}`;

/** What the newest messages of a topic were taken for. */
export interface Inferred {
  spec: string;
  columns: { name: string; type: string; path: string }[];
  messages_read: number;
  undecodable: number;
}

export interface Preview extends Pick<Answer, "columns" | "rows"> {
  dead_letters: { partition: number; offset: Known; reason: string }[];
  messages_read: number;
}

export const infer = (source: { brokers: string[]; topic: string; properties: Record<string, unknown> }) => request<Inferred>("POST", "/infer", { body: source });
export const preview = (spec: string, signal: AbortSignal) => request<Preview>("POST", "/preview", { body: { spec, rows_max: 200 }, signal });

export const pause = (table: string, partition: number | null) => request("POST", path(table, "pause", partition));
export const resume = (table: string, partition: number | null) => request("POST", path(table, "resume", partition));
export const seal = (table: string, partition: number | null) => request<{ segments: { rows: number }[] }>("POST", path(table, "seal", partition));
export const drop = (table: string, purge: boolean) => request("DELETE", `/tables/${encodeURIComponent(table)}?purge=${purge}`);

export interface Applied {
  applied: "created" | "updated" | "unchanged";
  /** What a dry run would change, one line each. */
  changes?: string[];
}

export const apply = (table: string, spec: string) => request<Applied>("PUT", `/tables/${encodeURIComponent(table)}`, { body: spec });
export const dryRun = (table: string, spec: string, signal?: AbortSignal) => request<Applied>("PUT", `/tables/${encodeURIComponent(table)}?dry_run=true`, { body: spec, signal });

/** A link that opens the Query view with a statement. */
export const queryLink = (text: string) => `/query#sql=${encodeURIComponent(text)}`;
