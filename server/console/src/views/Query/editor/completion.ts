// What the editor offers: columns of the tables that the statement reads, tables, functions, keywords.
import type { Completion, CompletionContext, CompletionResult, CompletionSource } from "@codemirror/autocomplete";
import { type CatalogTable } from "../../../api/catalog";
import { quoted } from "../../../api/names";
import { sources, statementAt } from "./statements";
import { type FunctionWord, KEYWORDS } from "./words";

/** What a name may consist of, wherever people live. */
const WORD = /[\p{L}\p{N}_$]*$/u;
const WHOLE_WORD = /^[\p{L}\p{N}_$]*$/u;

const keywords: Completion[] = KEYWORDS.split(" ").map((word) => ({ label: word.toUpperCase(), type: "keyword", boost: -2 }));

const functionWord = ({ name, arguments: given, kind, about }: FunctionWord): Completion => ({
  label: name,
  detail: `(${given})`,
  info: `${about} (${kind})`.trimStart(),
  type: "function",
  boost: -1,
  apply: (view, _completion, from, to) => {
    // A bracket that is there already is not doubled.
    const brackets = view.state.sliceDoc(to, to + 1) === "(" ? "" : "()";
    // Between the brackets, or behind those that stay empty.
    const at = from + name.length + (brackets === "" || given !== "" ? 1 : 2);
    view.dispatch({ changes: { from, to, insert: name + brackets }, selection: { anchor: at }, userEvent: "input.complete" });
  },
});

const columnsOf = (table: CatalogTable): Completion[] =>
  table.columns.map((column, i) => ({ label: column.name, apply: quoted(column.name), detail: column.type, type: "property", boost: 20 - Math.min(i, 19) * 0.1 }));

const tableWord = (table: CatalogTable, boost: number): Completion => {
  const isOwn = table.schema === "public";
  return { label: isOwn ? table.name : `${table.schema}.${table.name}`, apply: isOwn ? quoted(table.name) : `${table.schema}.${quoted(table.name)}`, detail: isOwn ? "table" : "system", type: "class", boost: isOwn ? boost : boost - 1 };
};

/** `tables` and `functions` are asked at each completion, so that a new one is offered as soon as it is known. */
export function completionSource(tables: () => CatalogTable[], functions: () => FunctionWord[]): CompletionSource {
  const find = (name: string) => tables().find((table) => [table.name, `${table.schema}.${table.name}`].some((own) => own.toLowerCase() === name.toLowerCase()));
  return (context: CompletionContext): CompletionResult | null => {
    const text = context.state.doc.toString();
    const before = text.slice(0, context.pos);
    const word = WORD.exec(before)?.[0] ?? "";
    const from = context.pos - word.length;
    const span = statementAt(text, context.pos);
    const read = span ? sources(text.slice(span.from, Math.max(span.to, context.pos))) : [];

    const qualifier = /(?:"((?:[^"]|"")*)"|([\p{L}_][\p{L}\p{N}_$]*))\.[\p{L}\p{N}_$]*$/u.exec(before);
    if (qualifier) {
      const name = qualifier[1] ?? qualifier[2] ?? "";
      const source = read.find(({ alias }) => alias.toLowerCase() === name.toLowerCase());
      const table = source && find(source.table);
      const inSchema = tables().filter((table) => table.schema === name.toLowerCase());
      const options = table ? columnsOf(table) : inSchema.map((table) => ({ ...tableWord(table, 1), label: table.name, apply: quoted(table.name) }));
      return options.length > 0 ? { from, options, validFor: WHOLE_WORD } : null;
    }
    if (word === "" && !context.explicit) return null;
    if (/^\d/.test(word)) return null;

    const wantsTable = /\b(?:from|join)\s+(?:[\p{L}\p{N}_$."]+\s*,\s*)*[\p{L}\p{N}_$]*$/iu.test(before);
    const named = tables().map((table) => tableWord(table, wantsTable ? 30 : 0));
    if (wantsTable) return { from, options: [...named, ...functions().filter(({ kind }) => kind === "table").map(functionWord)], validFor: WHOLE_WORD };
    const seen = new Set<string>();
    const columns = read
      .map(({ table }) => find(table))
      .filter((table) => table !== undefined)
      .flatMap(columnsOf)
      .filter(({ label }) => !seen.has(label) && seen.add(label));
    return { from, options: [...columns, ...named, ...functions().filter(({ kind }) => kind !== "table").map(functionWord), ...keywords], validFor: WHOLE_WORD };
  };
}
