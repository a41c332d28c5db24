// The editor's language, colours and keys.
import { autocompletion, closeBrackets, closeBracketsKeymap, closeCompletion, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { SQLDialect } from "@codemirror/lang-sql";
import { bracketMatching, indentOnInput, LanguageSupport } from "@codemirror/language";
import { lintKeymap } from "@codemirror/lint";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, type Extension, Prec, type StateEffect } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers, placeholder } from "@codemirror/view";
import { type CatalogTable } from "../../../api/catalog";
import { codeLook } from "../../../components/codeLook";
import { completionSource } from "./completion";
import { FUNCTIONS, type FunctionWord, KEYWORDS, TYPES } from "./words";

const language = new Compartment();

function languageOf(functions: FunctionWord[]): LanguageSupport {
  const dialect = SQLDialect.define({
    keywords: KEYWORDS,
    types: TYPES,
    builtin: functions.map(({ name }) => name.toLowerCase()).join(" "),
    doubleQuotedStrings: false,
    operatorChars: "+-*/<>=~!@#%^&|?",
    specialVar: "$",
  });
  return new LanguageSupport(dialect.language);
}

/** Gives these functions their colour in a state that was made before they were known. */
export const knowing = (functions: FunctionWord[]): StateEffect<unknown> => language.reconfigure(languageOf(functions));

/** What only this editor shows: completions, matches, and the panel in which one searches. */
const look = EditorView.theme({
  ".cm-selectionMatch": { backgroundColor: "var(--accent-soft)" },
  ".cm-activeLineGutter": { color: "var(--ink)" },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--accent-soft)", outline: "1px solid var(--line-strong)" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { borderRadius: "var(--radius-m)", fontFamily: "var(--font-mono)", fontSize: "12px", maxHeight: "240px" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "3px 10px 3px 6px", lineHeight: "1.4" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { background: "var(--surface-selected)", color: "var(--ink)" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "700", color: "var(--accent)" },
  ".cm-completionDetail": { color: "var(--ink-faint)", fontStyle: "normal", marginLeft: "14px" },
  ".cm-completionInfo": { maxWidth: "44ch", fontFamily: "var(--font-text)", fontSize: "12px", padding: "6px 10px" },
  ".cm-completionIcon": { color: "var(--ink-faint)", opacity: "1" },
  ".cm-diagnosticAction": { background: "var(--accent)", color: "var(--accent-ink)", borderRadius: "var(--radius-s)", padding: "2px 8px" },
  ".cm-panels": { backgroundColor: "var(--surface-sunken)", color: "var(--ink)", borderColor: "var(--line)" },
  ".cm-panel input, .cm-panel button": { background: "var(--surface-panel)", border: "1px solid var(--line-strong)", color: "var(--ink)" },
});

export interface EditorActions {
  run(): void;
  /** Whether there was something to cancel. */
  cancel(): boolean;
  changed(text: string): void;
}

/** Everything but the text. The functions are asked when they are needed, so that the editor is made once. */
export function setup(tables: () => CatalogTable[], functions: () => FunctionWord[], actions: () => EditorActions): Extension {
  return [
    lineNumbers(),
    history(),
    drawSelection(),
    indentOnInput(),
    bracketMatching(),
    closeBrackets(),
    highlightActiveLine(),
    highlightActiveLineGutter(),
    highlightSelectionMatches(),
    search({ top: true }),
    autocompletion({ override: [completionSource(tables, functions)], icons: true, maxRenderedOptions: 60 }),
    language.of(languageOf(FUNCTIONS)),
    codeLook("13px"),
    look,
    placeholder("SELECT …"),
    EditorState.tabSize.of(2),
    EditorView.lineWrapping,
    EditorView.contentAttributes.of({ "aria-label": "SQL", tabindex: "0", spellcheck: "false", autocapitalize: "off" }),
    EditorView.updateListener.of((update) => {
      if (update.docChanged) actions().changed(update.state.doc.toString());
    }),
    Prec.highest(
      keymap.of([
        {
          key: "Mod-Enter",
          preventDefault: true,
          run: (view) => {
            closeCompletion(view);
            actions().run();
            return true;
          },
        },
      ]),
    ),
    // The completion's own keys come first: Escape closes it, and cancels only when nothing is open.
    keymap.of([...closeBracketsKeymap, ...completionKeymap, ...searchKeymap, ...historyKeymap, ...lintKeymap, ...defaultKeymap]),
    Prec.lowest(keymap.of([{ key: "Escape", run: () => actions().cancel() }])),
  ];
}
