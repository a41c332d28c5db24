// A dialog in which something is written: it is taken over, or thrown away after a question.
import { type ReactNode, useState } from "react";
import { Button } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { Dialog } from "../../components/Dialog";
import { useUnsaved } from "../../hooks";

interface DraftDialogProps {
  title: string;
  /** Whether anything was written that is not taken over. */
  isChanged: boolean;
  /** Takes it over. */
  action: string;
  disabled: boolean;
  /** Beside the buttons. */
  note?: ReactNode;
  onDone(): void;
  onClose(): void;
  children: ReactNode;
}

export function DraftDialog({ title, isChanged, action, disabled, note, onDone, onClose, children }: DraftDialogProps) {
  const [asks, setAsks] = useState(false);
  useUnsaved(isChanged);
  return (
    <>
      <Dialog
        wide
        title={title}
        onClose={() => (isChanged ? setAsks(true) : onClose())}
        actions={
          <>
            {note}
            <Button onClick={onClose}>Cancel</Button>
            <Button kind="primary" disabled={disabled} onClick={onDone}>
              {action}
            </Button>
          </>
        }
      >
        {children}
      </Dialog>
      {asks && (
        <Confirm title="Throw away what you have written?" action="Throw it away" keep="Go on writing" onClose={() => setAsks(false)} onConfirm={onClose}>
          <p>It was not taken over yet.</p>
        </Confirm>
      )}
    </>
  );
}
