// From a topic to a table: name the topic, correct what its messages were taken for, look at the rows, apply.
import { type FormEvent, useEffect, useMemo, useRef, useState } from "react";
import { ApiError, errorDetails, isAbort } from "../../api/client";
import { Button } from "../../components/Button";
import { DataGrid } from "../../components/DataGrid";
import { EmptyState } from "../../components/EmptyState";
import { ErrorBox } from "../../components/ErrorBox";
import { Table } from "../../components/Table";
import { Tabs } from "../../components/Tabs";
import { toast } from "../../components/Toast";
import { counted } from "../../format";
import { navigate } from "../../router";
import { apply, dryRun, infer, type Preview, preview } from "./data";
import { FaultList, faultsOf, SpecEditor, type SpecEditorHandle } from "./SpecEditor";
import { nameOf, parseProperties, renamed, template } from "./wizardText";

/** So long after the last key the rows are decoded anew. */
const PREVIEW_AFTER_MS = 600;

export function Wizard({ onClose }: { onClose(): void }) {
  const [source, setSource] = useState({ brokers: "", topic: "", properties: "" });
  const [spec, setSpec] = useState<{ text: string; seen: string } | null>(null);
  return (
    <div className="page">
      <div className="page-inner">
        <div className="page-head">
          <h2>A table from a topic</h2>
          <span className="muted">{spec ? "2 of 2: correct the spec, look at the rows, apply" : "1 of 2: which topic"}</span>
          <span className="spacer" />
          {spec && <Button onClick={() => setSpec(null)}>Back to the topic</Button>}
          <Button onClick={onClose}>All tables</Button>
        </div>
        {spec ? <Correct first={spec.text} seen={spec.seen} /> : <Source source={source} onChange={setSource} onSpec={(text, seen) => setSpec({ text, seen })} />}
      </div>
    </div>
  );
}

interface SourceText {
  brokers: string;
  topic: string;
  properties: string;
}

