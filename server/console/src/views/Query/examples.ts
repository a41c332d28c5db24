// Statements to begin with, made from the columns that there are.
import type { CatalogTable } from "../../api/catalog";
import { quoted } from "../../api/names";

export interface Example {
  title: string;
  sql: string;
}

export function examplesOf(tables: CatalogTable[]): Example[] {
  const table = tables.find(({ schema }) => schema === "public");
  if (!table) {
    return [
      { title: "Nodes", sql: "SELECT *\nFROM system.nodes" },
      { title: "Numbers", sql: "SELECT value, value * value AS square\nFROM generate_series(1, 100)" },
    ];
  }
  const own = table.columns.filter(({ name }) => !name.startsWith("$"));
  const find = (pattern: RegExp) => own.find(({ name, type }) => pattern.test(type) && !/(^|_)id$/i.test(name));
  const [time, group, measure] = [find(/^TIMESTAMP/), find(/^STRING/), find(/^(DOUBLE|FLOAT|DECIMAL)/)];
  const from = `\nFROM ${quoted(table.name)}`;
  const examples: Example[] = [{ title: `Count ${table.name}`, sql: `SELECT count(*) AS row_count${from}` }];
  if (time) {
    const at = quoted(time.name);
    const by = group ? `, ${quoted(group.name)}` : "";
    examples.push({ title: `${table.name} per second`, sql: `SELECT date_trunc('second', ${at}) AS second, count(*) AS row_count${from}\nWHERE ${at} > now() - INTERVAL '5 minutes'\nGROUP BY second\nORDER BY second` });
    examples.push({ title: `Newest ${table.name}`, sql: `SELECT *${from}\nORDER BY ${at} DESC\nLIMIT 100` });
    if (group && measure) examples.push({ title: `${measure.name} over time`, sql: `SELECT date_trunc('minute', ${at}) AS minute${by}, avg(${quoted(measure.name)}) AS mean${from}\nWHERE ${at} > now() - INTERVAL '1 hour'\nGROUP BY minute${by}\nORDER BY minute` });
  }
  if (group) {
    const mean = measure ? `, avg(${quoted(measure.name)}) AS mean_${measure.name.replace(/\W/g, "_")}` : "";
    examples.push({ title: `${table.name} by ${group.name}`, sql: `SELECT ${quoted(group.name)}, count(*) AS row_count${mean}${from}\nGROUP BY ${quoted(group.name)}\nORDER BY row_count DESC\nLIMIT 20` });
  }
  return examples;
}
