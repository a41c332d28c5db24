// CodeMirror in React: one view, and per tab a state with its own undo history.
import { type Diagnostic, setDiagnostics } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { type Ref, useEffect, useImperativeHandle, useLayoutEffect, useRef } from "react";
import type { CatalogTable } from "../../../api/catalog";
import { type EditorActions, knowing, setup } from "./setup";
import { type Span, statementAt } from "./statements";
import { FUNCTIONS, type FunctionWord } from "./words";

export interface EditorHandle {
  focus(): void;
  /** The selection, or the statement under the cursor. */
  toRun(): (Span & { sql: string }) | null;
  /** Puts text at the cursor. */
  insert(text: string): void;
  /** Replaces a part, if it still reads `expected`. */
  replace(span: Span, by: string): void;
}

interface EditorProps extends EditorActions {
  tab: string;
  /** The text when the tab is first shown, or when it was changed from outside of the editor. */
  text: string;
  tables: CatalogTable[];
  functions: FunctionWord[];
  fault: (Span & { message: string; fix?: string }) | null;
  ref?: Ref<EditorHandle>;
}

/** States live as long as the page, so that a change of view keeps what can be undone. They ask `current`, which is that of
 * the one editor that there is. */
const states = new Map<string, EditorState>();
const current: { tables: CatalogTable[]; functions: FunctionWord[]; actions: EditorActions } = { tables: [], functions: FUNCTIONS, actions: { run() {}, cancel: () => false, changed() {} } };
const extensions = setup(
  () => current.tables,
  () => current.functions,
  () => current.actions,
);

export const forgetEditor = (tab: string) => states.delete(tab);

export function Editor({ tab, text, tables, functions, fault, ref, run, cancel, changed }: EditorProps) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const shown = useRef(tab);
  useLayoutEffect(() => {
    current.tables = tables;
    current.functions = functions;
    current.actions = { run, cancel, changed };
  });

  useEffect(() => {
    if (!host.current) return;
    const made = new EditorView({ parent: host.current });
    view.current = made;
    made.focus();
    return () => {
      states.set(shown.current, made.state);
      made.destroy();
      view.current = null;
    };
  }, []);

  useEffect(() => {
    const editor = view.current;
    if (!editor) return;
    if (shown.current !== tab) states.set(shown.current, editor.state);
    shown.current = tab;
    editor.setState(states.get(tab) ?? EditorState.create({ doc: text, selection: { anchor: text.length }, extensions }));
    // `text` is what the tab starts with; later changes come from the editor itself, or below.
  }, [tab]);

  useEffect(() => {
    if (functions !== FUNCTIONS) view.current?.dispatch({ effects: knowing(functions) });
  }, [tab, functions]);

  useEffect(() => {
    const editor = view.current;
    if (!editor || shown.current !== tab || editor.state.doc.toString() === text) return;
    editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: text }, selection: { anchor: text.length } });
  }, [tab, text]);

  useEffect(() => {
    const editor = view.current;
    if (!editor) return;
    const diagnostics: Diagnostic[] = [];
    if (fault && fault.to <= editor.state.doc.length) {
      const { from, to, message, fix } = fault;
      const apply = (view: EditorView, start: number, end: number) => view.dispatch({ changes: { from: start, to: end, insert: fix }, selection: { anchor: start + (fix?.length ?? 0) } });
      diagnostics.push({ from, to, severity: "error", message, actions: fix ? [{ name: `Use ${fix}`, apply }] : [] });
    }
    editor.dispatch(setDiagnostics(editor.state, diagnostics));
  }, [fault, tab]);

  useImperativeHandle(ref, () => ({
    focus: () => view.current?.focus(),
    toRun() {
      const state = view.current?.state;
      if (!state) return null;
      const { from, to, empty } = state.selection.main;
      const span = empty ? statementAt(state.doc.toString(), from) : { from, to };
      if (!span) return null;
      const sql = state.sliceDoc(span.from, span.to);
      return sql.trim() === "" ? null : { ...span, sql };
    },
    insert(added) {
      const editor = view.current;
      if (!editor) return;
      editor.dispatch(editor.state.replaceSelection(added));
      editor.focus();
    },
    replace(span, by) {
      const editor = view.current;
      if (!editor || span.to > editor.state.doc.length) return;
      editor.dispatch({ changes: { from: span.from, to: span.to, insert: by }, selection: { anchor: span.from + by.length } });
      editor.focus();
    },
  }));

  return <div className="query-editor" ref={host} />;
}
