// An answer as a file: the server is asked again, without the bounds of what the console shows.
import { ApiError, errorDetails, newQueryId, rowsOf, send } from "./client";
import { literal } from "./names";
import type { ErrorDetails } from "./types";

export type ExportFormat = "csv" | "parquet" | "arrow" | "ndjson";

// The server has bounds of its own, and takes the lower ones.
const ROWS_MAX = 1_000_000_000;
const DEADLINE_MS = 6 * 3_600_000;
/** An error at the end of NDJSON is no longer than this. */
const TAIL_BYTES = 64 << 10;

/** The answer to a statement as a file in another format. An answer that is not whole is an error, and no file. */
export async function exportAs(text: string, format: ExportFormat): Promise<Blob> {
  const id = newQueryId();
  const body = { sql: text, format, query_id: id, rows_max: ROWS_MAX, deadline_ms: DEADLINE_MS };
  const response = await send("POST", "/sql", { body, headers: { accept: "*/*" } });
  let blob: Blob;
  try {
    blob = await response.blob();
  } catch {
    // The server was there; most formats can only break off when a query fails on its way.
    throw brokeOff(await reasonOf(id));
  }
  const fault = format === "ndjson" ? faultAtEnd(await blob.slice(-TAIL_BYTES).text()) : null;
  if (fault) throw brokeOff(fault.message);
  return blob;
}

const brokeOff = (reason: string | null) => new ApiError(200, { kind: "broke_off", message: `The export broke off, nothing was saved${reason ? `: ${reason}` : "."}` });

/** Why a query failed, if the server still knows. */
async function reasonOf(id: string): Promise<string | null> {
  try {
    const [row] = await rowsOf<{ error: string | null }>(`SELECT error FROM system.query_log WHERE id = ${literal(id)}`);
    return row?.error ?? null;
  } catch (error) {
    return errorDetails(error).kind === "lost" ? "the server cannot be reached" : null;
  }
}

/** The error that is the last line of an answer in NDJSON; null if that is a row. */
export function faultAtEnd(tail: string): ErrorDetails | null {
  const line = tail.trimEnd().split("\n").at(-1) ?? "";
  if (!line.startsWith('{"error":')) return null;
  try {
    const { error, ...others } = JSON.parse(line) as { error: Partial<ErrorDetails> | null };
    const isFault = typeof error?.kind === "string" && typeof error.message === "string" && Object.keys(others).length === 0;
    return isFault ? (error as ErrorDetails) : null;
  } catch {
    return null;
  }
}
