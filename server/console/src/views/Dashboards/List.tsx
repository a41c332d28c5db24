// All dashboards: open, make, import, delete.
import { useState } from "react";
import { errorDetails } from "../../api/client";
import { isAdministrator, useSession } from "../../api/session";
import { Button } from "../../components/Button";
import { EmptyState } from "../../components/EmptyState";
import { ErrorBox, LoadFailure } from "../../components/ErrorBox";
import { TextField } from "../../components/Field";
import { Time } from "../../components/Figures";
import { FormDialog } from "../../components/FormDialog";
import { Icon } from "../../components/Icon";
import { Menu } from "../../components/Menu";
import { Page } from "../../components/Page";
import { toast } from "../../components/Toast";
import { createDashboard, getDashboard, listDashboards, type Summary } from "../../dashboards/api";
import { type Dashboard, emptyDashboard, idOf } from "../../dashboards/model";
import { IN_ZONE } from "../../format";
import { useLoad } from "../../hooks";
import { Link, navigate } from "../../router";
import { DeleteDialog } from "./DeleteDialog";
import { exportFile, pickFile } from "./files";

const LOOK_EVERY_MS = 10_000;

export function List() {
  const { data, error, reload } = useLoad("dashboards", listDashboards, LOOK_EVERY_MS);
  const mayChange = isAdministrator(useSession());
  const [making, setMaking] = useState(false);
  const [failure, setFailure] = useState<unknown>(null);
  const [removing, setRemoving] = useState<Summary | null>(null);

  const make = async (id: string, dashboard: Dashboard) => {
    try {
      // A file need not have panels.
      const isEmpty = !((dashboard as Partial<Dashboard>).panels?.length);
      navigate(`/dashboards/${await createDashboard(id, dashboard)}${isEmpty ? "#edit" : ""}`);
    } catch (failed) {
      setFailure(failed);
    }
  };
  const importFile = async () => {
    setFailure(null);
    try {
      const picked = await pickFile();
      if (picked) await make(idOf(picked.name), picked.content as Dashboard);
    } catch (failed) {
      setFailure(failed);
    }
  };

  const tools = mayChange && (
    <>
      <Button onClick={() => void importFile()}>Import</Button>
      <Button kind="primary" onClick={() => setMaking(true)}>
        <Icon name="plus" /> New dashboard
      </Button>
    </>
  );
  return (
    <Page title="Dashboards" note={data && data.length > 0 && <span className="muted small">{IN_ZONE}</span>} tools={data && data.length > 0 && tools}>
      {failure !== null && <ErrorBox error={errorDetails(failure)} actions={<Button onClick={() => setFailure(null)}>Close</Button>} />}
      {data === undefined && <LoadFailure error={error} actions={<Button onClick={reload}>Try again</Button>} />}
      {data?.length === 0 && (
        <EmptyState
          title="No dashboards yet"
          action={<div className="row">{tools}</div>}
        >
          <p>A dashboard shows the answers of SQL statements as charts, numbers and tables, and moves with the events: a panel runs when new rows are there, once for all who watch it.</p>
        </EmptyState>
      )}
      {data && data.length > 0 && (
        <ul className="board-list">
          {data.map((one) => (
            <li key={one.id}>
              <Link href={`/dashboards/${one.id}`}>
                <Icon name="chart" />
                <span className="title" title={one.title}>{one.title}</span>
                <span className="muted small mono">{one.id}</span>
                <span className="spacer" />
                <span className="muted small">version {one.version}</span>
                <span className="muted small">
                  <Time value={one.updated_at} />
                </span>
              </Link>
              <Menu
                ariaLabel={`Actions of ${one.title}`}
                label={<Icon name="dots" />}
                items={[
                  { label: "Open the read-only link", onSelect: () => navigate(`/d/${one.id}`) },
                  { label: "Export as JSON", onSelect: () => void exportOne(one.id, setFailure) },
                  ...(mayChange ? [{ label: "Delete…", onSelect: () => setRemoving(one) }] : []),
                ]}
              />
            </li>
          ))}
        </ul>
      )}
      {making && <NewDialog onClose={() => setMaking(false)} onMake={(title) => make(idOf(title), emptyDashboard(title))} />}
      {removing && (
        <DeleteDialog
          {...removing}
          onClose={() => setRemoving(null)}
          onDeleted={() => {
            toast(`“${removing.title}” is deleted`);
            setRemoving(null);
            reload();
          }}
        />
      )}
    </Page>
  );
}

async function exportOne(id: string, onFailure: (failure: unknown) => void): Promise<void> {
  try {
    exportFile(`${id}.json`, (await getDashboard(id)).dashboard);
  } catch (error) {
    onFailure(error);
  }
}

function NewDialog({ onClose, onMake }: { onClose(): void; onMake(title: string): Promise<void> }) {
  const [title, setTitle] = useState("");
  return (
    <FormDialog title="New dashboard" action="Create" isReady={title.trim() !== ""} onClose={onClose} onSubmit={() => onMake(title.trim()).finally(onClose)}>
      <TextField label="Title" value={title} maxLength={200} required onValue={setTitle} />
    </FormDialog>
  );
}
