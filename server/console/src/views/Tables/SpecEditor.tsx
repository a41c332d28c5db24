// A table's spec in CodeMirror: YAML, with the server's faults at their lines.
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { indentUnit, StreamLanguage } from "@codemirror/language";
import { type Diagnostic, lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { type Ref, useEffect, useImperativeHandle, useRef } from "react";
import { codeLook } from "../../components/codeLook";
import { lineOfPath } from "./yaml";

export interface Fault {
  path: string;
  message: string;
}

export interface SpecEditorHandle {
  goTo(path: string): void;
}

interface SpecEditorProps {
  text: string;
  onChange(text: string): void;
  faults: Fault[];
  readOnly?: boolean;
  label: string;
  ref?: Ref<SpecEditorHandle>;
}

const language = StreamLanguage.define({
  name: "yaml",
  token(stream) {
    if (stream.eatSpace()) return null;
    if (stream.match(/#.*/)) return "comment";
    if (stream.match(/"(?:[^"\\]|\\.)*"(?=\s*:)|[^\s#:,{}[\]"'-][^:#,{}[\]]*(?=:(\s|$))/)) return "propertyName";
    if (stream.match(/"(?:[^"\\]|\\.)*"?|'[^']*'?/)) return "string";
    if (stream.match(/(true|false|null)(?=[\s,}\]]|$)/)) return "bool";
    if (stream.match(/-?\d+(\.\d+)?(?=[\s,}\]]|$)/)) return "number";
    if (stream.match(/[{}[\],:-]/)) return "punctuation";
    stream.match(/[^\s,{}[\]#]+/) || stream.next();
    return null;
  },
});

export function SpecEditor({ text, onChange, faults, readOnly = false, label, ref }: SpecEditorProps) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const changed = useRef(onChange);
  changed.current = onChange;
  const first = useRef(text);
  useEffect(() => {
    if (!host.current) return;
    const state = EditorState.create({
      doc: first.current,
      extensions: [
        lineNumbers(),
        history(),
        drawSelection(),
        highlightActiveLine(),
        lintGutter(),
        language,
        codeLook("12.5px"),
        indentUnit.of("  "),
        EditorState.tabSize.of(2),
        EditorState.readOnly.of(readOnly),
        EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0", spellcheck: "false", autocapitalize: "off" }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) changed.current(update.state.doc.toString());
        }),
        // Escape and then Tab leaves the editor.
        keymap.of([...historyKeymap, ...lintKeymap, ...defaultKeymap, indentWithTab]),
      ],
    });
    const made = new EditorView({ parent: host.current, state });
    view.current = made;
    return () => {
      first.current = made.state.doc.toString();
      made.destroy();
      view.current = null;
    };
  }, [readOnly, label]);

  useEffect(() => {
    const editor = view.current;
    if (editor && editor.state.doc.toString() !== text) editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: text } });
  }, [text]);

  useEffect(() => {
    const editor = view.current;
    if (!editor) return;
    const { doc } = editor.state;
    const diagnostics = faults.map(({ path, message }): Diagnostic => {
      const line = doc.line(Math.min(lineOfPath(doc.toString(), path) ?? 1, doc.lines));
      const from = line.from + (line.text.length - line.text.trimStart().length);
      return { from, to: line.to, severity: "error", message: `${path}: ${message}` };
    });
    editor.dispatch(setDiagnostics(editor.state, diagnostics));
  }, [faults]);

  useImperativeHandle(ref, () => ({
    goTo(path) {
      const editor = view.current;
      if (!editor) return;
      const { doc } = editor.state;
      const line = doc.line(Math.min(lineOfPath(doc.toString(), path) ?? 1, doc.lines));
      editor.dispatch({ selection: { anchor: line.from, head: line.to }, effects: EditorView.scrollIntoView(line.from, { y: "center" }) });
      editor.focus();
    },
  }));

  return <div className="spec-editor" ref={host} />;
}

/** The faults as a list; each leads to its line. */
export function FaultList({ faults, onGoTo }: { faults: Fault[]; onGoTo(path: string): void }) {
  return (
    <ul className="fault-list" aria-label="Faults of the spec">
      {faults.map(({ path, message }, i) => (
        <li key={i}>
          <button type="button" className="fault" onClick={() => onGoTo(path)}>
            <code>{path || "spec"}</code> <span>{message}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

/** The faults that an error of the server lists. */
export const faultsOf = (faults: unknown[] | undefined): Fault[] => (faults ?? []).filter((fault): fault is Fault => typeof fault === "object" && fault !== null && "path" in fault && "message" in fault);
