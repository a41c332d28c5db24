// One panel: its statement, tried as it is written, and how the answer is drawn.
import { useCallback, useEffect, useRef, useState } from "react";
import { errorDetails, isAbort } from "../../api/client";
import { defaultChoice } from "../../charts/choice";
import { Button } from "../../components/Button";
import { ErrorBox } from "../../components/ErrorBox";
import { SelectField, TextField, withNone } from "../../components/Field";
import { preview } from "../../dashboards/api";
import { isSame, PANEL_KINDS, type Panel, type PanelAnswer } from "../../dashboards/model";
import { rolesOf } from "../../dashboards/roles";
import { kindOf } from "../../sqlTypes";
import { DraftDialog } from "./DraftDialog";
import { PanelBody } from "./PanelBody";
import { SqlField } from "./SqlField";

interface PanelEditorProps {
  panel: Panel;
  isNew: boolean;
  values: Record<string, string>;
  last: string;
  onClose(): void;
  onDone(panel: Panel, answer: PanelAnswer | null): void;
}

interface Trial {
  sql: string;
  answer: PanelAnswer | null;
  error: unknown;
  running: boolean;
}

export function PanelEditor({ panel, isNew, values, last, onClose, onDone }: PanelEditorProps) {
  const [draft, setDraft] = useState(panel);
  const [tried, setTried] = useState<Trial>({ sql: "", answer: null, error: null, running: false });
  const run = useTrial(draft.sql, values, last, setTried);
  useEffect(() => {
    if (panel.sql.trim() !== "") run();
    // Once, when it is opened.
  }, []);
  const change = (part: Partial<Panel>) => setDraft((old) => ({ ...old, ...part }));
  const { answer } = tried;
  // A new panel is drawn as fits its answer, until somebody says how.
  const [isFree, setFree] = useState(isNew && panel.sql.trim() === "");
  useEffect(() => {
    if (isFree && answer) change({ kind: defaultChoice(answer)?.kind ?? "table" });
  }, [isFree, answer]);
  const pick = (kind: Panel["kind"]) => {
    setFree(false);
    change({ kind });
  };
  const columns = answer?.columns ?? [];
  const isChart = draft.kind !== "table" && draft.kind !== "number";
  const guessed = rolesOf(columns, {});
  const numbers = columns.filter((column) => kindOf(column.type) === "number" || draft.y?.includes(column.name));
  const cannot = draft.sql.trim() === "";
  return (
    <DraftDialog
      title={isNew ? "New panel" : "Panel"}
      isChanged={!isSame(draft, panel)}
      action={isNew ? "Add the panel" : "Take over"}
      disabled={cannot}
      onDone={() => onDone({ ...draft, title: draft.title.trim() }, tried.sql === draft.sql && tried.error === null ? answer : null)}
      onClose={onClose}
    >
      <div className="panel-editor">
        <div className="panel-editor-fields">
          <TextField label="Title" value={draft.title} maxLength={200} onValue={(title) => change({ title })} />
          <div className="field">
            <span>
              SQL <em className="muted">· {["$time_from", "$time_to", ...Object.keys(values).map((name) => `$${name}`)].join(", ")} may stand in it</em>
            </span>
            <div className="panel-editor-sql">
              <SqlField label="SQL of the panel" value={draft.sql} onChange={(sql) => change({ sql })} onRun={run} hint="SELECT …" />
            </div>
          </div>
          <div className="row">
            <Button onClick={run} busy={tried.running} disabled={cannot}>
              {tried.running ? "Running…" : "Run"}
            </Button>
            <span className="muted small">
              <kbd>Ctrl</kbd> <kbd>Enter</kbd>
            </span>
            {answer && tried.error === null && tried.sql !== draft.sql && <span className="muted small">The statement has changed since this answer.</span>}
          </div>
        </div>
        <div className="panel-editor-look">
          <fieldset className="kinds">
            <legend>Shown as</legend>
            {PANEL_KINDS.map(({ value: kind, label }) => (
              <label key={kind} className={draft.kind === kind ? "chosen" : ""}>
                <input type="radio" name="kind" checked={draft.kind === kind} onChange={() => pick(kind)} />
                {label}
              </label>
            ))}
          </fieldset>
          {isChart && (
            <div className="row columns">
              <ColumnField label="Over" value={draft.x} names={columns.map((column) => column.name)} guess={columns[guessed.x]?.name} onValue={(x) => change({ x })} />
              <ColumnField label="A line for each" value={draft.by} names={columns.map((column) => column.name)} guess={columns[guessed.by]?.name} onValue={(by) => change({ by })} />
            </div>
          )}
          {draft.kind !== "table" && numbers.length > 1 && (
            <fieldset className="ys">
              <legend>{draft.kind === "number" ? "The number" : "Drawn"}</legend>
              {numbers.map((column) => {
                const isOn = draft.y?.includes(column.name) ?? false;
                const isOnly = draft.kind === "number";
                return (
                  <label key={column.name}>
                    <input
                      type={isOnly ? "radio" : "checkbox"}
                      name="y"
                      checked={isOn}
                      onChange={() => change({ y: isOnly ? [column.name] : isOn ? draft.y?.filter((name) => name !== column.name) : [...(draft.y ?? []), column.name] })}
                    />
                    {column.name}
                  </label>
                );
              })}
            </fieldset>
          )}
          <div className="panel-editor-picture">
            {tried.error !== null ? (
              <ErrorBox error={errorDetails(tried.error)} sql={tried.sql} />
            ) : answer ? (
              <PanelBody panel={draft} answer={answer} />
            ) : (
              <p className="panel-nothing muted">{tried.running ? "Running…" : "Run the statement to see the panel."}</p>
            )}
          </div>
        </div>
      </div>
    </DraftDialog>
  );
}

/** Runs the statement; a run that is overtaken is cancelled. */
function useTrial(sql: string, values: Record<string, string>, last: string, onTried: (update: (old: Trial) => Trial) => void) {
  const controller = useRef<AbortController | null>(null);
  useEffect(() => () => controller.current?.abort(), []);
  return useCallback(() => {
    if (sql.trim() === "") return;
    controller.current?.abort();
    const { signal } = (controller.current = new AbortController());
    // What was there stays until the answer comes.
    onTried((old) => ({ ...old, running: true }));
    preview(sql, values, last, signal).then(
      (answer) => onTried(() => ({ sql, answer, error: null, running: false })),
      (error: unknown) => {
        if (!isAbort(error)) onTried((old) => ({ sql, answer: old.answer, error, running: false }));
      },
    );
  }, [sql, values, last, onTried]);
}

/** A column for a part that it plays, or whichever the types suggest. */
function ColumnField({ label, value = "", names, guess, onValue }: { label: string; value?: string; names: string[]; guess?: string; onValue(value: string | undefined): void }) {
  // One that the answer does not have (any more) stays chosen.
  const options = withNone(guess ? `by itself (${guess})` : "by itself", value === "" || names.includes(value) ? names : [value, ...names]);
  return <SelectField label={label} value={value} options={options} onValue={(name) => onValue(name || undefined)} />;
}
