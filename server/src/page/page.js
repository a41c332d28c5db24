"use strict";
// One page, no library: the live part asks system tables once a second, the SQL part sends what is typed.
// Everything shown comes from an answer of the server; what is not known is shown as "–".

const POLL_MS = 1000;
const ANSWER_WAIT_MS = 10000;
const HISTORY_SECONDS = 180;
const ROWS_DRAWN_MAX = 1000;
const TABLES_COUNTED_MAX = 20;
const UNKNOWN = "–";

const byId = (id) => document.getElementById(id);
const element = (name, text, className) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
};
const quoted = (name) => '"' + name.replaceAll('"', '""') + '"';
const literal = (text) => "'" + text.replaceAll("'", "''") + "'";

// --- Talking to the server ---------------------------------------------------------------------------------

// Numbers that JavaScript cannot hold as they were written (64-bit integers, 12.50) are read as text.
function parseExactly(text) {
  const token = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
  const exact = (part) => part[0] === '"' || String(Number(part)) === part;
  return JSON.parse(text.replace(token, (part) => (exact(part) ? part : `"${part}"`)));
}

class SqlError extends Error {
  constructor(error) {
    super(error.message);
    this.details = error;
  }
}

async function query(sql, signal) {
  const response = await fetch("/sql", {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ sql }),
    signal,
  });
  const text = await response.text();
  let answer;
  try {
    answer = parseExactly(text);
  } catch {
    throw new SqlError({ kind: "http " + response.status, message: text.slice(0, 2000) || response.statusText });
  }
  if (answer.error) throw new SqlError(answer.error);
  if (!response.ok) throw new SqlError({ kind: "http " + response.status, message: text.slice(0, 2000) });
  return answer;
}

// The rows of an answer as objects.
async function rowsOf(sql, signal) {
  const answer = await query(sql, signal);
  return answer.rows.map((row) => Object.fromEntries(answer.columns.map((column, i) => [column.name, row[i]])));
}

// --- Numbers as text ---------------------------------------------------------------------------------------

const known = (value) => value !== null && value !== undefined;
const whole = (value) => (known(value) ? Math.round(Number(value)).toLocaleString("en-US") : UNKNOWN);

function duration(ms) {
  if (!known(ms)) return [UNKNOWN, ""];
  const value = Number(ms);
  if (value < 1000) return [String(Math.round(value)), "ms"];
  if (value < 120000) return [(value / 1000).toFixed(1), "s"];
  if (value < 7200000) return [(value / 60000).toFixed(0), "min"];
  return [(value / 3600000).toFixed(0), "h"];
}

function bytes(value) {
  if (!known(value)) return UNKNOWN;
  let rest = Number(value);
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (rest < 1024) return rest.toFixed(unit === "B" || rest >= 100 ? 0 : 1) + " " + unit;
    rest /= 1024;
  }
  return rest.toFixed(1) + " TiB";
}

// A sum is unknown if a part of it is, or if there are no parts.
function sum(rows, field) {
  if (!rows.length || !rows.every((row) => known(row[field]))) return null;
  return rows.reduce((total, row) => total + Number(row[field]), 0);
}

function tile(id, value, unit) {
  const target = byId(id);
  target.replaceChildren(value);
  if (unit) target.append(element("span", unit, "unit"));
}

// --- The live part -----------------------------------------------------------------------------------------

const live = { tables: new Map(), selected: null, history: new Map(), columns: new Map() };

// Segments per table and state. Replicas have their own open segments of the same partition, which are one segment to a reader.
const SEGMENTS =
  'SELECT table_name, state, sum(segments) AS segments FROM (SELECT table_name, state, "partition", max(segments) AS segments FROM ' +
  '(SELECT table_name, state, "partition", node, count(*) AS segments FROM system.segments GROUP BY table_name, state, "partition", node) AS held ' +
  'GROUP BY table_name, state, "partition") AS counted GROUP BY table_name, state ORDER BY state';

const STATES = ["live", "catching_up", "paused", "failed", "starting"];

// One row per partition: of replicas, that of the one that is furthest.
function furthest(rows) {
  const best = new Map();
  for (const row of rows) {
    const other = best.get(row.partition);
    const ahead = other && (STATES.indexOf(other.state) - STATES.indexOf(row.state) || Number(row.visible_offset) - Number(other.visible_offset));
    if (!other || ahead > 0) best.set(row.partition, row);
  }
  return [...best.values()];
}

