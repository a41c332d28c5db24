// The Query view: statements in tabs above, what came of them below.
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { loadCatalog } from "../../api/catalog";
import { TOO_LARGE } from "../../api/client";
import { isAdministrator, useSession } from "../../api/session";
import type { Answer, ErrorDetails } from "../../api/types";
import type { ChartChoice } from "../../charts/choice";
import { defaultChoice, fittingChoice } from "../../charts/choice";
import { copyText } from "../../clipboard";
import { Button } from "../../components/Button";
import { EmptyState } from "../../components/EmptyState";
import { Icon } from "../../components/Icon";
import { Menu } from "../../components/Menu";
import { toast } from "../../components/Toast";
import { useLoad } from "../../hooks";
import { isPlanAnswer } from "../../plan/parse";
import { readStored, writeStored } from "../../store";
import { AddToDashboard, type Wanted } from "./AddToDashboard";
import { Catalog } from "./Catalog";
import { Editor, type EditorHandle, forgetEditor } from "./editor/Editor";
import { loadFunctions } from "./editor/functions";
import { offsetOf, positionOf, sources, wordAt } from "./editor/statements";
import { FUNCTIONS } from "./editor/words";
import { examplesOf } from "./examples";
import { EXPORTS, exportFile } from "./exporting";
import { History } from "./History";
import { linkTo, readLink } from "./link";
import { QueryTabs } from "./QueryTabs";
import { ProgressLine, Result, type Shown } from "./Result";
import { cancel, forgetRun, lookAt, spokenOf, start, useRun } from "./runs";
import { Splitter } from "./Splitter";
import { givenName, TABS_MAX } from "./tabs";
import { closeTab, editTab, openTab, selectTab, useWorkspace } from "./workspace";
import "./query.css";

const CATALOG_EVERY_MS = 30_000;
const HEIGHT_KEY = "headwater.query.editor_px";

/** What is shown of each tab's answer, as long as the page lives. */
const looks = new Map<string, { shown: Shown; picked: ChartChoice | null }>();

