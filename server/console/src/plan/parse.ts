// The text of EXPLAIN ANALYZE as a tree of operators.

export interface Operator {
  name: string;
  /** What it does, as the text has it. */
  detail: string;
  metrics: [string, string][];
  /** Rows that came out of it; null if the text does not say, or if what came out were no rows yet (partial aggregates). */
  rows: number | null;
  /** Rows that it read from segments. */
  read: number | null;
  /** Time that it computed, in milliseconds, over all threads. */
  ms: number | null;
  /** The stage whose rows it brings here from other nodes. */
  stage: number | null;
  children: Operator[];
}

export interface StageTask {
  stage: number;
  node: string;
  reads: string;
}

export interface StageFlow {
  stage: number;
  to: string;
  kind: string;
  rows: number | null;
  bytes: number | null;
}

export interface Plan {
  root: Operator;
  /** The sum over all operators. */
  ms: number;
  stages: StageFlow[];
  tasks: StageTask[];
  /** Everything that the server said, as text. */
  text: string;
}

const TIME_UNITS: Record<string, number> = { ns: 1e-6, "µs": 1e-3, us: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 3.6e6 };

/** "15.62µs" -> 0.01562; null if it is no duration. */
export function parseMs(text: string): number | null {
  const parts = /^([\d.]+)(ns|µs|us|ms|s|m|h)$/.exec(text.trim());
  return parts ? Number(parts[1]) * (TIME_UNITS[parts[2] ?? ""] ?? Number.NaN) : null;
}

/** "98.78 K" -> 98780; null if it is no count. */
export function parseCount(text: string): number | null {
  const parts = /^([\d.]+) ?([KMBT]?)$/.exec(text.trim());
  if (!parts) return null;
  return Math.round(Number(parts[1]) * ({ K: 1e3, M: 1e6, B: 1e9, T: 1e12 }[parts[2] ?? ""] ?? 1));
}

/** Adds up what the tasks of a stage report: "{0:100, 1:150}" -> 250. */
function total(text: string, parse: (one: string) => number | null): number | null {
  const tasks = /^\{(.*)\}$/.exec(text);
  if (!tasks) return parse(text);
  const values = (tasks[1] ?? "").split(", ").map((entry) => parse(entry.replace(/^\d+:/, "")));
  return values.some((value) => value === null) ? null : values.reduce<number>((sum, value) => sum + (value ?? 0), 0);
}

/** Splits at commas that are not inside of brackets. */
function splitList(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const char = text[i] ?? "";
    if ("([{".includes(char)) depth += 1;
    else if (")]}".includes(char)) depth -= 1;
    else if (char === "," && depth === 0) {
      parts.push(text.slice(from, i).trim());
      from = i + 1;
    }
  }
  parts.push(text.slice(from).trim());
  return parts.filter((part) => part !== "");
}

function operator(line: string): Operator {
  const at = line.lastIndexOf("metrics=[");
  const head = (at < 0 ? line : line.slice(0, at)).replace(/,\s*$/, "").trim();
  const metrics = at < 0 ? [] : splitList(line.slice(at + "metrics=[".length).replace(/\]\s*$/, "")).map((entry): [string, string] => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]);
  const [, name = head, detail = ""] = /^(?:\[Stage \d+\] => )?(\w+)(?::\s*|\s+)?(.*)$/s.exec(head) ?? [];
  const metric = (wanted: string) => metrics.find(([key]) => key === wanted)?.[1];
  const [rows, time] = [metric("output_rows"), metric("elapsed_compute")];
  const stage = /\[Stage (\d+)\]/.exec(head);
  const count = (text: string | undefined) => (text === undefined ? null : total(text, parseCount));
  const [out, read] = [count(rows), count(metric("rows_scanned"))];
  const isPartial = out === 0 && (count(metric("rows_selected")) ?? 0) > 0;
  return { name, detail, metrics, rows: isPartial ? null : out, read, ms: time === undefined ? null : total(time, parseMs), stage: stage ? Number(stage[1]) : null, children: [] };
}

/** Without operators that only let others have their turn: they compute nothing, and the text has them. */
function visible(operator: Operator): Operator {
  const [only] = operator.children;
  if ((operator.name === "CooperativeExec" || operator.name === "TurnsExec") && only) return visible(only);
  return { ...operator, children: operator.children.map(visible) };
}

/** A tree from lines whose indentation says who is below whom. */
function tree(text: string): Operator | null {
  const open: { indent: number; operator: Operator }[] = [];
  let root: Operator | null = null;
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    const indent = line.length - line.trimStart().length;
    const next = operator(line);
    while (open.length > 0 && (open.at(-1)?.indent ?? 0) >= indent) open.pop();
    const parent = open.at(-1);
    if (parent) parent.operator.children.push(next);
    else if (root === null) root = next;
    else return root; // A second root is not a tree of operators.
    open.push({ indent, operator: next });
  }
  return root;
}

export const operators = (root: Operator): Operator[] => [root, ...root.children.flatMap(operators)];

/** The plan in the rows (kind, text) of an answer; null if there is no plan with metrics in them. */
export function parsePlan(rows: unknown[][]): Plan | null {
  const texts = new Map(rows.map(([kind, text]) => [String(kind), String(text)]));
  const analyzed = texts.get("Plan with Metrics") ?? texts.get("physical_plan");
  const whole = analyzed === undefined ? null : tree(analyzed);
  if (!whole) return null;
  const root = visible(whole);
  const stages: StageFlow[] = [];
  const tasks: StageTask[] = [];
  for (const line of (texts.get("nodes") ?? "").split("\n")) {
    const flow = /^stage (\d+) to (.+?): (\w+)(?:, (\d+) rows, (\d+) bytes)?$/.exec(line);
    const task = /^stage (\d+), (.*?): (.*)$/.exec(line);
    if (flow) stages.push({ stage: Number(flow[1]), to: flow[2] ?? "", kind: flow[3] ?? "", rows: flow[4] ? Number(flow[4]) : null, bytes: flow[5] ? Number(flow[5]) : null });
    else if (task) tasks.push({ stage: Number(task[1]), node: task[2] ?? "", reads: task[3] ?? "" });
  }
  const ms = operators(root).reduce((sum, one) => sum + (one.ms ?? 0), 0);
  return { root, ms, stages, tasks, text: rows.map(([kind, text]) => `${kind}\n${text}`).join("\n\n") };
}

export const isPlanAnswer = (columns: { name: string }[]): boolean => columns.length === 2 && columns[0]?.name === "plan_type" && columns[1]?.name === "plan";