function Source({ source, onChange, onSpec }: { source: SourceText; onChange(next: SourceText): void; onSpec(text: string, seen: string): void }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const brokers = source.brokers.split(",").map((one) => one.trim()).filter(Boolean);
  const topic = source.topic.trim();
  const isReady = brokers.length > 0 && topic !== "" && !busy;
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (!isReady) return;
    setBusy(true);
    setError(null);
    try {
      const found = await infer({ brokers, topic, properties: parseProperties(source.properties) });
      const skipped = found.undecodable > 0 ? `; ${found.undecodable} of them ${found.undecodable === 1 ? "is" : "are"} no JSON object` : "";
      onSpec(found.spec, `${counted(found.columns.length, "column")} from the newest ${counted(found.messages_read, "message")}${skipped}`);
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  const details = error === null ? null : errorDetails(error);
  return (
    <form className="panel wizard-source" onSubmit={(event) => void submit(event)}>
      <label className="field">
        <span>Brokers</span>
        <input className="input" autoFocus value={source.brokers} placeholder="kafka-1:9092, kafka-2:9092" spellCheck={false} autoComplete="off" onChange={(event) => onChange({ ...source, brokers: event.target.value })} />
      </label>
      <label className="field">
        <span>Topic</span>
        <input className="input" value={source.topic} spellCheck={false} autoComplete="off" onChange={(event) => onChange({ ...source, topic: event.target.value })} />
      </label>
      <label className="field">
        <span>Properties of the connection, one key=value per line (if any are needed)</span>
        <textarea className="input mono" rows={4} value={source.properties} placeholder={"security.protocol=SASL_SSL\nsasl.password=env:KAFKA_PASSWORD"} spellCheck={false} onChange={(event) => onChange({ ...source, properties: event.target.value })} />
      </label>
      <p className="muted small">A value env:NAME or file:PATH is read by the server from there, so that no secret stands in the spec.</p>
      {details && (
        <div>
          <ErrorBox error={details} />
          <FaultList faults={faultsOf(details.faults)} onGoTo={() => undefined} />
        </div>
      )}
      <div className="row">
        <Button kind="primary" type="submit" disabled={!isReady}>
          {busy ? "Reading the topic…" : "Look at the topic"}
        </Button>
        <Button onClick={() => onSpec(template(brokers, topic), "")}>Write the spec by hand</Button>
      </div>
    </form>
  );
}

interface Looked {
  preview: Preview | null;
  error: unknown;
  busy: boolean;
}

/** What the spec makes of the topic's newest messages; the rows before stay until the next ones are there. */
function usePreview(text: string): Looked {
  const [looked, setLooked] = useState<Looked>({ preview: null, error: null, busy: true });
  useEffect(() => {
    const controller = new AbortController();
    const timer = setTimeout(async () => {
      setLooked((old) => ({ ...old, busy: true }));
      try {
        const made = await preview(text, controller.signal);
        if (!controller.signal.aborted) setLooked({ preview: made, error: null, busy: false });
      } catch (error) {
        if (!isAbort(error) && !controller.signal.aborted) setLooked((old) => ({ preview: old.preview, error, busy: false }));
      }
    }, PREVIEW_AFTER_MS);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [text]);
  return looked;
}

function Correct({ first, seen }: { first: string; seen: string }) {
  const [text, setText] = useState(first);
  const [refused, setRefused] = useState<{ text: string; error: unknown } | null>(null);
  const [busy, setBusy] = useState(false);
  const editor = useRef<SpecEditorHandle>(null);
  const looked = usePreview(text);
  // What was refused counts until something is changed.
  const error = refused?.text === text ? refused.error : looked.error;
  const details = error === null ? null : errorDetails(error);
  const faults = useMemo(() => faultsOf(error instanceof ApiError ? error.details.faults : undefined), [error]);
  const table = nameOf(text);

  const create = async () => {
    setBusy(true);
    try {
      // A conflict is one with the table of that name, too.
      const isNew = await dryRun(table, text).then(
        ({ applied }) => applied === "created",
        (failure) => {
          if (failure instanceof ApiError && failure.status === 409) return false;
          throw failure;
        },
      );
      if (!isNew) {
        const taken = { kind: "conflict", message: `There is a table ${table} already. Give this one another name, or edit the spec of that one on its page.` };
        setRefused({ text, error: new ApiError(409, taken) });
        return;
      }
      await apply(table, text);
      toast(`${table} is there and reads its topic.`);
      navigate(`/tables/${encodeURIComponent(table)}`);
    } catch (failure) {
      setRefused({ text, error: failure });
    } finally {
      setBusy(false);
    }
  };

  return (
    <div className="wizard">
      <section className="panel">
        <div className="panel-head">
          <label className="row small">
            Table
            <input className="input" value={table} spellCheck={false} autoComplete="off" onChange={(event) => setText(renamed(text, event.target.value))} />
          </label>
          <span className="muted small">{seen}</span>
          <span className="spacer" />
          <Button kind="primary" disabled={busy || table === "" || faults.length > 0} onClick={() => void create()}>
            {busy ? "Making it…" : "Make the table"}
          </Button>
        </div>
        {details && (
          <div className="panel-body">
            <ErrorBox error={faults.length > 0 ? { kind: details.kind, message: faults.length === 1 ? "The spec has a fault." : `The spec has ${faults.length} faults.` } : details} />
            <FaultList faults={faults} onGoTo={(path) => editor.current?.goTo(path)} />
          </div>
        )}
        <div className="spec-box">
          <SpecEditor ref={editor} text={text} onChange={setText} faults={faults} label="Spec of the new table" />
        </div>
      </section>
      <PreviewPanel looked={looked} />
    </div>
  );
}

function PreviewPanel({ looked: { preview: made, busy } }: { looked: Looked }) {
  const [shown, setShown] = useState<"rows" | "letters">("rows");
  const letters = made?.dead_letters ?? [];
  return (
    <section className="panel preview">
      <div className="panel-head">
        <Tabs<"rows" | "letters">
          items={[
            { key: "rows", label: `Rows (${made?.rows.length ?? 0})` },
            { key: "letters", label: `Dead letters (${letters.length})` },
          ]}
          selected={shown}
          onSelect={setShown}
          label="What the spec makes of the newest messages"
          panel="preview-part"
        />
        <span className="spacer" />
        <span className="muted small" role="status">
          {busy ? "Reading…" : made ? `of the newest ${counted(made.messages_read, "message")}` : ""}
        </span>
      </div>
      <div id="preview-part" role="tabpanel" aria-label={shown === "rows" ? "Rows" : "Dead letters"}>
        {!made && <EmptyState title={busy ? "Reading the topic…" : "No rows"}>What the spec makes of the topic's newest messages appears here, with each change anew.</EmptyState>}
        {made && shown === "rows" && made.rows.length === 0 && <EmptyState title="No message became a row">The dead letters say why.</EmptyState>}
        {made && shown === "rows" && made.rows.length > 0 && (
          <div className="sample-grid">
            <DataGrid key={made.columns.map(({ name, type }) => `${name} ${type}`).join()} columns={made.columns} rows={made.rows} label="Previewed rows" />
          </div>
        )}
        {made && shown === "letters" && (
          <Table
            label="Previewed dead letters"
            columns={[
              { key: "partition", head: "Partition", cell: (one) => one.partition },
              { key: "offset", head: "Offset", number: true, cell: (one) => String(one.offset) },
              { key: "reason", head: "Reason", cell: (one) => <span className="wraps">{one.reason}</span> },
            ]}
            rows={letters}
            rowKey={(one) => `${one.partition} ${one.offset}`}
            empty="None: every message that was looked at becomes a row."
          />
        )}
      </div>
    </section>
  );
}
