// A dashboard over a table, proposed from what the table is and holds: one takes of it what one wants.
import { useRef, useState } from "react";
import { LoadFailure } from "../../components/ErrorBox";
import { TextField } from "../../components/Field";
import { FormDialog } from "../../components/FormDialog";
import { createDashboard } from "../../dashboards/api";
import { idOf, PANEL_KINDS } from "../../dashboards/model";
import { useLoad } from "../../hooks";
import { navigate } from "../../router";
import { loadLook, type TableDocument } from "./data";
import { dashboardOf, LOOK_ROWS_MIN, NO_LOOK, type Proposed, proposalFor } from "./proposal";

/** A table that has hardly any rows yet, or old ones only, is looked at again. */
const LOOK_AGAIN_MS = 1_000;

const kindName = ({ kind }: Proposed) => PANEL_KINDS.find(({ value }) => value === kind)?.label ?? kind;

/** Which of the panels it is, after the next look too: that one may find other columns for bars, whose ids are numbers only. */
const keyOf = ({ id, x }: Proposed) => (id.startsWith("top-") ? `top ${x}` : id);

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
  const seen = useRef({ look: NO_LOOK, isLast: false });
  const load = async (signal: AbortSignal) => {
    if (!seen.current.isLast) {
      const now = await loadLook(document, signal);
      // What took too long says nothing against what was seen before.
      if (now) seen.current = { look: now, isLast: now.rows >= LOOK_ROWS_MIN && !catchingUp };
    }
    return seen.current.look;
  };
  const look = useLoad(`look ${name}`, load, LOOK_AGAIN_MS);
  const isLooking = look.data === undefined && look.error === null;
  const { panels, last } = proposalFor(document, look.data ?? NO_LOOK);
  const taken = panels.filter((panel) => !left.has(keyOf(panel)));
  const isReady = !isLooking && taken.length > 0 && title.trim() !== "";
  const toggle = (key: string) => setLeft((old) => (old.has(key) ? new Set([...old].filter((other) => other !== key)) : new Set([...old, key])));

  return (
    <FormDialog
      title={`New dashboard over ${name}`}
      action="Create"
      busyAction="Creating…"
      isReady={isReady}
      onClose={onClose}
      onSubmit={async () => navigate(`/dashboards/${await createDashboard(idOf(title), dashboardOf(title.trim(), last, taken))}`)}
    >
      <TextField label="Title" value={title} maxLength={200} required onValue={setTitle} />
      <fieldset className="proposal-panels" aria-busy={isLooking}>
        <legend>Panels</legend>
        {panels.map((panel) => (
          <label key={keyOf(panel)} className="check">
            <input type="checkbox" checked={!left.has(keyOf(panel))} onChange={() => toggle(keyOf(panel))} />
            <span>{panel.title}</span>
            <span className="muted small">{kindName(panel)}</span>
          </label>
        ))}
      </fieldset>
      <p className="muted small" role="status">
        {isLooking ? "Looking at the newest rows…" : "They run again each second in which new rows come. Each can be changed later, and more can be added."}
      </p>
      <LoadFailure error={look.error} tone="warn" />
    </FormDialog>
  );
}
