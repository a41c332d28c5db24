// The tabs and the history: what is kept in the browser, for all of its windows.
import { ownKey } from "../../api/session";
import { toast } from "../../components/Toast";
import { createStore, readStored, useStore, writeStored } from "../../store";
import { merged, newTab, type Stored, type Tab, TABS_MAX, tabsIn, type Workspace } from "./tabs";

export interface Past {
  sql: string;
  at: number;
  state: "done" | "failed" | "cancelled";
  ms: number;
  rows: number;
}

// This is loaded when somebody is in, and anew for the next one.
const TABS_KEY = ownKey("headwater.query.tabs");
const HISTORY_KEY = ownKey("headwater.query.history");
const HISTORY_MAX = 200;
const SAVE_AFTER_MS = 300;

function restore(): Workspace {
  const stored = readStored<Stored>(TABS_KEY, {});
  const tabs = tabsIn(stored);
  const first = tabs[0] ?? newTab([]);
  return { tabs: tabs.length > 0 ? tabs : [first], selected: tabs.find((tab) => tab.id === stored.selected)?.id ?? first.id, closed: stored.closed ?? {} };
}

const storedHistory = () => {
  const stored = readStored<Past[]>(HISTORY_KEY, []);
  return Array.isArray(stored) ? stored.slice(0, HISTORY_MAX) : [];
};

const workspace = createStore<Workspace>(restore());
const past = createStore<Past[]>(storedHistory());

export const useWorkspace = () => useStore(workspace);
export const useHistory = () => useStore(past);

let saving: ReturnType<typeof setTimeout> | undefined;
const save = () => {
  clearTimeout(saving);
  saving = undefined;
  // What other windows have done meanwhile stays.
  workspace.set(merged(workspace.get(), readStored<Stored>(TABS_KEY, {})));
  writeStored(TABS_KEY, workspace.get());
};
addEventListener("pagehide", () => saving !== undefined && save());
// Only other windows' changes are told.
addEventListener("storage", ({ key }) => {
  if (key === TABS_KEY) workspace.set(merged(workspace.get(), readStored<Stored>(TABS_KEY, {})));
  if (key === HISTORY_KEY) past.set(storedHistory());
});

function change(next: Partial<Workspace>): void {
  workspace.set({ ...workspace.get(), ...next });
  clearTimeout(saving);
  saving = setTimeout(save, SAVE_AFTER_MS);
}

function changeTab(id: string, part: Partial<Tab>): void {
  change({ tabs: workspace.get().tabs.map((tab) => (tab.id === id ? { ...tab, ...part, at: Date.now() } : tab)) });
}

export function selectTab(id: string): void {
  change({ selected: id });
}

/** Null if there are too many already: none of them is closed for it. */
export function openTab(sql = ""): string | null {
  const { tabs } = workspace.get();
  if (tabs.length >= TABS_MAX) {
    toast(`There are ${tabs.length} tabs; close one to open another.`, "bad");
    return null;
  }
  const tab = newTab(tabs, sql);
  change({ tabs: [...tabs, tab], selected: tab.id });
  return tab.id;
}

/** The last tab is emptied by a new one: there is always one. */
export function closeTab(id: string): void {
  const { tabs, selected, closed } = workspace.get();
  const at = tabs.findIndex((tab) => tab.id === id);
  const others = tabs.filter((tab) => tab.id !== id);
  const left = others.length > 0 ? others : [newTab([])];
  const next = left[Math.min(at, left.length - 1)]?.id ?? selected;
  change({ tabs: left, selected: selected === id ? next : selected, closed: { ...closed, [id]: Date.now() } });
}

export function editTab(id: string, sql: string): void {
  if (workspace.get().tabs.some((tab) => tab.id === id && tab.sql !== sql)) changeTab(id, { sql });
}

export function renameTab(id: string, name: string): void {
  const clean = name.trim().slice(0, 60);
  if (clean !== "") changeTab(id, { name: clean });
}

export function remember(entry: Past): void {
  // The same statement once more moves up instead of filling the list.
  const others = storedHistory().filter((other) => other.sql !== entry.sql);
  past.set([entry, ...others].slice(0, HISTORY_MAX));
  writeStored(HISTORY_KEY, past.get());
}

export function forgetHistory(): void {
  past.set([]);
  writeStored(HISTORY_KEY, []);
}
