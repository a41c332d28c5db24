// Every request of the console goes through here: errors, the session's CSRF header, what a lost server means.
import { serverAnswered, serverLost } from "./connection";
import { parseExactly, wholeRows } from "./exact";
import { csrfToken, loadSession, signedOut } from "./session";
import type { Answer, ErrorDetails, Progress } from "./types";

/** The server answered with an error. */
export class ApiError extends Error {
  override name = "ApiError";
  constructor(
    readonly status: number,
    readonly details: ErrorDetails,
  ) {
    super(details.message);
  }
}

/** No answer came: the server is away, or the connection broke. */
export class LostError extends Error {
  override name = "LostError";
  constructor() {
    super("The server cannot be reached.");
  }
}

export const isAbort = (error: unknown): boolean => error instanceof DOMException && error.name === "AbortError";

/** The answer is larger than what the browser takes; `text` is its beginning. */
export class TooLargeError extends Error {
  override name = "TooLargeError";
  constructor(readonly text: string) {
    super(`The answer has more than ${BYTES_MAX / (1 << 20)} MB, more than the console takes. Ask for fewer rows or columns, or export it as a file.`);
  }
}

/** Any failure as the details that ErrorBox shows. */
export function errorDetails(error: unknown): ErrorDetails {
  if (error instanceof ApiError) return error.details;
  if (error instanceof TooLargeError) return { kind: TOO_LARGE, message: error.message };
  if (error instanceof LostError) return { kind: "lost", message: error.message };
  return { kind: "console", message: error instanceof Error ? error.message : String(error) };
}

export interface RequestOptions {
  /** Sent as JSON unless it is a text. */
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

const SAFE = new Set(["GET", "HEAD"]);

/** Sends a request; throws ApiError for an error status, LostError without an answer, AbortError when aborted. */
export async function send(method: string, path: string, options: RequestOptions = {}, isSecond = false): Promise<Response> {
  const headers = new Headers({ accept: "application/json", ...options.headers });
  let body: string | undefined;
  if (options.body !== undefined) {
    const isText = typeof options.body === "string";
    body = isText ? (options.body as string) : JSON.stringify(options.body);
    if (!headers.has("content-type")) headers.set("content-type", isText ? "text/plain" : "application/json");
  }
  const csrf = csrfToken();
  if (csrf && !SAFE.has(method)) headers.set("x-headwater-csrf", csrf);
  let response: Response;
  try {
    response = await fetch(path, { method, headers, body, signal: options.signal, cache: "no-store" });
  } catch (error) {
    throw asFailure(error);
  }
  serverAnswered();
  if (response.ok) return response;
  if (response.status === 401 && path !== "/session") signedOut();
  const failure = await asApiError(response);
  if (response.status === 403 && !SAFE.has(method)) {
    // Another window has signed in anew, or the role is another one by now.
    await loadSession().catch(() => undefined);
    if (csrfToken() !== csrf && !isSecond) return await send(method, path, options, true);
  }
  throw failure;
}

/** Sends a request and reads its answer as JSON (undefined for 204). */
export async function request<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
  const response = await send(method, path, options);
  const text = await readText(response);
  return (text === "" ? undefined : parseExactly(text)) as T;
}

/** The body as text, as far as it is not too large: what comes after that is not waited for. */
async function readText(response: Response): Promise<string> {
  if (!response.body) return "";
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const parts: string[] = [];
  let bytes = 0;
  for (;;) {
    let part: Awaited<ReturnType<typeof reader.read>>;
    try {
      part = await reader.read();
    } catch (error) {
      throw asFailure(error);
    }
    if (part.done) return parts.join("") + decoder.decode();
    bytes += part.value.byteLength;
    parts.push(decoder.decode(part.value, { stream: true }));
    if (bytes <= BYTES_MAX) continue;
    // The server ends the query when nobody reads on.
    reader.cancel().catch(() => undefined);
    throw new TooLargeError(parts.join(""));
  }
}

function asFailure(error: unknown): unknown {
  if (isAbort(error) || (error instanceof DOMException && error.name === "TimeoutError")) return error;
  serverLost();
  return new LostError();
}

async function asApiError(response: Response): Promise<ApiError> {
  const text = await readText(response);
  try {
    const { error } = parseExactly(text) as { error?: ErrorDetails };
    if (error) return new ApiError(response.status, error);
  } catch {
    // Not ours (a proxy's page, say).
  }
  const message = text.trim().slice(0, 2000) || response.statusText || `HTTP status ${response.status}`;
  return new ApiError(response.status, { kind: `http_${response.status}`, message });
}

/** More rows than this are not brought into the browser: the answer ends there and says so. */
export const ROWS_MAX = 200_000;
/** Nor are more bytes of one answer. */
const BYTES_MAX = 64 << 20;
export const TOO_LARGE = "too_large";
/** What the statements that the console asks by itself begin with: lists of queries leave them out. */
export const OWN_MARK = "/* console */";

export interface SqlOptions {
  queryId?: string;
  rowsMax?: number;
  signal?: AbortSignal;
}

/** Runs a statement. An answer with `error` failed after its first rows. */
export async function sql(text: string, options: SqlOptions = {}): Promise<Answer> {
  const { queryId, signal } = options;
  const body = { sql: text, rows_max: options.rowsMax ?? ROWS_MAX, ...(queryId ? { query_id: queryId } : {}) };
  try {
    return await request<Answer>("POST", "/sql", { body, signal });
  } catch (error) {
    const whole = error instanceof TooLargeError ? wholeRows(error.text) : null;
    if (whole === null) throw error;
    // As many rows as came are better than none.
    return { ...(parseExactly(whole) as Answer), error: errorDetails(error) };
  }
}

/** The rows of the answer to a statement of the console's own, as objects. */
export async function rowsOf<T>(text: string, signal?: AbortSignal): Promise<T[]> {
  const answer = await sql(`${OWN_MARK} ${text}`, { signal });
  if (answer.error) throw new ApiError(200, answer.error);
  return answer.rows.map((row) => Object.fromEntries(answer.columns.map((column, i) => [column.name, row[i]]))) as T[];
}

/** How far a running query is, with its plan if that is wanted; null if the server knows nothing of it. */
export async function progress(queryId: string, signal?: AbortSignal, withPlan = false): Promise<Progress | null> {
  try {
    return await request<Progress>("GET", `/queries/${encodeURIComponent(queryId)}${withPlan ? "?plan=true" : ""}`, { signal });
  } catch (error) {
    if (error instanceof ApiError) return null;
    throw error;
  }
}

/** Ends a running query; one that is unknown or over, or not one's own, is an error. */
export async function cancelQuery(queryId: string): Promise<void> {
  await send("DELETE", `/queries/${encodeURIComponent(queryId)}`);
}

/** A client-chosen id of a query. */
export function newQueryId(): string {
  return `console-${crypto.getRandomValues(new Uint32Array(4)).reduce((text, part) => text + part.toString(36).padStart(7, "0"), "")}`;
}
