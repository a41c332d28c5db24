// The panels in their places: dragged and resized while the dashboard is edited, below each other where the window is narrow.
import { type ReactNode, useLayoutEffect, useMemo, useRef, useState } from "react";
import GridLayout, { type Layout } from "react-grid-layout";
import { compacted, GRID_COLUMNS, inReadingOrder, isSame, type Panel } from "../../dashboards/model";
import "react-grid-layout/css/styles.css";

const ROW_PX = 34;
const GAP_PX = 10;
const NARROW_PX = 720;

interface GridProps {
  panels: Panel[];
  editable: boolean;
  render(panel: Panel): ReactNode;
  onPanels(panels: Panel[]): void;
}

export function Grid({ panels, editable, render, onPanels }: GridProps) {
  const host = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const element = host.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    setWidth(element.clientWidth);
    return () => observer.disconnect();
  }, []);
  const layout: Layout = useMemo(() => compacted(panels).map(({ id, at }) => ({ i: id, ...at })), [panels]);
  const narrow = width > 0 && width < NARROW_PX;
  const ordered = useMemo(() => inReadingOrder(panels), [panels]);

  const onLayout = (next: Layout) => {
    const places = new Map(next.map(({ i, x, y, w, h }) => [i, { x, y, w, h }]));
    const moved = panels.map((panel) => ({ ...panel, at: places.get(panel.id) ?? panel.at }));
    if (!isSame(moved, panels)) onPanels(moved);
  };

  return (
    <div ref={host} className={`board-grid ${editable ? "editable" : ""}`}>
      {narrow &&
        ordered.map((panel) => (
          <div key={panel.id} className="board-stacked" style={{ height: panel.at.h * (ROW_PX + GAP_PX) }}>
            {render(panel)}
          </div>
        ))}
      {width > 0 && !narrow && (
        <GridLayout
          width={width}
          layout={layout}
          gridConfig={{ cols: GRID_COLUMNS, rowHeight: ROW_PX, margin: [GAP_PX, GAP_PX], containerPadding: [0, 0] }}
          dragConfig={{ enabled: editable, handle: ".board-panel-head", cancel: "button, .menu", threshold: 4 }}
          resizeConfig={{ enabled: editable, handles: ["se", "s", "e"] }}
          onDragStop={onLayout}
          onResizeStop={onLayout}
        >
          {/* In the order in which they are read, so that the keyboard goes through them in it. */}
          {ordered.map((panel) => (
            <div key={panel.id}>{render(panel)}</div>
          ))}
        </GridLayout>
      )}
    </div>
  );
}
