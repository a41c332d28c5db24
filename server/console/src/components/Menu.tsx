// A button that opens a short list of actions.
import { type KeyboardEvent, type ReactNode, useEffect, useState } from "react";
import { useDismiss } from "../hooks";
import { Button } from "./Button";

export interface MenuItem {
  label: ReactNode;
  hint?: ReactNode;
  disabled?: boolean;
  onSelect(): void;
}

interface MenuProps {
  label: ReactNode;
  items: MenuItem[];
  disabled?: boolean;
  align?: "left" | "right";
  /** Where `label` is only an icon. */
  ariaLabel?: string;
}

export function Menu({ label, items, disabled, align = "right", ariaLabel }: MenuProps) {
  const [open, setOpen] = useState(false);
  const close = () => {
    setOpen(false);
    ref.current?.querySelector("button")?.focus();
  };
  const ref = useDismiss(open, close);
  useEffect(() => {
    if (open) ref.current?.querySelector<HTMLElement>('[role="menuitem"]:not(:disabled)')?.focus();
  }, [open, ref]);
  const move = (event: KeyboardEvent) => {
    const entries = [...(ref.current?.querySelectorAll<HTMLElement>('[role="menuitem"]:not(:disabled)') ?? [])];
    const at = entries.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: entries.length - 1 }[event.key];
    if (event.key === "Tab") setOpen(false);
    if (!open || to === undefined) return;
    event.preventDefault();
    entries[(to + entries.length) % entries.length]?.focus();
  };
  return (
    <div className="menu-anchor" ref={ref} onKeyDown={move}>
      <Button kind="quiet" aria-haspopup="menu" aria-expanded={open} aria-label={ariaLabel} disabled={disabled} onClick={() => setOpen(!open)}>
        {label}
      </Button>
      {open && (
        <div className={`menu ${align}`} role="menu">
          {items.map((item, i) => (
            <button
              key={i}
              type="button"
              role="menuitem"
              className="menu-item"
              disabled={item.disabled}
              onClick={() => {
                // First: a dialog that is opened gives the focus back to where it was.
                close();
                item.onSelect();
              }}
            >
              <span>{item.label}</span>
              {item.hint && <span className="muted small">{item.hint}</span>}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}
