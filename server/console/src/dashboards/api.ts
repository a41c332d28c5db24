// The server's dashboards.
import { ApiError, request, send } from "../api/client";
import type { Cell } from "../api/types";
import { type Dashboard, type PanelAnswer, tagOf } from "./model";

/** A version of a dashboard. */
export interface Revision {
  /** For people: numbers begin again when a dashboard is made under the name of one that was deleted. */
  version: number;
  /** Which version it is; compared, and sent back as it is. */
  etag: string;
}

export interface Summary extends Revision {
  id: string;
  title: string;
  updated_at: string;
}

export interface Stored extends Revision {
  dashboard: Dashboard;
}

const pathOf = (id: string) => `/dashboards/${encodeURIComponent(id)}`;

export async function listDashboards(signal?: AbortSignal): Promise<Summary[]> {
  return (await request<{ dashboards: Summary[] }>("GET", "/dashboards", { signal })).dashboards;
}

export async function getDashboard(id: string, signal?: AbortSignal): Promise<Stored> {
  const response = await send("GET", pathOf(id), { signal });
  const etag = tagOf(response.headers.get("etag") ?? "");
  const version = Number(response.headers.get("headwater-dashboard-version"));
  const read = (await response.json()) as Dashboard;
  // What is empty need not be there.
  return { dashboard: { ...read, panels: read.panels.map((panel) => ({ ...panel, y: panel.y ?? [] })) }, version, etag };
}

/** What a variable of the saved dashboard is chosen from: one query a minute for all who look at it. */
export async function listValues(id: string, variable: string, signal?: AbortSignal): Promise<Cell[]> {
  return (await request<{ values: Cell[] }>("GET", `${pathOf(id)}/values/${encodeURIComponent(variable)}`, { signal })).values;
}

/** Writes a version over the one with the tag `over`, or a dashboard that is new. */
export async function putDashboard(id: string, dashboard: Dashboard, over: string | null): Promise<Revision> {
  const headers: Record<string, string> = over === null ? { "if-none-match": "*" } : { "if-match": `"${over}"` };
  return await request<Revision>("PUT", pathOf(id), { body: dashboard, headers });
}

export async function deleteDashboard(id: string, etag: string): Promise<void> {
  await request("DELETE", pathOf(id), { headers: { "if-match": `"${etag}"` } });
}

/** Makes a dashboard under `id`, or under the first `id-2`, `id-3`, … that is free. */
export async function createDashboard(id: string, dashboard: Dashboard): Promise<string> {
  for (let number = 1; ; number++) {
    const free = number === 1 ? id : `${id}-${number}`;
    try {
      await putDashboard(free, dashboard, null);
      return free;
    } catch (error) {
      if (!isConflict(error) || number > 200) throw error;
    }
  }
}

export const isConflict = (error: unknown): error is ApiError => error instanceof ApiError && error.status === 412;
export const isMissing = (error: unknown): boolean => error instanceof ApiError && error.status === 404;

/** One run of a panel that is not saved. */
export function preview(sql: string, values: Record<string, string>, last: string, signal?: AbortSignal): Promise<PanelAnswer> {
  return request<PanelAnswer>("POST", "/dashboards/-/preview", { body: { sql, values, last }, signal });
}

export const liveUrl = (id: string, search: string): string => `${pathOf(id)}/live${search}`;
