// A dashboard over a table, proposed from what the table is and holds: one takes of it what one wants.
import { type FormEvent, useRef, useState } from "react";
import { errorDetails } from "../../api/client";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { ErrorBox, LoadFailure } from "../../components/ErrorBox";
import { TextField } from "../../components/Field";
import { createDashboard } from "../../dashboards/api";
import { idOf, PANEL_KINDS } from "../../dashboards/model";
import { useLoad } from "../../hooks";
import { navigate } from "../../router";
import { loadLook, type TableDocument } from "./data";
import { dashboardOf, LOOK_ROWS_MIN, NO_LOOK, type Proposed, proposalFor } from "./proposal";

/** A table that has hardly any rows yet, or old ones only, is looked at again. */
const LOOK_AGAIN_MS = 1_000;

const kindName = ({ kind }: Proposed) => PANEL_KINDS.find(({ value }) => value === kind)?.label ?? kind;

interface NewDashboardProps {
  document: TableDocument;
  /** What it has is not what its topic has now. */
  catchingUp: boolean;
  onClose(): void;
}

export function NewDashboard({ document, catchingUp, onClose }: NewDashboardProps) {
  const { name } = document;
  const [title, setTitle] = useState(`${name}, live`);
  const [left, setLeft] = useState<ReadonlySet<string>>(new Set());
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const form = useRef<HTMLFormElement>(null);
  const seen = useRef({ look: NO_LOOK, isLast: false });
  const load = async (signal: AbortSignal) => {
    if (!seen.current.isLast) {
      const now = await loadLook(document, signal);
      seen.current = { look: now, isLast: now.rows >= LOOK_ROWS_MIN && !catchingUp };
    }
    return seen.current.look;
  };
  const look = useLoad(`look ${name}`, load, LOOK_AGAIN_MS);
  const isLooking = look.data === undefined && look.error === null;
  const { panels, last } = proposalFor(document, look.data ?? NO_LOOK);
  const taken = panels.filter(({ id }) => !left.has(id));
  const isReady = !isLooking && taken.length > 0 && title.trim() !== "";
  const toggle = (id: string) => setLeft((old) => (old.has(id) ? new Set([...old].filter((other) => other !== id)) : new Set([...old, id])));

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (busy || !isReady) return;
    setBusy(true);
    setError(null);
    try {
      navigate(`/dashboards/${await createDashboard(idOf(title), dashboardOf(title.trim(), last, taken))}`);
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };

  return (
    <Dialog
      title={`New dashboard over ${name}`}
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" busy={busy} disabled={!isReady} onClick={() => form.current?.requestSubmit()}>
            {busy ? "Creating…" : "Create"}
          </Button>
        </>
      }
    >
      <form ref={form} className="proposal" onSubmit={(event) => void submit(event)}>
        <TextField label="Title" value={title} maxLength={200} required onValue={setTitle} />
        <fieldset className="proposal-panels" aria-busy={isLooking}>
          <legend>Panels</legend>
          {panels.map((panel) => (
            <label key={panel.id} className="check">
              <input type="checkbox" checked={!left.has(panel.id)} onChange={() => toggle(panel.id)} />
              <span>{panel.title}</span>
              <span className="muted small">{kindName(panel)}</span>
            </label>
          ))}
        </fieldset>
        <p className="muted small" role="status">
          {isLooking ? "Looking at the newest rows…" : "They run again each second in which new rows come. Each can be changed later, and more can be added."}
        </p>
        <LoadFailure error={look.error} tone="warn" />
        {error !== null && <ErrorBox error={errorDetails(error)} />}
        <button type="submit" hidden />
      </form>
    </Dialog>
  );
}
