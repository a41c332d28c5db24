// A small SQL editor for panels and variables: colours, and the lines that the server's errors name.
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { sql } from "@codemirror/lang-sql";
import { EditorState } from "@codemirror/state";
import { EditorView, keymap, lineNumbers, placeholder } from "@codemirror/view";
import { useEffect, useRef } from "react";
import { codeLook } from "../../components/codeLook";

interface SqlFieldProps {
  value: string;
  onChange(value: string): void;
  label: string;
  /** Ctrl+Enter. */
  onRun?(): void;
  readOnly?: boolean;
  hint?: string;
}

export function SqlField({ value, onChange, label, onRun, readOnly = false, hint = "" }: SqlFieldProps) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const latest = useRef({ onChange, onRun });
  latest.current = { onChange, onRun };
  const first = useRef(value);
  useEffect(() => {
    if (!host.current) return;
    const made = new EditorView({
      parent: host.current,
      state: EditorState.create({
        doc: first.current,
        extensions: [
          lineNumbers(),
          history(),
          sql(),
          codeLook("var(--text-s)"),
          placeholder(hint),
          EditorView.lineWrapping,
          EditorState.readOnly.of(readOnly),
          EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0", spellcheck: "false", autocapitalize: "off" }),
          // Tab leaves the field, as it does all others.
          keymap.of([{ key: "Mod-Enter", run: () => (latest.current.onRun?.(), true) }, ...historyKeymap, ...defaultKeymap]),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) latest.current.onChange(update.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = made;
    return () => made.destroy();
  }, [label, readOnly, hint]);
  useEffect(() => {
    first.current = value;
    const present = view.current;
    if (present && present.state.doc.toString() !== value) present.dispatch({ changes: { from: 0, to: present.state.doc.length, insert: value } });
  }, [value]);
  return <div ref={host} className="sql-field" />;
}