async function pollOnce(signal) {
  const [names, partitions, segments] = await Promise.all([
    rowsOf("SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name", signal),
    rowsOf('SELECT * FROM system.partitions ORDER BY table_name, "partition"', signal),
    rowsOf(SEGMENTS, signal),
  ]);
  const counts = await countRows(names.slice(0, TABLES_COUNTED_MAX).map((row) => row.name), signal);
  const tables = new Map();
  for (const { name } of names) {
    const consumed = partitions.filter((row) => row.table_name === name);
    const own = furthest(consumed);
    tables.set(name, {
      consumed,
      partitions: own,
      segments: segments.filter((row) => row.table_name === name),
      rows: counts.get(name)?.rows ?? null,
      freshness: counts.get(name)?.freshness ?? null,
      rate: sum(own, "rows_per_second"),
      lag: sum(own, "lag"),
      dead: sum(own, "dead_letters"),
    });
  }
  return tables;
}

// The rows of each table, and the age of the newest one, from one query and its cut. A table that cannot be
// counted (a segment is missing, say) must not take the other numbers with it.
async function countRows(names, signal) {
  const counts = new Map();
  if (!names.length) return counts;
  const selects = names.map((name) => `SELECT ${literal(name)} AS name, count(*) AS n FROM ${quoted(name)}`);
  let answer;
  try {
    answer = await query(selects.join(" UNION ALL "), signal);
  } catch (error) {
    if (error instanceof SqlError) return counts;
    throw error;
  }
  for (const [name, n] of answer.rows) {
    counts.set(name, { rows: n, freshness: answer.cut?.[name]?.freshness_ms ?? null });
  }
  return counts;
}

function remember(now) {
  for (const name of live.history.keys()) if (!live.tables.has(name)) live.history.delete(name);
  for (const [name, table] of live.tables) {
    const points = live.history.get(name) ?? [];
    points.push({ at: now, rate: table.rate, freshness: table.freshness });
    live.history.set(name, points.filter((point) => now - point.at <= HISTORY_SECONDS * 1000));
  }
}

async function poll() {
  try {
    live.tables = await pollOnce(AbortSignal.timeout(ANSWER_WAIT_MS));
    remember(Date.now());
    status("live", "live");
    await refreshExamples();
    draw();
  } catch (error) {
    if (error instanceof SqlError) status("lost", "the server answers with an error: " + error.message);
    else status("lost", "the server cannot be reached; trying again");
    forget();
  }
  setTimeout(poll, POLL_MS);
}

function status(className, text) {
  const target = byId("status");
  if (target.textContent !== text) target.textContent = text;
  target.className = className;
}

// Without an answer nothing is known: the numbers go, the curves get a gap.
function forget() {
  for (const id of ["rows", "rate", "freshness", "lag", "segments", "dead"]) tile("tile-" + id, UNKNOWN);
  byId("live-state").textContent = "";
  byId("tables").hidden = true;
  byId("partitions").replaceChildren();
  byId("segments").replaceChildren();
  for (const points of live.history.values()) points.push({ at: Date.now(), rate: null, freshness: null });
  if (live.selected !== null) drawCharts(live.selected);
}

function draw() {
  const names = [...live.tables.keys()];
  if (!live.tables.has(live.selected)) live.selected = names[0] ?? null;
  byId("empty").hidden = names.length > 0;
  byId("live").hidden = names.length === 0;
  byId("tables").hidden = names.length < 2;
  if (live.selected !== null) drawSelected(live.selected, live.tables.get(live.selected));
  if (names.length > 1) drawTableList();
}

function drawSelected(name, table) {
  byId("live-name").textContent = name;
  const states = new Map();
  for (const { state } of table.partitions) states.set(state, (states.get(state) ?? 0) + 1);
  const parts = [...states].map(([state, count]) => `${count} ${state}`);
  byId("live-state").textContent = `${table.partitions.length} partition${table.partitions.length === 1 ? "" : "s"}` + (parts.length ? ": " + parts.join(", ") : "");
  tile("tile-rows", whole(table.rows));
  tile("tile-rate", whole(table.rate));
  tile("tile-freshness", ...duration(table.freshness));
  tile("tile-lag", whole(table.lag), known(table.lag) ? "messages" : "");
  tile("tile-segments", whole(sum(table.segments, "segments") ?? 0), table.segments.map((row) => `${row.segments} ${row.state}`).join(", "));
  tile("tile-dead", whole(table.dead));
  drawCharts(name);
  if (byId("partitions").parentElement.open) drawPartitions(table);
  if (byId("segments").parentElement.open) drawSegments(name);
}

function drawPartitions(table) {
  const across = table.consumed.some((row) => known(row.node));
  const rows = table.consumed.map((row) => [
    row.partition, row.state, whole(row.first_offset), whole(row.committed_offset), whole(row.visible_offset),
    whole(row.latest_offset), whole(row.lag), whole(row.rows_per_second), duration(row.freshness_ms).join(" "), whole(row.dead_letters), ...(across ? [row.node] : []),
  ]);
  const heads = ["partition", "state", "first offset", "committed", "visible", "latest in Kafka", "lag", "rows/s", "newest row", "dead letters", ...(across ? ["node"] : [])];
  byId("partitions").replaceChildren(plainTable(heads, rows, (i) => i !== 1 && i !== 10));
}

