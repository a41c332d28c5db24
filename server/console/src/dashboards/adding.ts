// A statement becomes a panel of a dashboard that others may be changing at the same time.
import type { Column } from "../api/types";
import type { ChartChoice } from "../charts/choice";
import { createDashboard, getDashboard, isConflict, putDashboard } from "./api";
import { keepDraft, keptDraft } from "./drafts";
import { type Dashboard, emptyDashboard, firstSize, freePlace, idOf, newPanelId, type Panel, PANELS_MAX } from "./model";
import { rolesOf } from "./roles";

/** A panel that has no place yet. */
export type NewPanel = Omit<Panel, "id" | "at">;
export type Look = Pick<Panel, "kind" | "x" | "y" | "by">;

/** Where a panel is. */
export interface Added {
  dashboard: string;
  panel: string;
}

/** How often a dashboard that somebody else changes meanwhile is read again. */
const TRIES_MAX = 5;

/** How a panel draws an answer as a chart of it was drawn; null: as a table. A row's number is no column, so the panel chooses one there. */
export function lookOf(choice: ChartChoice | null, columns: Column[]): Look {
  if (choice === null) return { kind: "table", y: [] };
  const { kind, y } = choice;
  if (kind === "number") return { kind, y };
  const x = choice.x ?? undefined;
  const guess = rolesOf(columns, { x, y }).by;
  // What is left open a panel guesses, and makes lines of a text that was not to make any: one for each x is none.
  const by = choice.by ?? (guess >= 0 ? x : undefined);
  return { kind, x, y, by };
}

/** What a chart shows, as a title. */
export function titleOf({ x, y }: Pick<ChartChoice, "x" | "y">): string {
  const shown = y.join(", ");
  return x === null ? shown : `${shown} by ${x}`;
}

export function withPanel(dashboard: Dashboard, panel: NewPanel, id: string): Dashboard {
  const { w, h } = firstSize(panel.kind);
  return { ...dashboard, panels: [...dashboard.panels, { ...panel, id, at: freePlace(dashboard.panels, w, h) }] };
}

/** Makes a dashboard of one panel. */
export async function addToNew(title: string, panel: NewPanel): Promise<Added> {
  const id = newPanelId([]);
  return { dashboard: await createDashboard(idOf(title), withPanel(emptyDashboard(title), panel, id)), panel: id };
}

/** Adds a panel to the dashboard as it is now, whoever changes it meanwhile, and to what is being edited of it in this tab. */
export async function addTo(dashboard: string, panel: NewPanel): Promise<Added> {
  for (let tries = 1; ; tries++) {
    const stored = await getDashboard(dashboard);
    const draft = keptDraft(dashboard);
    const { panels } = stored.dashboard;
    if (panels.length >= PANELS_MAX) throw new Error(`“${stored.dashboard.title}” has ${PANELS_MAX} panels, and no dashboard may have more. Choose another one.`);
    const id = newPanelId([...panels, ...(draft?.dashboard.panels ?? [])]);
    try {
      const { etag } = await putDashboard(dashboard, withPanel(stored.dashboard, panel, id), stored.etag);
      // Otherwise its author would be told of somebody else's change, which was his own.
      if (draft?.base === stored.etag) keepDraft(dashboard, { dashboard: withPanel(draft.dashboard, panel, id), base: etag });
      return { dashboard, panel: id };
    } catch (error) {
      if (!isConflict(error) || tries >= TRIES_MAX) throw error;
    }
  }
}
