// What somebody has changed of dashboards and not saved, as long as the browser's tab is there.
import { ownKey } from "../api/session";
import type { Dashboard } from "./model";

export interface Draft {
  dashboard: Dashboard;
  /** The tag of the version that it was made from. */
  base: string;
}

const keyOf = (id: string) => ownKey(`headwater.dashboard.${id}`);

/** What was left unsaved in this tab. */
export function keptDraft(id: string): Draft | null {
  try {
    return JSON.parse(sessionStorage.getItem(keyOf(id)) ?? "null") as Draft | null;
  } catch {
    return null;
  }
}

export function keepDraft(id: string, draft: Draft | null): void {
  try {
    if (draft) sessionStorage.setItem(keyOf(id), JSON.stringify(draft));
    else sessionStorage.removeItem(keyOf(id));
  } catch {
    // Without storage it lives as long as the view.
  }
}
