// The statement of the answer in sight becomes a panel of a dashboard, drawn as the answer is.
import { useEffect, useRef, useState } from "react";
import type { Answer } from "../../api/types";
import type { ChartChoice } from "../../charts/choice";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { LoadFailure } from "../../components/ErrorBox";
import { type Option, SelectField, TextField } from "../../components/Field";
import { FormDialog } from "../../components/FormDialog";
import { type Added, addTo, addToNew, lookOf, titleOf } from "../../dashboards/adding";
import { listDashboards, type Summary } from "../../dashboards/api";
import { ANSWER_ROWS_MAX, PANEL_KINDS } from "../../dashboards/model";
import { whole } from "../../format";
import { useLoad } from "../../hooks";
import { Link } from "../../router";

/** What is in sight when somebody asks for a panel; what runs meanwhile does not change it. */
export interface Wanted {
  sql: string;
  answer: Answer;
  /** Null: it is shown as rows. */
  choice: ChartChoice | null;
  /** A name that was given to it already. */
  name: string;
}

const NEW = "";
/** The one that got the last panel gets the next one, until another one is chosen. */
let last = NEW;

/** Two of the same title are told apart by their ids. */
function optionsOf(dashboards: Summary[]): Option[] {
  const isTwice = ({ title }: Summary) => dashboards.filter((other) => other.title === title).length > 1;
  return [{ value: NEW, label: "A new dashboard" }, ...dashboards.map((one) => ({ value: one.id, label: isTwice(one) ? `${one.title} (${one.id})` : one.title }))];
}

export function AddToDashboard({ wanted, onClose }: { wanted: Wanted; onClose(): void }) {
  const { sql, answer, choice, name } = wanted;
  const dashboards = useLoad("dashboards", listDashboards);
  const options = optionsOf(dashboards.data ?? []);
  const [picked, setPicked] = useState<string | null>(null);
  const [boardTitle, setBoardTitle] = useState("");
  const [title, setTitle] = useState(name || (choice ? titleOf(choice) : ""));
  const look = lookOf(choice, answer.columns);
  const [kind, setKind] = useState(look.kind);
  const [done, setDone] = useState<(Added & { title: string }) | null>(null);
  // One that is gone meanwhile cannot be chosen any more.
  const into = [picked, last].find((id) => options.some(({ value }) => value === id)) ?? NEW;
  const isReady = into !== NEW || boardTitle.trim() !== "";
  const nameBoard = (name: string) => {
    // Who writes a title wants a new one, whatever the list has when it comes.
    setPicked(NEW);
    setBoardTitle(name);
  };

  const add = async () => {
    const panel = { ...look, kind, title: title.trim(), sql };
    try {
      const added = into === NEW ? await addToNew(boardTitle.trim(), panel) : await addTo(into, panel);
      last = added.dashboard;
      setDone({ ...added, title: into === NEW ? boardTitle.trim() : (dashboards.data?.find(({ id }) => id === into)?.title ?? into) });
    } catch (failure) {
      dashboards.reload();
      throw failure;
    }
  };

  if (done) return <Done panel={title.trim()} done={done} onClose={onClose} />;
  return (
    <FormDialog title="Add to dashboard" action="Add the panel" busyAction="Adding…" isReady={isReady} onClose={onClose} onSubmit={add}>
      <LoadFailure error={dashboards.error} tone="warn" />
      <SelectField label="Dashboard" value={into} options={options} onValue={(id) => setPicked(id)} />
      {into === NEW && <TextField label="Title of the dashboard" value={boardTitle} maxLength={200} required onValue={nameBoard} />}
      <TextField label="Title of the panel" value={title} maxLength={200} onValue={setTitle} />
      <SelectField label="Shown as" value={kind} options={PANEL_KINDS} onValue={(value) => setKind(value)} />
      <pre className="add-panel-sql" tabIndex={0} aria-label="Statement of the panel">
        {sql}
      </pre>
      {answer.rows.length > ANSWER_ROWS_MAX && <p className="small add-panel-many">The answer has {whole(answer.rows.length)} rows, and a panel shows none with more than {whole(ANSWER_ROWS_MAX)}: add a LIMIT, or group it.</p>}
    </FormDialog>
  );
}

/** It is there, and one goes on to it, or with the query. */
function Done({ panel, done, onClose }: { panel: string; done: Added & { title: string }; onClose(): void }) {
  const link = useRef<HTMLDivElement>(null);
  useEffect(() => link.current?.querySelector("a")?.focus(), []);
  return (
    <Dialog
      title="Added"
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Back to the query</Button>
          <div ref={link}>
            <Link className="button primary" href={`/dashboards/${encodeURIComponent(done.dashboard)}#panel=${encodeURIComponent(done.panel)}`}>
              Open the dashboard
            </Link>
          </div>
        </>
      }
    >
      <p role="status">
        {panel ? `“${panel}”` : "The panel"} is on “{done.title}”, and runs there again whenever new rows come.
      </p>
    </Dialog>
  );
}
