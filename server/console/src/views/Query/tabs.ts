// The tabs of the editor, without a browser: how those of several windows become one list.

export interface Tab {
  id: string;
  name: string;
  sql: string;
  /** When it was changed last. */
  at: number;
}

export interface Workspace {
  tabs: Tab[];
  selected: string;
  /** When tabs were closed: another window may still have them. */
  closed: Readonly<Record<string, number>>;
}

/** What the browser keeps; it may be of an earlier console. */
export type Stored = Partial<Workspace>;

export const TABS_MAX = 30;
const CLOSED_MAX = 200;

const newId = () => crypto.getRandomValues(new Uint32Array(2)).reduce((text, part) => text + part.toString(36), "");

function freeName(tabs: Tab[]): string {
  const taken = new Set(tabs.map((tab) => tab.name));
  let n = 1;
  while (taken.has(`Query ${n}`)) n += 1;
  return `Query ${n}`;
}

/** The name that somebody gave the tab; empty: nobody did. */
export const givenName = ({ name }: Pick<Tab, "name">): string => (/^Query \d+$/.test(name) ? "" : name);

export const newTab = (tabs: Tab[], sql = ""): Tab => ({ id: newId(), name: freeName(tabs), sql, at: Date.now() });

/** The tabs of what is kept, as far as they are tabs. */
export function tabsIn(stored: Stored): Tab[] {
  const tabs: unknown = stored.tabs;
  const usable = (Array.isArray(tabs) ? (tabs as Partial<Tab>[]) : []).filter((tab) => [tab?.id, tab?.name, tab?.sql].every((part) => typeof part === "string"));
  return usable.map((tab) => ({ ...(tab as Tab), at: Number(tab.at ?? 0) }));
}

/** This window's tabs with those of others: of each tab the last change counts, and what was closed since is gone. */
export function merged(mine: Workspace, stored: Stored): Workspace {
  const theirs = new Map(tabsIn(stored).map((tab) => [tab.id, tab]));
  const known = new Set(mine.tabs.map((tab) => tab.id));
  const newest = Object.entries({ ...stored.closed, ...mine.closed }).sort((a, b) => b[1] - a[1]);
  const closed = Object.fromEntries(newest.slice(0, CLOSED_MAX));
  const all = mine.tabs.map((tab) => {
    const other = theirs.get(tab.id);
    return other && other.at > tab.at ? other : tab;
  });
  for (const tab of theirs.values()) if (!known.has(tab.id)) all.push(tab);
  const left = all.filter((tab) => tab.at > (closed[tab.id] ?? Number.NEGATIVE_INFINITY));
  const tabs = left.length > 0 ? left : [newTab([])];
  return { tabs, selected: tabs.find((tab) => tab.id === mine.selected)?.id ?? tabs[0]?.id ?? "", closed };
}
