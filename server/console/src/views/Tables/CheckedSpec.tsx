// A spec that is written, and above it what the server has against it; each fault leads to its line.
import { useMemo, useRef, useState } from "react";
import { errorDetails } from "../../api/client";
import { ErrorBox } from "../../components/ErrorBox";
import { FaultList, faultsOf, SpecEditor, type SpecEditorHandle } from "./SpecEditor";

interface CheckedSpecProps {
  text: string;
  onChange(text: string): void;
  error: unknown;
  readOnly?: boolean;
  label: string;
}

export function CheckedSpec({ error, ...spec }: CheckedSpecProps) {
  const editor = useRef<SpecEditorHandle>(null);
  const details = error === null ? null : errorDetails(error);
  const faults = useMemo(() => faultsOf(details?.faults), [error]);
  return (
    <>
      {details && (
        <div className="panel-body">
          <ErrorBox error={faults.length > 0 ? { kind: details.kind, message: faults.length === 1 ? "The spec has a fault." : `The spec has ${faults.length} faults.` } : details} />
          <FaultList faults={faults} onGoTo={(path) => editor.current?.goTo(path)} />
        </div>
      )}
      <div className="spec-box">
        <SpecEditor ref={editor} faults={faults} {...spec} />
      </div>
    </>
  );
}

/** What the server has against a text: what it refused counts until something is changed, otherwise what it `checked`. */
export function useRefusal(text: string, checked: unknown): { error: unknown; refuse(error: unknown): void } {
  const [refused, setRefused] = useState<{ text: string; error: unknown } | null>(null);
  return { error: refused?.text === text ? refused.error : checked, refuse: (error) => setRefused(error === null ? null : { text, error }) };
}
