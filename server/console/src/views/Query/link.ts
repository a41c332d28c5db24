// Links that reproduce a query: everything is in the hash, which browsers do not send to servers.
import type { ChartChoice } from "../../charts/choice";
import { isChartKind } from "../../charts/choice";

export interface Linked {
  sql: string;
  chart?: ChartChoice;
}

export function linkTo({ sql, chart }: Linked): string {
  const parts = new URLSearchParams({ sql });
  if (chart) {
    parts.set("chart", chart.kind);
    if (chart.x !== null) parts.set("x", chart.x);
    for (const y of chart.y) parts.append("y", y);
    if (chart.by !== null) parts.set("by", chart.by);
  }
  return `${location.origin}/query#${parts.toString()}`;
}

export function readLink(hash: string): Linked | null {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const sql = parts.get("sql");
  if (sql === null || sql.trim() === "") return null;
  const kind = parts.get("chart");
  if (kind === null || !isChartKind(kind)) return { sql };
  return { sql, chart: { kind, x: parts.get("x"), y: parts.getAll("y"), by: parts.get("by") } };
}
