// The browser's own modal dialog: it keeps the focus. Whether it closes on Escape says whoever opened it.
import { type ReactNode, useEffect, useId, useRef } from "react";
import { Button } from "./Button";
import { Icon } from "./Icon";

interface DialogProps {
  title: string;
  onClose(): void;
  children: ReactNode;
  /** Buttons at its end. */
  actions?: ReactNode;
  wide?: boolean;
}

/** The browser has closed what is still there, by a gesture for one. A question that stands over a dialog comes after it. */
function reopen(): void {
  for (const dialog of document.querySelectorAll<HTMLDialogElement>("dialog.dialog:not([open])")) dialog.showModal();
}

export function Dialog({ title, onClose, children, actions, wide }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement;
    if (dialog && !dialog.open) {
      dialog.showModal();
      // Where there is something to fill in, one begins with that; elsewhere with what closes the dialog.
      dialog.querySelector<HTMLElement>(".dialog-body :is(input, select, textarea, [contenteditable=true])")?.focus();
    }
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  const latest = useRef(onClose);
  latest.current = onClose;
  useEffect(() => {
    // Before the browser does: it closes a dialog on the second Escape whatever became of the first one.
    const key = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || event.defaultPrevented || [...document.querySelectorAll("dialog[open]")].at(-1) !== ref.current) return;
      event.preventDefault();
      latest.current();
    };
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  }, []);
  return (
    <dialog
      ref={ref}
      className={`dialog ${wide ? "wide" : ""}`}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClose={(event) => {
        if (event.target !== event.currentTarget) return;
        onClose();
        setTimeout(reopen);
      }}
      onPointerDown={(event) => {
        if (event.target === event.currentTarget) onClose();
      }}
    >
      <div className="dialog-head">
        <h2 id={id}>{title}</h2>
        <Button kind="quiet" icon aria-label="Close" onClick={onClose}>
          <Icon name="close" />
        </Button>
      </div>
      <div className="dialog-body">{children}</div>
      {actions && <div className="dialog-foot">{actions}</div>}
    </dialog>
  );
}
