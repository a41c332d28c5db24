// The question before a dashboard is deleted.
import { Confirm } from "../../components/Confirm";
import { deleteDashboard } from "../../dashboards/api";

interface DeleteDialogProps {
  id: string;
  etag: string;
  title: string;
  onClose(): void;
  onDeleted(): void;
}

export function DeleteDialog({ id, etag, title, onClose, onDeleted }: DeleteDialogProps) {
  return (
    <Confirm title={`Delete “${title}”?`} action="Delete" keep="Keep it" onClose={onClose} onConfirm={() => deleteDashboard(id, etag).then(onDeleted)}>
      <p>Everybody who watches it will see that it is gone.</p>
    </Confirm>
  );
}
