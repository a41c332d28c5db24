// EXPLAIN ANALYZE as a picture: operators as boxes, rows flow upwards, the share of the time is a bar in each box.
import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from "react";
import { Badge } from "../components/Figures";
import { Tabs } from "../components/Tabs";
import { compact, duration, whole } from "../format";
import { BOX, type Box, layout } from "./layout";
import type { Operator, Plan } from "./parse";
import "./plan.css";

const HOT = 0.35;
const WARM = 0.12;

export function PlanPicture({ plan }: { plan: Plan }) {
  const [shown, setShown] = useState<"picture" | "text">("picture");
  return (
    <div className="plan">
      <div className="plan-head">
        <Tabs<"picture" | "text">
          label="Form of the plan"
          items={[
            { key: "picture", label: "Picture" },
            { key: "text", label: "Text" },
          ]}
          selected={shown}
          onSelect={setShown}
        />
        <span className="muted small">{plan.ms > 0 ? `${duration(plan.ms)} computed by all operators and threads together` : "not run: EXPLAIN ANALYZE has times and rows"}</span>
      </div>
      {shown === "text" ? (
        <pre className="plan-text" tabIndex={0}>
          {plan.text}
        </pre>
      ) : (
        <Picture plan={plan} />
      )}
    </div>
  );
}

function Picture({ plan }: { plan: Plan }) {
  const placed = useMemo(() => layout(plan.root), [plan]);
  // The plan of a query that runs comes again and again, with other numbers: what was chosen stays.
  const shape = placed.boxes.map(({ operator, parent }) => `${operator.name} ${parent}`).join();
  const [chosenOf, setChosenOf] = useState<{ shape: string; id: number } | null>(null);
  const selected = chosenOf?.shape === shape ? chosenOf.id : hottest(placed.boxes).id;
  const setSelected = (id: number) => setChosenOf({ shape, id });
  const canvas = useRef<HTMLDivElement>(null);
  const chosen = placed.boxes[selected] ?? placed.boxes[0];
  // A deep plan is higher than the pane: where the time went is what people look for.
  useEffect(() => {
    canvas.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "center", inline: "center" });
  }, [shape]);
  const most = Math.max(1, ...placed.boxes.map((box) => box.operator.rows ?? 0));
  const move = (event: KeyboardEvent) => {
    if (!chosen) return;
    const to = neighbour(placed.boxes, chosen, event.key);
    if (!to) return;
    event.preventDefault();
    setSelected(to.id);
    canvas.current?.querySelector<HTMLElement>(`[data-box="${to.id}"]`)?.focus();
  };
  return (
    <div className="plan-split">
      <div className="plan-scroll">
        <div className="plan-canvas" ref={canvas} role="tree" aria-label="Operators of the plan" onKeyDown={move} style={{ width: placed.width, height: placed.height }}>
          <svg width={placed.width} height={placed.height} aria-hidden="true">
            {placed.boxes.map((box) => {
              const parent = box.parent === null ? undefined : placed.boxes[box.parent];
              return parent && <Flow key={box.id} box={box} parent={parent} most={most} />;
            })}
            {placed.boxes.map((box) => {
              const parent = box.parent === null ? undefined : placed.boxes[box.parent];
              return parent && <FlowRows key={box.id} box={box} parent={parent} />;
            })}
          </svg>
          {placed.boxes.map((box) => (
            <OperatorBox key={box.id} box={box} depth={depthOf(placed.boxes, box)} plan={plan} selected={box.id === selected} onSelect={() => setSelected(box.id)} />
          ))}
        </div>
      </div>
      {chosen && <Details operator={chosen.operator} plan={plan} />}
    </div>
  );
}

function Flow({ box, parent, most }: { box: Box; parent: Box; most: number }) {
  const rows = box.operator.rows;
  // Rows differ by orders of magnitude: so does the width, by their logarithm.
  const width = rows === null || rows === 0 ? 1 : 1 + (7 * Math.log10(rows + 1)) / Math.log10(most + 1);
  const { x1, y1, x2, y2, middle } = between(box, parent);
  return <path d={`M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}`} fill="none" stroke="var(--line-strong)" strokeWidth={width} />;
}

/** Over all lines, so that none crosses it. */
function FlowRows({ box, parent }: { box: Box; parent: Box }) {
  const { rows } = box.operator;
  const { x1, x2, middle } = between(box, parent);
  return (
    rows !== null && (
      <text x={(x1 + x2) / 2 + 10} y={middle + 4} className="plan-rows">
        {compact(rows)} {rows === 1 ? "row" : "rows"}
      </text>
    )
  );
}

