// The functions that the editor offers: all that the server lists, and until it has done so the few that the editor knows.
import { rowsOf } from "../../../api/client";
import { type FunctionKind, FUNCTIONS, type FunctionWord } from "./words";

/** A row of SHOW FUNCTIONS: one for each signature. */
export interface Listed {
  function_name: string;
  function_type: string | null;
  parameters: string[] | null;
  description: string | null;
  syntax_example: string | null;
}

const KINDS = new Set<string>(["aggregate", "window", "scalar", "table"] satisfies FunctionKind[]);
const ARGUMENTS_MAX = 60;
const ABOUT_MAX = 300;

/** Descriptions are written in Markdown; the editor shows plain text. */
const plain = (markdown: string) => markdown.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replaceAll("`", "").replace(/\s+/g, " ");
const cut = (text: string, max: number) => (text.length > max ? `${text.slice(0, max - 1).trimEnd()}…` : text);

/** What stands between the first bracket of an example and the one that closes it; null without brackets. */
function argumentsIn(example: string): string | null {
  const from = example.indexOf("(");
  let depth = 0;
  for (let at = from; from >= 0 && at < example.length; at++) {
    if (example[at] === "(") depth += 1;
    else if (example[at] === ")") depth -= 1;
    if (depth === 0) return example.slice(from + 1, at);
  }
  return null;
}

function wordOf({ function_name: name, function_type: type, parameters, description, syntax_example: syntax }: Listed): FunctionWord {
  const kind = (type ?? "").toLowerCase();
  // The example has the names that people know; without one the parameters have theirs.
  const given = argumentsIn(syntax ?? "") ?? (parameters ?? []).filter(Boolean).join(", ");
  const [first = ""] = (description ?? "").trim().split(/\n\s*\n/);
  return { name, arguments: cut(given.replace(/\s+/g, " ").trim(), ARGUMENTS_MAX), kind: KINDS.has(kind) ? (kind as FunctionKind) : "scalar", about: cut(plain(first), ABOUT_MAX) };
}

/** One name may be a table in one place and a value in another; otherwise it is one function, in whatever letters. */
const keyOf = (name: string, kind: FunctionKind) => `${name.toLowerCase()}${kind === "table" ? " table" : ""}`;

/** What is listed, of several signatures the first that says something; what is known where that is more. */
export function withListed(known: FunctionWord[], listed: Listed[]): FunctionWord[] {
  const words = new Map<string, FunctionWord>();
  for (const one of listed) {
    // Operators have names as well, which nobody writes.
    if (!/^[a-z_]\w*$/i.test(one.function_name)) continue;
    const word = wordOf(one);
    const key = keyOf(word.name, word.kind);
    const before = words.get(key);
    if (!before || (before.about === "" && word.about !== "")) words.set(key, word);
  }
  for (const word of known) {
    const key = keyOf(word.name, word.kind);
    const other = words.get(key);
    if (!other || (other.arguments === "" && other.about === "")) words.set(key, word);
  }
  return [...words.values()];
}

let answer: Promise<FunctionWord[]> | null = null;

/** The server is asked once; if that fails, whoever asks next asks it again. */
export function loadFunctions(): Promise<FunctionWord[]> {
  answer ??= rowsOf<Listed>("SHOW FUNCTIONS").then(
    (listed) => withListed(FUNCTIONS, listed),
    (error: unknown) => {
      answer = null;
      throw error;
    },
  );
  return answer;
}