async function drawSegments(name) {
  try {
    const rows = await rowsOf(`SELECT "partition", from_offset, to_offset, "rows", size_bytes, state, path, node FROM system.segments WHERE table_name = ${literal(name)} ORDER BY to_offset DESC, "partition" LIMIT 20`, AbortSignal.timeout(ANSWER_WAIT_MS));
    const cells = rows.map((row) => [row.partition, whole(row.from_offset), whole(row.to_offset), whole(row.rows), bytes(row.size_bytes), row.state, row.path ?? (row.node ? "in memory on " + row.node : UNKNOWN)]);
    byId("segments").replaceChildren(plainTable(["partition", "from", "to", "rows", "size", "state", "object"], cells, (i) => i < 5));
  } catch {
    byId("segments").replaceChildren(element("p", "not available now", "muted"));
  }
}

function drawTableList() {
  const heads = ["table", "rows", "events/s", "newest row", "lag", "segments", "dead letters"];
  const list = byId("table-list");
  const focused = list.contains(document.activeElement) ? document.activeElement.textContent : null;
  const rows = [...live.tables].map(([name, table]) => {
    const pick = element("button", name, "link");
    pick.setAttribute("aria-pressed", String(name === live.selected));
    pick.addEventListener("click", () => { live.selected = name; draw(); });
    return [pick, whole(table.rows), whole(table.rate), duration(table.freshness).join(" "), whole(table.lag), whole(sum(table.segments, "segments") ?? 0), whole(table.dead)];
  });
  list.replaceChildren(plainTable(heads, rows, (i) => i > 0));
  if (focused !== null) [...list.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
}

function plainTable(heads, rows, isNumber) {
  const table = element("table");
  const head = table.createTHead().insertRow();
  heads.forEach((text, i) => {
    const cell = element("th", text, isNumber(i) ? "number" : "");
    cell.scope = "col";
    head.append(cell);
  });
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    row.forEach((value, i) => {
      const cell = line.insertCell();
      cell.append(value instanceof Node ? value : String(value ?? UNKNOWN));
      if (isNumber(i)) cell.className = "number";
    });
  }
  return table;
}

// --- Charts ------------------------------------------------------------------------------------------------

const svg = (name, attributes, text) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};

// The next of 1, 2, 5, 10, … at or above.
function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function drawCharts(name) {
  drawChart("chart-rate", name, "rate");
  drawChart("chart-freshness", name, "freshness");
}

function drawChart(id, table, field) {
  const chart = byId(id);
  const { width, height } = chart.getBoundingClientRect();
  if (!width) return;
  const [left, bottom] = [48, 16];
  const now = Date.now();
  const points = live.history.get(table) ?? [];
  const highest = Math.max(1, ...points.map((point) => Number(point[field] ?? 0)));
  const top = niceCeiling(highest);
  const x = (at) => left + (width - left) * (1 - (now - at) / (HISTORY_SECONDS * 1000));
  const y = (value) => 6 + (height - bottom - 6) * (1 - value / top);
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    parts.push(svg("line", { class: "grid", x1: left, x2: width, y1: y(top * share), y2: y(top * share) }));
    parts.push(svg("text", { x: left - 6, y: y(top * share) + 4, "text-anchor": "end" }, (top * share).toLocaleString("en-US")));
  }
  parts.push(svg("text", { x: left, y: height }, "3 min ago"), svg("text", { x: width, y: height, "text-anchor": "end" }, "now"));
  for (const run of runsOf(points, field, left, x)) {
    const line = run.map((point) => `${x(point.at).toFixed(1)},${y(Number(point[field])).toFixed(1)}`).join("L");
    const [from, to] = [x(run[0].at).toFixed(1), x(run.at(-1).at).toFixed(1)];
    parts.push(svg("path", { class: "area", d: `M${from},${y(0)}L${line}L${to},${y(0)}Z` }), svg("path", { class: "curve", d: "M" + line }));
  }
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(...parts);
}

// Stretches of points with a value: a curve is not drawn across what is not known.
function runsOf(points, field, left, x) {
  const runs = [[]];
  let before = null;
  for (const point of points) {
    const gap = before !== null && point.at - before > 5 * POLL_MS;
    if (!known(point[field]) || gap) runs.push([]);
    if (known(point[field]) && x(point.at) >= left) runs.at(-1).push(point);
    before = point.at;
  }
  return runs.filter((run) => run.length > 0);
}
