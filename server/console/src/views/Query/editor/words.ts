// What the editor knows of the language by itself: the words of its statements, types, and the functions that people use most.
// All others, and what each one does, the server lists (functions.ts).

export const KEYWORDS =
  "select from where group by having order limit offset distinct all as on using join inner left right full outer cross semi anti natural lateral union except intersect with recursive values case when then else end and or not in exists between like ilike similar to is null true false asc desc nulls first last cast try_cast explain analyze verbose show tables columns filter over partition rows range groups unbounded preceding following current row window qualify interval unnest grouping sets rollup cube any some escape extract";

export const TYPES =
  "int integer bigint smallint tinyint double float real decimal numeric varchar char text string boolean date time timestamp timestamptz bytea json uuid array";

export type FunctionKind = "aggregate" | "window" | "scalar" | "table";

export interface FunctionWord {
  name: string;
  arguments: string;
  kind: FunctionKind;
  about: string;
}

const named = (kind: FunctionKind, text: string): FunctionWord[] => [...text.matchAll(/(\w+)\((.*?)\)/g)].map(([, name = "", given = ""]) => ({ name, arguments: given, kind, about: "" }));

/** What is offered until the server has answered, and if it does not. A browser test asks it to plan each of them. */
export const FUNCTIONS: FunctionWord[] = [
  ...named("aggregate", "count(expression) sum(expression) avg(expression) min(expression) max(expression) median(expression) stddev(expression) approx_distinct(expression) approx_percentile_cont(expression, percentile)"),
  ...named("window", "row_number() rank() lag(expression, offset, default) lead(expression, offset, default)"),
  ...named("table", "generate_series(start, stop, step) range(start, stop, step)"),
  ...named("scalar", "now() date_trunc(unit, time) date_bin(interval, time, origin) date_part(part, time) to_timestamp(expression) abs(x) ceil(x) floor(x) round(x, digits) lower(text) upper(text) length(text) substr(text, start, length) split_part(text, delimiter, n) regexp_like(text, pattern) coalesce(a, b) nullif(a, b)"),
];