function between(box: Box, parent: Box) {
  const [y1, y2] = [box.y, parent.y + BOX.height];
  return { x1: box.x + BOX.width / 2, y1, x2: parent.x + BOX.width / 2, y2, middle: (y1 + y2) / 2 };
}

function OperatorBox({ box, depth, plan, selected, onSelect }: { box: Box; depth: number; plan: Plan; selected: boolean; onSelect(): void }) {
  const { operator } = box;
  const share = shareOf(operator, plan);
  const heat = share >= HOT ? "hot" : share >= WARM ? "warm" : "";
  return (
    <div
      data-box={box.id}
      role="treeitem"
      aria-level={depth + 1}
      aria-selected={selected}
      tabIndex={selected ? 0 : -1}
      className={`plan-box ${heat} ${selected ? "selected" : ""}`}
      style={{ left: box.x, top: box.y, width: BOX.width, height: BOX.height }}
      onClick={onSelect}
      title={`${operator.name} ${operator.detail}`}
    >
      <div className="plan-box-head">
        <strong>{titleOf(operator)}</strong>
        <span>{operator.ms === null ? "" : duration(operator.ms)}</span>
      </div>
      <div className="plan-box-detail">{summaryOf(operator)}</div>
      <div className="plan-share">
        <span className="bar">
          <i style={{ width: `${Math.max(share * 100, share > 0 ? 1.5 : 0)}%` }} />
        </span>
        <span>{operator.ms === null ? "–" : `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`}</span>
      </div>
    </div>
  );
}

function Details({ operator, plan }: { operator: Operator; plan: Plan }) {
  const flows = plan.stages.filter(({ stage }) => operator.stage === null || stage === operator.stage);
  const tasks = plan.tasks.filter(({ stage }) => operator.stage === null || stage === operator.stage);
  return (
    <aside className="plan-details" aria-label="The operator in detail" tabIndex={0}>
      <h3>{operator.name}</h3>
      {operator.detail && <p className="mono">{operator.detail}</p>}
      <dl>
        {operator.metrics.map(([name, value]) => (
          <div key={name}>
            <dt>{name.replaceAll("_", " ")}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {flows.length > 0 && <h3>{operator.stage === null ? "Stages" : `Stage ${operator.stage}`}</h3>}
      {flows.map((flow) => (
        <div key={flow.stage} className="plan-stage">
          <div className="row">
            <Badge tone="accent">{flow.kind}</Badge>
            stage {flow.stage} to {flow.to}
          </div>
          {flow.rows !== null && (
            <div className="muted small">
              {whole(flow.rows)} rows, {whole(flow.bytes)} bytes crossed
            </div>
          )}
          <ul>
            {tasks
              .filter(({ stage }) => stage === flow.stage)
              .map(({ node, reads }) => (
                <li key={node + reads}>
                  <strong>{node}</strong> {reads}
                </li>
              ))}
          </ul>
        </div>
      ))}
    </aside>
  );
}

const shareOf = (operator: Operator, plan: Plan) => (operator.ms === null || plan.ms === 0 ? 0 : operator.ms / plan.ms);
const titleOf = (operator: Operator) => operator.name.replace(/Exec$/, "");
const depthOf = (boxes: Box[], box: Box): number => (box.parent === null ? 0 : 1 + depthOf(boxes, boxes[box.parent] ?? box));
const hottest = (boxes: Box[]): Box => boxes.reduce((best, box) => ((box.operator.ms ?? -1) > (best.operator.ms ?? -1) ? box : best));

/** The few words that tell an operator from others of its kind. */
function summaryOf({ detail, stage, read }: Operator): string {
  const table = /\btable=([^,]+)/.exec(detail)?.[1];
  const segments = /\bsegments=(\d+ of \d+)/.exec(detail)?.[1];
  const keys = /\b(?:keys|gby|groupBy)=\[+([^\]]*)\]/.exec(detail)?.[1]?.replaceAll(/@\d+/g, "");
  const parts = [table, read !== null && `${compact(read)} rows read`, segments && `${segments} segments`, keys && `by ${keys}`, stage !== null && `stage ${stage}`].filter(Boolean);
  return parts.length > 0 ? parts.join(" · ") : detail;
}

function neighbour(boxes: Box[], from: Box, key: string): Box | undefined {
  const siblings = boxes.filter((box) => box.y === from.y).sort((a, b) => a.x - b.x);
  const at = siblings.indexOf(from);
  switch (key) {
    case "ArrowUp":
      return from.parent === null ? undefined : boxes[from.parent];
    case "ArrowDown":
      return boxes.find((box) => box.parent === from.id);
    case "ArrowLeft":
      return siblings[at - 1];
    case "ArrowRight":
      return siblings[at + 1];
    case "Home":
      return boxes[0];
    default:
      return undefined;
  }
}
