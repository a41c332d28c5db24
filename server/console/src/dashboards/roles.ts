// Which column of an answer plays which part in a panel's chart.
import type { Column } from "../api/types";
import { isNumber, kindOf } from "../sqlTypes";
import type { Panel } from "./model";

export interface Roles {
  x: number;
  by: number;
  y: number[];
}

/** Which column plays which part: as the panel says, otherwise as the types suggest. -1: none. */
export function rolesOf(columns: Column[], panel: Pick<Panel, "x" | "y" | "by">): Roles {
  const find = (name: string | undefined) => (name === undefined ? -1 : columns.findIndex((column) => column.name === name));
  const wantedY = (panel.y ?? []).map(find).filter((index) => index >= 0);
  let x = find(panel.x);
  if (x < 0) x = columns.findIndex((column, i) => kindOf(column.type) === "time" && !wantedY.includes(i));
  if (x < 0) x = columns.findIndex((column, i) => !isNumber(column) && !wantedY.includes(i));
  if (x < 0 && columns.length > 1) x = 0;
  let by = find(panel.by);
  if (by < 0) by = columns.findIndex((column, i) => i !== x && kindOf(column.type) === "text" && !wantedY.includes(i));
  if (by === x) by = -1;
  const y = wantedY.length > 0 ? wantedY.filter((i) => i !== x) : columns.flatMap((column, i) => (i !== x && i !== by && isNumber(column) ? [i] : []));
  return { x, by, y };
}
