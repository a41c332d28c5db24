// The functions that the editor offers: those that it knows of, and what else the server lists.
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
const ABOUT_MAX = 160;

function wordOf({ function_name: name, function_type: type, parameters, description, syntax_example: syntax }: Listed): FunctionWord {
  const kind = (type ?? "").toLowerCase();
  // The example has the names that people know; without one the parameters have theirs.
  const given = /\(([^()]*)\)/.exec(syntax ?? "")?.[1] ?? (parameters ?? []).filter(Boolean).join(", ");
  const first = (description ?? "").trim().split(/\.\s|\n/)[0] ?? "";
  return { name, arguments: given.trim(), kind: KINDS.has(kind) ? (kind as FunctionKind) : "scalar", about: first.slice(0, ABOUT_MAX) };
}

/** What is known stays as it is described here; of several signatures the first counts. */
export function withListed(known: FunctionWord[], listed: Listed[]): FunctionWord[] {
  const words = new Map(known.map((word) => [word.name, word]));
  // Operators have names as well, which nobody writes.
  for (const one of listed) if (/^[a-z_]\w*$/i.test(one.function_name) && !words.has(one.function_name)) words.set(one.function_name, wordOf(one));
  return [...words.values()];
}

export const loadFunctions = async (signal: AbortSignal): Promise<FunctionWord[]> => withListed(FUNCTIONS, await rowsOf<Listed>("SHOW FUNCTIONS", signal));
