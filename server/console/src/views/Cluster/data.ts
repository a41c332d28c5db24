// What the Cluster view asks the server for.
import { OWN_MARK, progress, rowsOf } from "../../api/client";
import { literal } from "../../api/names";
import type { Known, Partition, Progress } from "../../api/types";

export interface Node {
  node: string;
  role: string;
  state: string;
  address: string | null;
  zone: string | null;
  weight: Known;
  version: string | null;
  started_at: string | null;
  this: boolean;
  /** Processors that the process kept busy over the last seconds, of those that it may use. */
  cpus_used: Known;
  cpus: Known;
  memory_bytes: Known;
  memory_limit_bytes: Known;
  /** Of its own clients. */
  queries: Known;
  error: string | null;
}

/** The segments of a table that a node holds. */
export interface Share {
  table_name: string;
  node: string | null;
  segments: number;
  rows: Known;
  size_bytes: Known;
}

export interface Task {
  table_name: string | null;
  kind: string;
  subject: string;
  state: string;
  started_at: string | null;
  ended_at: string | null;
  done: Known;
  total: Known;
  unit: string | null;
  last_error: string | null;
  next_attempt_at: string | null;
  node: string | null;
}

export interface RunningQuery {
  id: string;
  user_name: string | null;
  sql: string;
  state: string;
  started_at: string;
  elapsed_ms: Known;
  rows_returned: Known;
  error: string | null;
  node: string | null;
}

export interface EndedQuery {
  id: string;
  node: string | null;
  user_name: string | null;
  client: string | null;
  sql: string;
  started_at: string;
  duration_ms: Known;
  state: string;
  error: string | null;
  rows_returned: Known;
  rows_scanned: Known;
  plan: string | null;
}

const SHARES = "SELECT table_name, node, count(*) AS segments, sum(rows) AS rows, sum(size_bytes) AS size_bytes FROM system.segments GROUP BY table_name, node ORDER BY table_name, node";

export async function loadCluster(signal: AbortSignal): Promise<{ nodes: Node[]; partitions: Partition[] }> {
  const [nodes, partitions] = await Promise.all([rowsOf<Node>("SELECT * FROM system.nodes ORDER BY node", signal), rowsOf<Partition>("SELECT * FROM system.partitions ORDER BY table_name, partition", signal)]);
  return { nodes, partitions };
}

export const loadShares = (signal: AbortSignal) => rowsOf<Share>(SHARES, signal);

export const loadTasks = (signal: AbortSignal) => rowsOf<Task>("SELECT * FROM system.tasks ORDER BY ended_at IS NOT NULL, coalesce(ended_at, started_at) DESC LIMIT 100", signal);

/** The console's own looks at the server are not what one wants to see. */
const OTHERS = `sql NOT LIKE ${literal(`${OWN_MARK}%`)}`;
/** Of so many queries that run one sees how far they are: each one is asked for by itself. */
const PROGRESS_MAX = 20;

export type Underway = RunningQuery & { progress: Progress | null };

export async function loadRunning(signal: AbortSignal): Promise<Underway[]> {
  const running = await rowsOf<RunningQuery>(`SELECT * FROM system.queries WHERE state IN ('running', 'queued') AND ${OTHERS} ORDER BY started_at`, signal);
  return Promise.all(running.map(async (one, i) => ({ ...one, progress: i < PROGRESS_MAX ? await progress(one.id, signal) : null })));
}

export const loadPlan = async (id: string, signal: AbortSignal): Promise<string | null> => (await progress(id, signal, true))?.plan ?? null;

/** Null where the server keeps no log of queries. */
export async function loadEnded(order: "recent" | "slow", signal: AbortSignal): Promise<EndedQuery[] | null> {
  const there = await rowsOf("SELECT 1 FROM information_schema.tables WHERE table_schema = 'system' AND table_name = 'query_log'", signal);
  if (there.length === 0) return null;
  return rowsOf<EndedQuery>(`SELECT * FROM system.query_log WHERE ${OTHERS} ORDER BY ${order === "slow" ? "duration_ms" : "started_at"} DESC LIMIT 50`, signal);
}
