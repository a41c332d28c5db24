// All dashboards: open, make, import, delete.
import { type FormEvent, useRef, useState } from "react";
import { errorDetails } from "../../api/client";
import { isAdministrator, useSession } from "../../api/session";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { EmptyState } from "../../components/EmptyState";
import { ErrorBox } from "../../components/ErrorBox";
import { Icon } from "../../components/Icon";
import { Menu } from "../../components/Menu";
import { toast } from "../../components/Toast";
import { useLoad } from "../../hooks";
import { Link, navigate } from "../../router";
import { createDashboard, deleteDashboard, getDashboard, listDashboards, type Summary } from "./api";
import { exportFile, pickFile } from "./files";
import { type Dashboard, emptyDashboard, idOf } from "./model";
import { DotsIcon } from "./PanelCard";

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
    <div className="page">
      <div className="page-inner">
        <div className="page-head">
          <h2>Dashboards</h2>
          <span className="spacer" />
          {data && data.length > 0 && tools}
        </div>
        {failure !== null && <Failure error={failure} onClose={() => setFailure(null)} />}
        {error !== null && data === undefined && <ErrorBox error={errorDetails(error)} actions={<Button onClick={reload}>Try again</Button>} />}
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
                  <span className="title">{one.title}</span>
                  <span className="muted small mono">{one.id}</span>
                  <span className="spacer" />
                  <span className="muted small">version {one.version}</span>
                  <time className="muted small" dateTime={one.updated_at}>
                    {new Date(one.updated_at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })}
                  </time>
                </Link>
                <Menu
                  ariaLabel={`Actions of ${one.title}`}
                  label={<DotsIcon />}
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
      </div>
      {making && <NewDialog onClose={() => setMaking(false)} onMake={(title) => make(idOf(title), emptyDashboard(title))} />}
      {removing && (
        <Dialog
          title={`Delete “${removing.title}”?`}
          onClose={() => setRemoving(null)}
          actions={
            <>
              <Button onClick={() => setRemoving(null)}>Keep it</Button>
              <Button
                kind="danger"
                onClick={() => {
                  const { id, etag, title } = removing;
                  setRemoving(null);
                  deleteDashboard(id, etag).then(
                    () => {
                      toast(`“${title}” is deleted`);
                      reload();
                    },
                    (failed: unknown) => {
                      setFailure(failed);
                      reload();
                    },
                  );
                }}
              >
                Delete
              </Button>
            </>
          }
        >
          <p>Everybody who watches it will see that it is gone.</p>
        </Dialog>
      )}
    </div>
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
  const [busy, setBusy] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    void onMake(title.trim()).finally(onClose);
  };
  return (
    <Dialog
      title="New dashboard"
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" disabled={title.trim() === "" || busy} onClick={() => form.current?.requestSubmit()}>
            Create
          </Button>
        </>
      }
    >
      <form ref={form} onSubmit={submit}>
        <label className="field">
          <span>Title</span>
          <input className="input" value={title} maxLength={200} autoFocus required onChange={(event) => setTitle(event.target.value)} />
        </label>
      </form>
    </Dialog>
  );
}

/** An error of the server; what is wrong with a document stands in its message, line by line. */
export function Failure({ error, onClose }: { error: unknown; onClose(): void }) {
  return <ErrorBox error={errorDetails(error)} actions={<Button onClick={onClose}>Close</Button>} />;
}
