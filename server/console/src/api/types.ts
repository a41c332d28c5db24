// Shapes of the server's answers.

/** A cell: numbers that JavaScript cannot hold exactly are texts (see exact.ts). */
export type Cell = string | number | boolean | null | Cell[] | { [key: string]: Cell };

export interface Column {
  name: string;
  /** The SQL type: LONG, DECIMAL(12,2), TIMESTAMP(3), ARRAY<STRING>, … */
  type: string;
}

/** Which part of one table's stream an answer contains. */
export interface Cut {
  log_version: number;
  offsets?: Record<string, number | string>;
  freshness_ms?: number | null;
  missing?: string[];
}

export interface Stats {
  rows_scanned: number;
  rows_total: number;
  segments_total: number;
  segments_scanned: number;
  elapsed_ms: number;
}

export interface Answer {
  query_id: string;
  columns: Column[];
  rows: Cell[][];
  row_count: number;
  cut: Record<string, Cut>;
  stats: Stats;
  /** The query failed after these rows were sent. */
  error?: ErrorDetails;
}

export interface Position {
  /** From 1. */
  line: number;
  /** From 1, in characters. */
  column: number;
}

export interface ErrorDetails {
  kind: string;
  message: string;
  position?: Position;
  suggestion?: string;
  /** What is wrong with a table spec, one entry each. */
  faults?: unknown[];
}

export interface Progress {
  id: string;
  state: "queued" | "running" | "done" | "failed" | "cancelled";
  elapsed_ms: number;
  segments_total: number;
  segments_done: number;
  rows_scanned: number;
  rows_total: number;
  rows_returned: number;
  /** If it was asked for, and there is one. */
  plan?: string;
}

export interface Session {
  user: string | null;
  role: "reader" | "administrator" | null;
  csrf?: string;
  /** No users are configured: everybody may do everything. */
  open: boolean;
}

/** A number of a system table; a text where it would not be exact otherwise, null where it is not known. */
export type Known = number | string | null;

/** A row of system.partitions. */
export interface Partition {
  table_name: string;
  partition: number;
  state: string;
  first_offset: Known;
  committed_offset: Known;
  visible_offset: Known;
  latest_offset: Known;
  lag: Known;
  rows_per_second: Known;
  freshness_ms: Known;
  dead_letters: Known;
  last_error: string | null;
  node: string | null;
}