export default function Query() {
  const { tabs, selected } = useWorkspace();
  const tab = tabs.find(({ id }) => id === selected);
  const sql = tab?.sql ?? "";
  const run = useRun(selected);
  const catalog = useLoad("catalog", loadCatalog, CATALOG_EVERY_MS);
  const functions = useLoad("functions", loadFunctions);
  const editor = useRef<EditorHandle>(null);
  const [height, setHeight] = useState(() => readStored(HEIGHT_KEY, 230));
  const [history, setHistory] = useState(false);
  const [wanted, setWanted] = useState<Wanted | null>(null);
  const mayChange = isAdministrator(useSession());
  const [, redraw] = useState(0);
  const look = looks.get(selected) ?? { shown: "rows", picked: null };
  const setLook = useCallback(
    (change: Partial<typeof look>, of = selected) => {
      looks.set(of, { ...(looks.get(of) ?? { shown: "rows", picked: null }), ...change });
      redraw((old) => old + 1);
    },
    [selected],
  );

  useEffect(() => lookAt(selected), [selected]);

  const runSql = useCallback(
    (text: string, from: number, of = selected) => {
      if (/^\s*explain\b/i.test(text)) setLook({ shown: "plan" }, of);
      void start(of, text, from);
    },
    [selected, setLook],
  );
  const runChosen = useCallback(() => {
    const chosen = editor.current?.toRun();
    if (chosen) runSql(chosen.sql, chosen.from);
  }, [runSql]);
  const explain = () => {
    const chosen = editor.current?.toRun();
    if (chosen) runSql(/^\s*explain\b/i.test(chosen.sql) ? chosen.sql : `EXPLAIN ANALYZE ${chosen.sql}`, chosen.from);
  };
  const cancelRun = useCallback(() => cancel(selected), [selected]);
  const cancelAndWrite = () => {
    cancel(selected);
    // The button has nothing to cancel any more, and would lose the focus to nobody.
    editor.current?.focus();
  };
  const open = (text: string, then: "run" | "edit" = "edit") => {
    const id = sql.trim() === "" ? selected : openTab(text);
    if (id === null) return;
    if (id === selected) editTab(id, text);
    if (then === "run") runSql(text, 0, id);
    requestAnimationFrame(() => editor.current?.focus());
  };
  const close = (id: string) => {
    forgetRun(id);
    forgetEditor(id);
    looks.delete(id);
    closeTab(id);
  };

  const refused = useRef<string | null>(null);
  // A link opens its statement, in the tab that has it already if there is one, and runs it.
  useEffect(() => {
    const follow = () => {
      const linked = readLink(location.hash);
      if (!linked) return;
      const existing = tabs.find((other) => other.sql.trim() === linked.sql.trim() || other.sql === "");
      const isKnownFull = refused.current === location.hash && tabs.length >= TABS_MAX;
      const id = existing?.id ?? (isKnownFull ? null : openTab(linked.sql));
      // It stays in the address, and opens as soon as there is room.
      refused.current = id === null ? location.hash : null;
      if (id === null) return;
      window.history.replaceState(null, "", "/query");
      if (existing) {
        editTab(id, linked.sql);
        selectTab(id);
      }
      looks.set(id, { shown: linked.chart ? "chart" : "rows", picked: linked.chart ?? null });
      runSql(linked.sql, 0, id);
    };
    follow();
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, [tabs, runSql]);

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
      if (event.key === "Escape") cancel(selected);
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) runChosen();
      else if (event.altKey && !event.ctrlKey && event.code === "KeyT") openTab();
      else if (event.altKey && !event.ctrlKey && event.code === "KeyW") close(selected);
      else if (event.altKey && !event.ctrlKey && event.code === "KeyH") setHistory(true);
      else if (event.altKey && !event.ctrlKey && event.code === "KeyA") addToDashboard();
      else if (event.altKey && !event.ctrlKey && event.code === "KeyE") editor.current?.focus();
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  });

  const fault = useMemo(() => {
    if (!run?.error?.position || run.state !== "failed") return null;
    // EXPLAIN ANALYZE was put before the statement: positions in the first line are further to the right by it.
    const added = run.sql.startsWith("EXPLAIN ANALYZE ") && !sql.slice(run.from).startsWith("EXPLAIN ANALYZE ") ? "EXPLAIN ANALYZE ".length : 0;
    const at = run.from - added + offsetOf(run.sql, run.error.position.line, run.error.position.column);
    if (sql.slice(run.from, run.from + run.sql.length - added) !== run.sql.slice(added)) return null; // It was edited since.
    return { ...wordAt(sql, Math.max(0, at)), at, message: run.error.message, fix: run.error.suggestion };
  }, [run, sql]);
  // The server counts lines from the statement's first one; people count those of the editor.
  const seen = fault && run?.error ? { text: sql, error: { ...run.error, position: positionOf(sql, fault.at) } } : null;
  const fix = (error: ErrorDetails) => {
    if (fault && error.suggestion) editor.current?.replace(fault, error.suggestion);
  };

  /** The chart in sight; null: there is none. */
  const drawnAs = (answer: Answer) => (look.shown !== "chart" ? null : look.picked ? fittingChoice(look.picked, answer) : defaultChoice(answer));
  const copyLink = async () => {
    const chosen = editor.current?.toRun();
    if (!chosen) return;
    const chart = run?.answer ? drawnAs(run.answer) : null;
    const copied = await copyText(linkTo({ sql: chosen.sql, chart: chart ?? undefined }));
    toast(copied ? "Link copied: it opens and runs this statement" : "The browser does not allow copying here", copied ? "plain" : "bad");
  };

  const running = run?.state === "running";
  const answered = run?.answer && !isPlanAnswer(run.answer.columns) ? run.answered : null;
  const addToDashboard = () => {
    if (!mayChange || answered === null || !run?.answer) return;
    setWanted({ sql: answered, answer: run.answer, choice: drawnAs(run.answer), name: (tab && givenName(tab)) || (look.shown === "chart" ? "" : (sources(answered)[0]?.table ?? "")) });
  };
  // What is too large to be shown, or was shown, can be a file.
  const exportable = answered ?? (run?.letGo ? run.answered : run?.error?.kind === TOO_LARGE ? run.sql : null);
  return (
    <div className="query">
      <Catalog tables={catalog.data} onInsert={(text) => editor.current?.insert(text)} onSample={(text) => open(text, "run")} />
      <div className="query-main" style={{ gridTemplateRows: `auto ${height}px 7px auto minmax(0, 1fr)` }}>
        <QueryTabs tabs={tabs} selected={selected} onClose={close} />
        <div id="statement" role="tabpanel" aria-label="Statement" className="query-statement">
          <Editor tab={selected} text={sql} tables={catalog.data ?? []} functions={functions.data ?? FUNCTIONS} fault={fault} ref={editor} run={runChosen} cancel={cancelRun} changed={(text) => editTab(selected, text)} />
        </div>
        <Splitter
          px={height}
          onMove={(px) => {
            setHeight(px);
            writeStored(HEIGHT_KEY, px);
          }}
        />
        <div className="query-bar" role="toolbar" aria-label="Statement">
          <Button kind="primary" onClick={runChosen} disabled={sql.trim() === ""} title="Run the selection, or the statement under the cursor (Ctrl+Enter)">
            <Icon name="play" />
            Run
          </Button>
          <Button onClick={cancelAndWrite} disabled={!running} title="Cancel (Esc)">
            <Icon name="stop" />
            Cancel
          </Button>
          <Button kind="quiet" onClick={explain} disabled={sql.trim() === ""} title="Run it and show how">
            <Icon name="tree" />
            Explain
          </Button>
          {running ? (
            <ProgressLine run={run} />
          ) : (
            <span className="hint muted small">
              <kbd>Ctrl</kbd> <kbd>Enter</kbd> runs the statement under the cursor
            </span>
          )}
          <span className="visually-hidden" role="status">
            {spokenOf(run)}
          </span>
          <span className="spacer" />
          <Button kind="quiet" onClick={() => setHistory(true)} title="History (Alt+H)">
            <Icon name="history" />
            History
          </Button>
          {mayChange && (
            <Button kind="quiet" onClick={addToDashboard} disabled={answered === null} title="Makes this answer a panel of a dashboard (Alt+A)">
              <Icon name="chart" />
              Add to dashboard
            </Button>
          )}
          <Button kind="quiet" onClick={() => void copyLink()} disabled={sql.trim() === ""}>
            <Icon name="link" />
            Copy link
          </Button>
          <Menu
            label={
              <>
                <Icon name="download" />
                Export
              </>
            }
            disabled={exportable === null}
            items={EXPORTS.map(({ format, label, ending }) => ({ label, hint: `.${ending}`, onSelect: () => void exportFile(exportable ?? "", format, ending) }))}
          />
        </div>
        {run ? (
          <Result run={run} shown={look.shown} onShow={(shown) => setLook({ shown })} picked={look.picked} onPick={(picked) => setLook({ picked })} seen={seen} onFix={fix} onAgain={() => runSql(run.sql, run.from)} />
        ) : (
          <EmptyState title="Ask something" action={<Examples tables={catalog.data ?? []} onOpen={(text) => open(text, "run")} />}>
            Type a statement, or begin with one of these.
          </EmptyState>
        )}
      </div>
      {wanted && <AddToDashboard wanted={wanted} onClose={() => setWanted(null)} />}
      {history && (
        <History
          onClose={() => setHistory(false)}
          onOpen={(text) => {
            setHistory(false);
            open(text);
          }}
        />
      )}
    </div>
  );
}

function Examples({ tables, onOpen }: { tables: Parameters<typeof examplesOf>[0]; onOpen(sql: string): void }) {
  return (
    <div className="examples">
      {examplesOf(tables).map(({ title, sql }) => (
        <Button key={title} title={sql} onClick={() => onOpen(sql)}>
          {title}
        </Button>
      ))}
    </div>
  );
}
