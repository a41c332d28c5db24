// What came of a run: rows, chart or plan, and beside them what the answer says of itself.
import { useEffect, useMemo, useState } from "react";
import { ROWS_MAX } from "../../api/client";
import type { ErrorDetails } from "../../api/types";
import type { ChartChoice } from "../../charts/choice";
import { Button } from "../../components/Button";
import { DataGrid } from "../../components/DataGrid";
import { EmptyState } from "../../components/EmptyState";
import { ErrorBox } from "../../components/ErrorBox";
import { Tabs } from "../../components/Tabs";
import { compact, duration, perSecond, whole } from "../../format";
import { isPlanAnswer, parsePlan } from "../../plan/parse";
import { PlanPicture } from "../../plan/PlanPicture";
import { ChartPane } from "./Chart";
import { Facts } from "./Facts";
import type { Run } from "./runs";

const TOO_MANY = `The console shows at most ${ROWS_MAX.toLocaleString("en-US")} rows, and the answer has more: these are its first ones. Add a LIMIT, or export it as a file.`;

const NAMED_MAX = 20;
const listed = (names: string[]) => (names.length > NAMED_MAX ? `${names.slice(0, NAMED_MAX).join(", ")} and ${names.length - NAMED_MAX} more` : names.join(", "));

export type Shown = "rows" | "chart" | "plan";

interface ResultProps {
  run: Run;
  shown: Shown;
  onShow(shown: Shown): void;
  picked: ChartChoice | null;
  onPick(choice: ChartChoice): void;
  /** The error at its place in the editor, while what ran is still there. */
  seen: { text: string; error: ErrorDetails } | null;
  onFix(error: ErrorDetails): void;
  onAgain(): void;
}

export function Result({ run, shown, onShow, picked, onPick, seen, onFix, onAgain }: ResultProps) {
  const { answer, error } = run;
  const plan = useMemo(() => (answer && isPlanAnswer(answer.columns) ? parsePlan(answer.rows) : null), [answer]);
  const visible: Shown = shown === "plan" && !plan ? "rows" : shown;
  const isOld = run.state === "running" || run.state === "cancelled";
  return (
    <section className="result" aria-label="Result">
      {run.state === "running" && !answer && <Waiting run={run} />}
      {run.state === "cancelled" && !answer && <EmptyState title="Cancelled" action={<Button onClick={onAgain}>Run it again</Button>}>It ran for {duration(run.elapsedMs)}.</EmptyState>}
      {run.letGo && !answer && <EmptyState title="The answer was let go" action={<Button onClick={onAgain}>Run it again</Button>}>Only the answers of the tabs that you looked at last are kept.</EmptyState>}
      {error && (
        <div className="result-error">
          <ErrorBox
            error={seen?.error ?? (answer && error.kind === "rows_exceeded" ? { ...error, message: TOO_MANY } : error)}
            sql={seen?.text ?? run.sql}
            tone={answer ? "warn" : "bad"}
            actions={
              error.suggestion ? (
                <Button kind="primary" onClick={() => onFix(error)}>
                  Use {error.suggestion}
                </Button>
              ) : error.kind === "lost" ? (
                <Button onClick={onAgain}>Run it again</Button>
              ) : undefined
            }
          />
        </div>
      )}
      {answer && (
        <>
          <div className="result-head">
            <Tabs<Shown>
              label="Forms of the answer"
              panel="answer"
              items={[
                { key: "rows", label: "Rows" },
                { key: "chart", label: "Chart" },
                ...(plan ? [{ key: "plan" as const, label: "Plan" }] : []),
              ]}
              selected={visible}
              onSelect={onShow}
            />
            <span className="spacer" />
            {isOld && <span className="muted small">{run.state === "running" ? "the answer before" : `cancelled after ${duration(run.elapsedMs)}; the answer before`}</span>}
            <Facts answer={answer} elapsedMs={run.elapsedMs} />
          </div>
          <div id="answer" role="tabpanel" aria-label={visible} className={`result-body ${isOld ? "old" : ""}`}>
            {visible === "rows" &&
              (answer.rows.length > 0 ? (
                <DataGrid columns={answer.columns} rows={answer.rows} label="Rows of the answer" />
              ) : (
                <EmptyState title="No rows">The statement ran, and nothing fits it. Columns: {listed(answer.columns.map((column) => column.name))}.</EmptyState>
              ))}
            {visible === "chart" && <ChartPane answer={answer} picked={picked} onPick={onPick} />}
            {visible === "plan" && plan && <PlanPicture plan={plan} />}
          </div>
        </>
      )}
    </section>
  );
}

function Waiting({ run }: { run: Run }) {
  return (
    <div className="empty">
      <p className="muted">{run.progress?.state === "queued" ? "Waiting for its turn" : "Running"}</p>
    </div>
  );
}

/** The clock of a run that goes on, and how far it is where the server says so. */
export function ProgressLine({ run }: { run: Run }) {
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 100);
    return () => clearInterval(timer);
  }, []);
  const elapsed = Math.max(0, now - run.startedAt);
  const { progress } = run;
  const share = progress && progress.segments_total > 0 ? Math.min(1, progress.segments_done / progress.segments_total) : null;
  return (
    <div className="progress" role="progressbar" aria-label="Progress of the query" aria-valuenow={share === null ? undefined : Math.round(share * 100)}>
      <span className="progress-bar">
        <i className={share === null ? "unknown" : ""} style={share === null ? undefined : { width: `${share * 100}%` }} />
      </span>
      <span className="progress-time">{duration(Math.floor(elapsed / 100) * 100)}</span>
      {progress && (
        <span className="muted small">
          {whole(progress.segments_done)} of {whole(progress.segments_total)} segments · {compact(progress.rows_scanned)} rows
          {progress.elapsed_ms > 0 && ` · ${perSecond((Number(progress.rows_scanned) / Number(progress.elapsed_ms)) * 1000)}`}
        </span>
      )}
    </div>
  );
}
