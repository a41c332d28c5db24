// A spec as YAML, and which line of a YAML text a path of the spec is at. The server is the one that reads YAML.

const PLAIN = /^[A-Za-z_$][\w.$/@-]*( [\w.$/@-]+)*$/;
const WORDS = /^(true|false|yes|no|on|off|null|y|n)$/i;

function scalar(value: unknown): string {
  if (typeof value === "string") return PLAIN.test(value) && !WORDS.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value);
}

const isMapping = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);
const isFlat = (value: unknown) => typeof value !== "object" || value === null;
const FLOW_MAX = 110;

/** Small things on one line, as people write columns; null where it gets too long. */
function flow(value: unknown): string | null {
  if (isFlat(value)) return inFlow(scalar(value));
  const parts = Array.isArray(value) ? value.map(flow) : Object.entries(value as object).map(([key, part]) => (isFlat(part) ? `${scalar(key)}: ${inFlow(scalar(part))}` : null));
  if (parts.includes(null)) return null;
  const text = Array.isArray(value) ? `[${parts.join(", ")}]` : `{${parts.join(", ")}}`;
  return text.length <= FLOW_MAX ? text : null;
}

/** Signs that end a value between brackets need quotes there. */
const inFlow = (text: string) => (/^"/.test(text) || !/[,[\]{}<>()]/.test(text) ? text : JSON.stringify(text));

export function toYaml(value: unknown, indent = ""): string {
  if (!isMapping(value)) return `${indent}${scalar(value)}\n`;
  let text = "";
  for (const [key, part] of Object.entries(value)) {
    if (part === null || part === undefined) continue;
    if (isFlat(part)) text += `${indent}${scalar(key)}: ${scalar(part)}\n`;
    else if (Array.isArray(part) && (part.length === 0 || part.every(isFlat)) && flow(part) !== null) text += `${indent}${scalar(key)}: ${flow(part)}\n`;
    else if (Array.isArray(part)) text += `${indent}${scalar(key)}:\n${part.map((item) => entry(item, `${indent}  `)).join("")}`;
    else if (Object.keys(part).length === 0) text += `${indent}${scalar(key)}: {}\n`;
    else text += `${indent}${scalar(key)}:\n${toYaml(part, `${indent}  `)}`;
  }
  return text;
}

function entry(item: unknown, indent: string): string {
  const short = flow(item);
  if (short !== null) return `${indent}- ${short}\n`;
  const long = toYaml(item, `${indent}  `);
  return `${indent}- ${long.slice(indent.length + 2)}`;
}

interface Level {
  indent: number;
  isItem: boolean;
  path: string;
}

/** The path that begins at each line of a text in block style; null for blank lines and comments. */
export function pathsOfLines(text: string): (string | null)[] {
  const levels: Level[] = [];
  const counts = new Map<string, number>();
  const top = () => levels.at(-1)?.path ?? "";
  return text.split("\n").map((line) => {
    let rest = line.trimStart();
    let indent = line.length - rest.length;
    if (rest === "" || rest.startsWith("#")) return null;
    while (rest === "-" || rest.startsWith("- ")) {
      while (levels.length > 0 && ((levels.at(-1)?.indent ?? 0) > indent || (levels.at(-1)?.indent === indent && levels.at(-1)?.isItem))) levels.pop();
      const parent = top();
      const index = counts.get(parent) ?? 0;
      counts.set(parent, index + 1);
      levels.push({ indent, isItem: true, path: `${parent}[${index}]` });
      const next = rest.slice(1).trimStart();
      indent += rest.length - next.length;
      rest = next;
    }
    const key = /^(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s#:{[][^:#]*?))\s*:(?:\s|$)/.exec(rest);
    if (!key) return top();
    while (levels.length > 0 && (levels.at(-1)?.indent ?? 0) >= indent) levels.pop();
    const name = key[1] ?? key[2] ?? key[3] ?? "";
    const path = top() === "" ? name : `${top()}.${name}`;
    levels.push({ indent, isItem: false, path });
    return path;
  });
}

/** The line (from 1) of a path, or of what holds it; null if nothing of it is in the text. */
export function lineOfPath(text: string, path: string): number | null {
  const paths = pathsOfLines(text);
  let wanted = path;
  for (;;) {
    const at = paths.indexOf(wanted);
    if (at >= 0) return at + 1;
    const shorter = wanted.replace(/(\.[^.[\]]+|\[[^\]]*\])$/, "");
    if (shorter === wanted || shorter === "") return null;
    wanted = shorter;
  }
}
