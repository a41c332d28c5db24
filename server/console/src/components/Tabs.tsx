// A row of tabs: arrow keys move, one tab is in the order of focus.
import { type KeyboardEvent, type ReactNode, useRef } from "react";

export interface TabItem<K extends string = string> {
  key: K;
  label: ReactNode;
  disabled?: boolean;
}

interface TabsProps<K extends string> {
  items: TabItem<K>[];
  selected: K;
  onSelect(key: K): void;
  label: string;
  /** Id of the panel that the tabs choose the content of. */
  panel?: string;
}

export function Tabs<K extends string>({ items, selected, onSelect, label, panel }: TabsProps<K>) {
  const list = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent) => {
    const usable = items.filter((item) => !item.disabled);
    const at = usable.findIndex((item) => item.key === selected);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: usable.length - 1 }[event.key];
    const next = to === undefined ? undefined : usable[(to + usable.length) % usable.length];
    if (!next) return;
    event.preventDefault();
    onSelect(next.key);
    requestAnimationFrame(() => list.current?.querySelector<HTMLElement>('[aria-selected="true"]')?.focus());
  };
  return (
    <div className="tabs" role="tablist" aria-label={label} ref={list} onKeyDown={move}>
      {items.map((item) => (
        <button
          key={item.key}
          type="button"
          role="tab"
          className="tab"
          aria-selected={item.key === selected}
          aria-controls={panel}
          tabIndex={item.key === selected ? 0 : -1}
          disabled={item.disabled}
          onClick={() => onSelect(item.key)}
        >
          {item.label}
        </button>
      ))}
    </div>
  );
}
