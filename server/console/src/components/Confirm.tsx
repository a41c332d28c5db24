// Asks before something that is not easily taken back.
import { type ReactNode, useState } from "react";
import { errorDetails } from "../api/client";
import { Button } from "./Button";
import { Dialog } from "./Dialog";
import { ErrorBox } from "./ErrorBox";
import { TextField } from "./Field";

interface ConfirmProps {
  title: string;
  children: ReactNode;
  action: string;
  /** The button that leaves everything as it is. */
  keep?: string;
  /** What must be typed before the button works. */
  typed?: string;
  onClose(): void;
  /** What fails is said in the dialog, which then stays. */
  onConfirm(): unknown;
}

export function Confirm({ title, children, action, keep = "Leave it", typed, onClose, onConfirm }: ConfirmProps) {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const isReady = typed === undefined || text === typed;
  const confirm = async () => {
    if (busy || !isReady) return;
    setBusy(true);
    setError(null);
    try {
      await onConfirm();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={title}
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>{keep}</Button>
          <Button kind="danger" busy={busy} disabled={!isReady} onClick={() => void confirm()}>
            {action}
          </Button>
        </>
      }
    >
      <form
        className="confirm"
        onSubmit={(event) => {
          event.preventDefault();
          void confirm();
        }}
      >
        {children}
        {typed !== undefined && (
          <TextField
            label={
              <>
                Type <code>{typed}</code> to go on
              </>
            }
            value={text}
            autoComplete="off"
            spellCheck={false}
            onValue={setText}
          />
        )}
        {error !== null && <ErrorBox error={errorDetails(error)} />}
      </form>
    </Dialog>
  );
}
