// The tabs of the editor: arrow keys move, Delete closes, F2 or a double click renames.
import { type KeyboardEvent, useRef, useState } from "react";
import { Button } from "../../components/Button";
import { Icon } from "../../components/Icon";
import { useRuns } from "./runs";
import type { Tab } from "./tabs";
import { openTab, renameTab, selectTab } from "./workspace";

export function QueryTabs({ tabs, selected, onClose }: { tabs: Tab[]; selected: string; onClose(id: string): void }) {
  const [renaming, setRenaming] = useState<string | null>(null);
  const list = useRef<HTMLDivElement>(null);
  const runs = useRuns();
  const focusSelected = () => requestAnimationFrame(() => list.current?.querySelector<HTMLElement>('[aria-selected="true"]')?.focus());
  const onKey = (event: KeyboardEvent, tab: Tab) => {
    const at = tabs.indexOf(tab);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    const next = to === undefined ? undefined : tabs[(to + tabs.length) % tabs.length];
    if (next) selectTab(next.id);
    else if (event.key === "Delete") onClose(tab.id);
    else if (event.key === "F2") setRenaming(tab.id);
    else return;
    event.preventDefault();
    if (event.key !== "F2") focusSelected();
  };
  return (
    <div className="query-tabs">
      <div className="tabs" role="tablist" aria-label="Statements" ref={list}>
        {tabs.map((tab) =>
          renaming === tab.id ? (
            <input
              key={tab.id}
              className="input tab-name"
              aria-label="Name of the tab"
              autoFocus
              defaultValue={tab.name}
              onFocus={(event) => event.target.select()}
              onBlur={(event) => {
                renameTab(tab.id, event.target.value);
                setRenaming(null);
              }}
              onKeyDown={(event) => {
                if (event.key === "Escape") event.currentTarget.value = tab.name;
                if (event.key !== "Enter" && event.key !== "Escape") return;
                // Escape is for the name here, and not for what runs.
                event.preventDefault();
                event.currentTarget.blur();
                focusSelected();
              }}
            />
          ) : (
            <button
              key={tab.id}
              type="button"
              role="tab"
              className="tab"
              aria-selected={tab.id === selected}
              aria-controls="statement"
              tabIndex={tab.id === selected ? 0 : -1}
              title={tab.sql.slice(0, 300) || undefined}
              onClick={() => selectTab(tab.id)}
              onDoubleClick={() => setRenaming(tab.id)}
              onAuxClick={(event) => event.button === 1 && onClose(tab.id)}
              onKeyDown={(event) => onKey(event, tab)}
            >
              {runs[tab.id]?.state === "running" && <span className="running-dot" aria-label="running" role="img" />}
              {tab.name}
            </button>
          ),
        )}
      </div>
      <Button kind="quiet" icon aria-label="Close this tab" title="Close this tab (Alt+W)" onClick={() => onClose(selected)}>
        <Icon name="close" />
      </Button>
      <Button kind="quiet" icon aria-label="New tab" title="New tab (Alt+T)" onClick={() => openTab()}>
        <Icon name="plus" />
      </Button>
    </div>
  );
}
