
// --- Examples, from the tables that there are --------------------------------------------------------------

let examplesFor = null;

async function refreshExamples() {
  const names = [...live.tables.keys()].join("\n");
  if (examplesFor === names) return;
  const columns = await rowsOf("SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position", AbortSignal.timeout(ANSWER_WAIT_MS));
  const examples = [];
  for (const name of [...live.tables.keys()].slice(0, 3)) {
    examples.push(...examplesOf(name, columns.filter((column) => column.table_name === name)));
  }
  examples.push(["partitions", "SELECT * FROM system.partitions"], ["segments", "SELECT * FROM system.segments LIMIT 100"]);
  byId("examples").replaceChildren(...examples.map(([title, sql]) => {
    const button = element("button", title);
    button.addEventListener("click", () => { byId("sql").value = sql; run(); });
    return button;
  }));
  if (!byId("sql").value) byId("sql").value = examples[0][1];
  examplesFor = names;
}

function examplesOf(table, columns) {
  const own = columns.filter((column) => !column.column_name.startsWith("$"));
  const find = (pattern) => own.find((column) => pattern.test(column.data_type) && !/(^|_)id$/i.test(column.column_name));
  const [time, group, measure] = [find(/^Timestamp/i), find(/Utf8|string/i), find(/Float|Double|Decimal/i)];
  const from = "\nFROM " + quoted(table);
  const examples = [];
  if (group) {
    const mean = measure ? `, avg(${quoted(measure.column_name)}) AS mean_${measure.column_name.replace(/\W/g, "_")}` : "";
    examples.push([`${table} by ${group.column_name}`, `SELECT ${quoted(group.column_name)}, count(*) AS row_count${mean}${from}\nGROUP BY ${quoted(group.column_name)}\nORDER BY row_count DESC\nLIMIT 20`]);
  }
  if (time) {
    const at = quoted(time.column_name);
    examples.push([`${table} per minute`, `SELECT date_trunc('minute', ${at}) AS at_minute, count(*) AS row_count${from}\nGROUP BY at_minute\nORDER BY at_minute DESC\nLIMIT 30`]);
    examples.push([`newest ${table}`, `SELECT *${from}\nORDER BY ${at} DESC\nLIMIT 20`]);
  }
  examples.push([`count ${table}`, `SELECT count(*) AS row_count${from}`]);
  return examples;
}

// --- The SQL part ------------------------------------------------------------------------------------------

let running = null;

async function run() {
  running?.abort();
  const controller = new AbortController();
  running = controller;
  const sql = byId("sql").value;
  const started = performance.now();
  byId("cancel").disabled = false;
  byId("error").hidden = true;
  byId("result").hidden = false;
  byId("result-table").replaceChildren();
  byId("result-facts").textContent = "running";
  try {
    const answer = await query(sql, controller.signal);
    if (running === controller) showResult(answer, performance.now() - started);
  } catch (error) {
    if (running === controller) showError(error, sql, performance.now() - started);
  } finally {
    if (running === controller) {
      running = null;
      byId("cancel").disabled = true;
    }
  }
}

const millis = (ms) => (ms < 10 ? ms.toFixed(1) : Math.round(ms).toLocaleString("en-US")) + " ms";

function showResult(answer, roundTripMs) {
  const drawn = answer.rows.slice(0, ROWS_DRAWN_MAX);
  const count = answer.rows.length;
  const facts = [count === 1 ? "1 row" : `${whole(count)} rows`];
  if (drawn.length < count) facts[0] += `, the first ${whole(drawn.length)} shown`;
  if (known(answer.stats?.elapsed_ms)) facts.push(`${millis(Number(answer.stats.elapsed_ms))} in the server`);
  facts.push(`${millis(roundTripMs)} to this page`);
  for (const [table, cut] of Object.entries(answer.cut ?? {})) facts.push(cutText(table, cut));
  byId("result-facts").textContent = facts.join(" · ");
  const numeric = answer.columns.map((column) => /int|float|double|decimal|long/i.test(String(column.type)) && !/list|array/i.test(String(column.type)));
  const rows = drawn.map((row) => row.map(cellText));
  const table = plainTable(answer.columns.map((column) => column.name), rows, (i) => numeric[i]);
  drawn.forEach((row, r) => row.forEach((value, c) => {
    const cell = table.tBodies[0].rows[r].cells[c];
    if (value === null) cell.classList.add("null");
    else if (cell.textContent.length > 60) cell.title = cell.textContent;
  }));
  byId("result-table").replaceChildren(table);
}

function cellText(value) {
  if (value === null) return "NULL";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function cutText(table, cut) {
  const offsets = Object.entries(cut.offsets ?? {}).map(([partition, offset]) => `${partition}:${offset}`);
  const shown = offsets.length > 8 ? offsets.slice(0, 8).join(" ") + " …" : offsets.join(" ");
  const age = known(cut.freshness_ms) ? `, newest row ${duration(cut.freshness_ms).join(" ")} old` : "";
  return `${table} at log version ${cut.log_version}${shown ? ", offsets below " + shown : ""}${age}`;
}

function showError(error, sql, elapsedMs) {
  byId("result").hidden = true;
  const box = byId("error");
  box.hidden = false;
  if (error.name === "AbortError") {
    box.replaceChildren(`Cancelled after ${millis(elapsedMs)}.`);
    return;
  }
  const details = error instanceof SqlError ? error.details : { message: "The server cannot be reached. The statement may not have run." };
  box.replaceChildren(details.message);
  if (details.suggestion) box.append(` Did you mean ${details.suggestion}?`);
  const at = details.position;
  if (at) {
    const line = sql.split("\n")[at.line - 1] ?? "";
    box.append(` (line ${at.line}, column ${at.column})`, element("pre", line + "\n" + " ".repeat(Math.max(0, at.column - 1)) + "^"));
    placeCursor(sql, at);
  }
}

function placeCursor(sql, at) {
  const before = sql.split("\n").slice(0, at.line - 1).reduce((total, line) => total + line.length + 1, 0);
  const editor = byId("sql");
  if (editor.value !== sql) return; // typed on in the meantime
  const start = Math.min(before + at.column - 1, sql.length);
  const word = /^[\w$]+/.exec(sql.slice(start));
  editor.focus();
  editor.setSelectionRange(start, start + (word ? word[0].length : 0));
}

byId("run").addEventListener("click", run);
byId("cancel").addEventListener("click", () => running?.abort());
byId("sql").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    run();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
for (const id of ["partitions", "segments"]) byId(id).parentElement.addEventListener("toggle", draw);
poll();
