// Asks before something that is not easily taken back.
import { type ReactNode, useState } from "react";
import { errorDetails } from "../../api/client";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { ErrorBox } from "../../components/ErrorBox";

interface ConfirmProps {
  title: string;
  children: ReactNode;
  action: string;
  /** What must be typed before the button works. */
  typed?: string;
  onClose(): void;
  onConfirm(): Promise<unknown>;
}

export function Confirm({ title, children, action, typed, onClose, onConfirm }: ConfirmProps) {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const isReady = !busy && (typed === undefined || text === typed);
  const confirm = async () => {
    if (!isReady) return;
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
          <Button onClick={onClose}>Leave it</Button>
          <Button kind="danger" disabled={!isReady} onClick={() => void confirm()}>
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
          <label className="field">
            <span>
              Type <code>{typed}</code> to go on
            </span>
            <input className="input" value={text} autoComplete="off" spellCheck={false} onChange={(event) => setText(event.target.value)} />
          </label>
        )}
        {error !== null && <ErrorBox error={errorDetails(error)} />}
      </form>
    </Dialog>
  );
}
