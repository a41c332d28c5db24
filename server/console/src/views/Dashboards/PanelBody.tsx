// What a panel shows: a chart, a number or a table of its last answer.
import { memo, useMemo, useRef } from "react";
import { Chart } from "../../components/Chart";
import { DataGrid } from "../../components/DataGrid";
import type { Panel, PanelAnswer } from "../../dashboards/model";
import { cellText } from "../../sqlTypes";
import { bigNumber, chartOption, headline, type Paints } from "./chartOption";

interface PanelBodyProps {
  panel: Panel;
  answer: PanelAnswer | null;
}

export const PanelBody = memo(function PanelBody({ panel, answer }: PanelBodyProps) {
  if (answer === null) return <div className="panel-waiting skeleton" aria-hidden="true" />;
  if (answer.columns.length === 0) return null;
  const nothing = answer.rows.length === 0 && <p className="panel-nothing muted">No rows in this time range. Choose a longer one, or other values.</p>;
  if (panel.kind === "table") {
    return (
      <div className="panel-table">
        <DataGrid columns={answer.columns} rows={answer.rows} label={panel.title || "Table"} />
        {nothing}
      </div>
    );
  }
  if (nothing) return nothing;
  if (panel.kind === "number") return <BigNumber panel={panel} answer={answer} />;
  return <PanelChart panel={panel} answer={answer} />;
});

function BigNumber({ panel, answer }: { panel: Panel; answer: PanelAnswer }) {
  const number = bigNumber(answer.columns, answer.rows, panel);
  if (!number) return null;
  return (
    <div className="board-number">
      <strong title={cellText(number.value)}>{headline(number.value)}</strong>
      <span className="muted">
        {number.name}
        {number.others.map(({ name, value }) => ` · ${name} ${headline(value)}`)}
      </span>
    </div>
  );
}

function PanelChart({ panel, answer }: { panel: Panel; answer: PanelAnswer }) {
  // A series keeps its colour as long as the panel is there.
  const paints = useRef<Paints>(new Map());
  const drawn = useMemo(() => chartOption(answer.columns, answer.rows, panel, paints.current), [answer, panel]);
  if (!drawn) return <p className="panel-nothing muted">Nothing to draw: a chart needs a column of numbers and one to draw them over.</p>;
  return (
    <div className="panel-chart">
      <Chart option={drawn.option} label={`${panel.title || "Chart"}: ${answer.rows.length} rows`} />
      {drawn.note && <p className="muted small">{drawn.note}</p>}
    </div>
  );
}
