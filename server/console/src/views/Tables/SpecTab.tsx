// The spec of a table: read, edited, checked and applied.
import { useEffect, useMemo, useRef, useState } from "react";
import { ApiError, errorDetails } from "../../api/client";
import { Button } from "../../components/Button";
import { ErrorBox } from "../../components/ErrorBox";
import { toast } from "../../components/Toast";
import { apply, dryRun, type TableDocument } from "./data";
import { Confirm } from "./Confirm";
import { FaultList, faultsOf, SpecEditor, type SpecEditorHandle } from "./SpecEditor";
import { toYaml } from "./yaml";

/** So long after the last key the spec is checked. */
const CHECK_AFTER_MS = 600;

/** What the server says against a spec while it is written; what it said last stays until it has looked again. */
function useCheck(table: string, text: string, isChanged: boolean): unknown {
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    if (!isChanged) {
      setError(null);
      return;
    }
    const controller = new AbortController();
    const timer = setTimeout(() => {
      dryRun(table, text, controller.signal).then(
        () => setError(null),
        (failure: unknown) => {
          if (failure instanceof ApiError && !controller.signal.aborted) setError(failure);
        },
      );
    }, CHECK_AFTER_MS);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [table, text, isChanged]);
  return error;
}

interface SpecTabProps {
  table: string;
  document: TableDocument;
  mayChange: boolean;
  onApplied(): void;
}

export function SpecTab({ table, document, mayChange, onApplied }: SpecTabProps) {
  const present = useMemo(() => toYaml(document.spec), [document.spec]);
  const [draft, setDraft] = useState<string | null>(null);
  const [refused, setRefused] = useState<{ text: string; error: unknown } | null>(null);
  const [changes, setChanges] = useState<string[] | null>(null);
  const [busy, setBusy] = useState(false);
  const editor = useRef<SpecEditorHandle>(null);
  const text = draft ?? present;
  const isChanged = text !== present;
  const checked = useCheck(table, text, isChanged && mayChange);
  // What was refused counts until something is changed.
  const error = refused?.text === text ? refused.error : checked;
  const details = error === null ? null : errorDetails(error);
  const faults = useMemo(() => faultsOf(details?.faults), [error]);

  const check = async () => {
    setBusy(true);
    setRefused(null);
    try {
      const { applied, changes: found } = await dryRun(table, text);
      if (applied === "unchanged") toast("That is the spec that the table has.");
      else setChanges(found ?? []);
    } catch (failure) {
      setRefused({ text, error: failure });
    } finally {
      setBusy(false);
    }
  };

  return (
    <section className="panel">
      <div className="panel-head">
        <h3>Spec</h3>
        <span className="muted small">{mayChange ? "Edit it and apply. Escape, then Tab leaves the editor." : "Only administrators change it."}</span>
        <span className="spacer" />
        {mayChange && (
          <>
            <Button
              kind="quiet"
              disabled={!isChanged}
              onClick={() => {
                setDraft(null);
                setRefused(null);
              }}
            >
              Undo all
            </Button>
            <Button kind="primary" disabled={!isChanged || busy} onClick={() => void check()}>
              {busy ? "Checking…" : "Apply…"}
            </Button>
          </>
        )}
      </div>
      {details && (
        <div className="panel-body">
          <ErrorBox error={faults.length > 0 ? { kind: details.kind, message: faults.length === 1 ? "The spec has a fault." : `The spec has ${faults.length} faults.` } : details} />
          <FaultList faults={faults} onGoTo={(path) => editor.current?.goTo(path)} />
        </div>
      )}
      <div className="spec-box">
        <SpecEditor ref={editor} text={text} onChange={(next) => setDraft(next === present ? null : next)} faults={faults} readOnly={!mayChange} label={`Spec of ${table}`} />
      </div>
      {changes && (
        <Confirm
          title={`Change ${table}`}
          action="Apply"
          onClose={() => setChanges(null)}
          onConfirm={async () => {
            try {
              await apply(table, text);
            } catch (failure) {
              setChanges(null);
              setRefused({ text, error: failure });
              return;
            }
            toast(`${table} has its new spec.`);
            setChanges(null);
            setDraft(null);
            setRefused(null);
            onApplied();
          }}
        >
          <p>What is open is sealed with the present spec; the new one counts from there on.</p>
          {changes.length > 0 && (
            <ul className="changes" aria-label="What changes">
              {changes.map((change) => (
                <li key={change}>
                  <code>{change}</code>
                </li>
              ))}
            </ul>
          )}
        </Confirm>
      )}
    </section>
  );
}
