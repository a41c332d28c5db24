// Somebody else has changed or deleted the dashboard that is being edited: nothing of what was done here is lost.
import { errorDetails } from "../../api/client";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { ErrorBox } from "../../components/ErrorBox";
import { toast } from "../../components/Toast";
import { createDashboard } from "../../dashboards/api";
import type { Dashboard } from "../../dashboards/model";
import { navigate } from "../../router";
import type { Editing } from "./useDraft";

interface ConflictProps {
  id: string;
  editing: Editing;
  draft: Dashboard;
}

export function CopyButton({ id, editing, draft }: ConflictProps) {
  const save = async () => {
    try {
      const copy = await createDashboard(`${id}-copy`, { ...draft, title: `${draft.title} (copy)` });
      editing.discard();
      navigate(`/dashboards/${copy}`);
    } catch (error) {
      toast(errorDetails(error).message, "bad");
    }
  };
  return <Button onClick={() => void save()}>Save mine as a copy</Button>;
}

export function GoneBanner(props: ConflictProps) {
  const error = { kind: "gone", message: "Somebody else has deleted this dashboard. What you have changed is still here." };
  return <ErrorBox error={error} tone="warn" actions={<CopyButton {...props} />} />;
}

export function ConflictDialog({ version, onOverwrite, ...mine }: ConflictProps & { version: number; onOverwrite(): void }) {
  return (
    <Dialog
      title="Somebody else has changed this dashboard"
      onClose={mine.editing.dismiss}
      actions={
        <>
          <Button onClick={mine.editing.discard}>Take theirs</Button>
          <CopyButton {...mine} />
          <Button kind="danger" onClick={onOverwrite}>
            Overwrite with mine
          </Button>
        </>
      }
    >
      <p>Version {version} was saved while you were editing. Nothing of yours is lost: choose what becomes of it.</p>
    </Dialog>
  );
}
