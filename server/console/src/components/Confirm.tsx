// Asks before something that is not easily taken back.
import { type ReactNode, useState } from "react";
import { TextField } from "./Field";
import { FormDialog } from "./FormDialog";

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

export function Confirm({ children, keep = "Leave it", typed, onConfirm, ...rest }: ConfirmProps) {
  const [text, setText] = useState("");
  return (
    <FormDialog kind="danger" keep={keep} isReady={typed === undefined || text === typed} onSubmit={onConfirm} {...rest}>
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
    </FormDialog>
  );
}
