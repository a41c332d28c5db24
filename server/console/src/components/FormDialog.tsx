// A dialog in which something is filled in and sent. What fails is said in it, and what was written stays.
import { type ReactNode, useRef } from "react";
import { errorDetails } from "../api/client";
import { useSending } from "../hooks";
import { Button } from "./Button";
import { Dialog } from "./Dialog";
import { ErrorBox } from "./ErrorBox";

interface FormDialogProps {
  title: string;
  children: ReactNode;
  /** The button that sends it. */
  action: string;
  /** What that one says meanwhile. */
  busyAction?: string;
  kind?: "primary" | "danger";
  /** The button that leaves everything as it is. */
  keep?: string;
  isReady: boolean;
  onClose(): void;
  /** Closes the dialog, or leads away from it. */
  onSubmit(): unknown;
}

export function FormDialog({ title, children, action, busyAction = action, kind = "primary", keep = "Cancel", isReady, onClose, onSubmit }: FormDialogProps) {
  const { busy, error, submit } = useSending(isReady, onSubmit);
  const form = useRef<HTMLFormElement>(null);
  return (
    <Dialog
      title={title}
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>{keep}</Button>
          <Button kind={kind} busy={busy} disabled={!isReady} onClick={() => form.current?.requestSubmit()}>
            {busy ? busyAction : action}
          </Button>
        </>
      }
    >
      <form ref={form} className="dialog-form" onSubmit={submit}>
        {children}
        {error !== null && <ErrorBox error={errorDetails(error)} />}
        {/* Enter in one of several fields submits only with a button of the form's own. */}
        <button type="submit" hidden />
      </form>
    </Dialog>
  );
}
