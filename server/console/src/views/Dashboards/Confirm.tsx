// Questions before something is thrown away.
import { type ReactNode, useState } from "react";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";

interface ConfirmProps {
  title: string;
  yes: string;
  no: string;
  onYes(): void;
  onNo(): void;
  children: ReactNode;
}

export function Confirm({ title, yes, no, onYes, onNo, children }: ConfirmProps) {
  return (
    <Dialog
      title={title}
      onClose={onNo}
      actions={
        <>
          <Button onClick={onNo}>{no}</Button>
          <Button kind="danger" onClick={onYes}>
            {yes}
          </Button>
        </>
      }
    >
      <p>{children}</p>
    </Dialog>
  );
}

/** A way to close a dialog that asks first if something was changed in it, and the question, which stands beside the dialog. */
export function useAsking(isChanged: boolean, close: () => void): { leave(): void; question: ReactNode } {
  const [asks, setAsks] = useState(false);
  const question = asks && (
    <Confirm title="Throw away what you have written?" yes="Throw it away" no="Go on writing" onNo={() => setAsks(false)} onYes={close}>
      It was not taken over yet.
    </Confirm>
  );
  return { leave: () => (isChanged ? setAsks(true) : close()), question };
}
