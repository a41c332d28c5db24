// A grid for answers of any size: only what is in sight is in the document, in both directions.
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, memo, type PointerEvent, useCallback, useEffect, useId, useMemo, useRef, useState } from "react";
import type { Cell, Column } from "../api/types";
import { copyText } from "../clipboard";
import { cellText, kindOf } from "../sqlTypes";
import { asTsv, sortedIndexes } from "./order";
import { toast } from "./Toast";

const ROW_PX = 26;
const HEAD_PX = 30;
const WIDTH_MIN_PX = 48;
const WIDTH_FIRST_MAX_PX = 340;
const ROWS_MEASURED = 300;

interface DataGridProps {
  columns: Column[];
  rows: Cell[][];
  label: string;
}

interface Place {
  row: number;
  column: number;
}

/** Widths from rows all over the answer: the text's length is near enough, and costs no layout. */
function firstWidths(columns: Column[], rows: Cell[][]): number[] {
  return columns.map((column, c) => {
    let longest = column.name.length + 0.75 * column.type.length + 3;
    const step = Math.max(1, Math.floor(rows.length / ROWS_MEASURED));
    for (let i = 0; i < rows.length; i += step) longest = Math.max(longest, cellText(rows[i]?.[c]).length);
    return Math.round(Math.min(WIDTH_FIRST_MAX_PX, Math.max(WIDTH_MIN_PX + 20, longest * 7.2 + 22)));
  });
}

function DataGridInner({ columns, rows, label }: DataGridProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const id = useId();
  const [widths, setWidths] = useState(() => firstWidths(columns, rows));
  const [sort, setSort] = useState<{ column: number; descending: boolean } | null>(null);
  const [active, setActive] = useState<Place>({ row: 0, column: 0 });
  const [anchor, setAnchor] = useState<Place | null>(null);

  const order = useMemo(() => {
    const column = sort && columns[sort.column];
    return sort && column ? sortedIndexes(rows, sort.column, kindOf(column.type), sort.descending) : null;
  }, [rows, columns, sort]);
  const rowAt = useCallback((i: number): Cell[] => rows[order ? (order[i] ?? 0) : i] ?? [], [rows, order]);

  const indexPx = Math.max(34, String(rows.length).length * 7.2 + 16);
  const vertical = useVirtualizer({ count: rows.length, getScrollElement: () => scroller.current, estimateSize: () => ROW_PX, overscan: 12, scrollPaddingStart: HEAD_PX });
  const horizontal = useVirtualizer({ horizontal: true, count: columns.length, getScrollElement: () => scroller.current, estimateSize: (i) => widths[i] ?? WIDTH_MIN_PX, overscan: 3, paddingStart: indexPx, scrollPaddingStart: indexPx });
  useEffect(() => horizontal.measure(), [widths, horizontal]);

  const selected = useMemo(() => {
    const from = anchor ?? active;
    return {
      top: Math.min(from.row, active.row),
      bottom: Math.max(from.row, active.row),
      left: Math.min(from.column, active.column),
      right: Math.max(from.column, active.column),
    };
  }, [anchor, active]);

  const go = (row: number, column: number, extend: boolean) => {
    const next = { row: Math.max(0, Math.min(rows.length - 1, row)), column: Math.max(0, Math.min(columns.length - 1, column)) };
    setAnchor(extend ? (anchor ?? active) : null);
    setActive(next);
    vertical.scrollToIndex(next.row);
    horizontal.scrollToIndex(next.column);
  };

  const copy = async (withHead: boolean) => {
    const { top, bottom, left, right } = selected;
    const cells = Array.from({ length: bottom - top + 1 }, (_, i) => rowAt(top + i).slice(left, right + 1));
    const one = cells.length === 1 && cells[0]?.length === 1;
    const text = one && !withHead ? cellText(cells[0]?.[0]) : asTsv(cells, withHead ? columns.slice(left, right + 1).map((column) => column.name) : undefined);
    if (!(await copyText(text))) toast("The browser does not allow copying here", "bad");
    else toast(one ? "Cell copied" : `${cells.length.toLocaleString("en-US")} × ${right - left + 1} cells copied`);
  };

  const onKey = (event: KeyboardEvent) => {
    const { row, column } = active;
    const end = event.ctrlKey || event.metaKey;
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 300) / ROW_PX) - 2);
    const moves: Record<string, [number, number]> = {
      ArrowDown: [end ? rows.length : row + 1, column],
      ArrowUp: [end ? 0 : row - 1, column],
      ArrowRight: [row, end ? columns.length : column + 1],
      ArrowLeft: [row, end ? 0 : column - 1],
      PageDown: [row + page, column],
      PageUp: [row - page, column],
      Home: [end ? 0 : row, 0],
      End: [end ? rows.length : row, columns.length],
    };
    const move = moves[event.key];
    if (move) go(move[0], move[1], event.shiftKey);
    else if (end && event.key.toLowerCase() === "c") void copy(event.shiftKey);
    else if (end && event.key.toLowerCase() === "a") {
      setAnchor({ row: 0, column: 0 });
      setActive({ row: rows.length - 1, column: columns.length - 1 });
    } else if (event.key.toLowerCase() === "s" && !end && !event.altKey) toggleSort(column);
    else return;
    event.preventDefault();
  };

  const toggleSort = (column: number) => {
    setSort((old) => (old?.column !== column ? { column, descending: false } : old.descending ? null : { column, descending: true }));
  };

  const onCell = (event: PointerEvent, row: number, column: number) => {
    if (event.button !== 0) return;
    setAnchor(event.shiftKey ? (anchor ?? active) : null);
    setActive({ row, column });
  };
  const dragTo = (event: PointerEvent, row: number, column: number) => {
    if (event.buttons !== 1) return;
    setAnchor((old) => old ?? active);
    setActive({ row, column });
  };
  const onIndex = (event: PointerEvent, row: number) => {
    setAnchor({ row: event.shiftKey ? (anchor ?? active).row : row, column: 0 });
    setActive({ row, column: columns.length - 1 });
  };

  const resize = (event: PointerEvent, column: number) => {
    event.stopPropagation();
    event.preventDefault();
    const from = event.clientX;
    const width = widths[column] ?? WIDTH_MIN_PX;
    const move = (to: globalThis.PointerEvent) => setWidths((old) => old.with(column, Math.max(WIDTH_MIN_PX, width + to.clientX - from)));
    const up = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", up);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
  };

  const total = horizontal.getTotalSize();
  const across = horizontal.getVirtualItems();
  const isSelected = (row: number, column: number) => anchor !== null && row >= selected.top && row <= selected.bottom && column >= selected.left && column <= selected.right;
  return (
    <div
      className="grid"
      ref={scroller}
      role="grid"
      tabIndex={0}
      aria-label={label}
      aria-description="Arrow keys move, with Shift they select. S sorts by the column, Ctrl C copies."
      aria-rowcount={rows.length + 1}
      aria-colcount={columns.length}
      aria-multiselectable="true"
      aria-activedescendant={rows.length > 0 ? `${id}-${active.row}-${active.column}` : undefined}
      onKeyDown={onKey}
    >
      <div className="grid-head" role="row" aria-rowindex={1} style={{ width: total }}>
        <span className="grid-index head" style={{ width: indexPx }} aria-hidden="true" />
        {across.map((item) => {
          const column = columns[item.index];
          if (!column) return null;
          const sorted = sort?.column === item.index ? (sort.descending ? "descending" : "ascending") : undefined;
          return (
            <div
              key={item.key}
              role="columnheader"
              aria-colindex={item.index + 1}
              aria-sort={sorted ?? "none"}
              className={`grid-head-cell ${kindOf(column.type) === "number" ? "number" : ""}`}
              style={{ left: item.start, width: item.size }}
              title={`${column.name} ${column.type}`}
              onClick={() => toggleSort(item.index)}
            >
              <span className="name">{column.name}</span>
              <span className="type">{column.type}</span>
              {sorted && <span className="sort">{sorted === "ascending" ? "▲" : "▼"}</span>}
              <span
                className="grid-resize"
                onPointerDown={(event) => resize(event, item.index)}
                onClick={(event) => event.stopPropagation()}
                onDoubleClick={(event) => {
                  event.stopPropagation();
                  setWidths((old) => old.with(item.index, firstWidths(columns, rows)[item.index] ?? WIDTH_MIN_PX));
                }}
              />
            </div>
          );
        })}
      </div>
      <div role="rowgroup" style={{ position: "relative", width: total, height: vertical.getTotalSize() }}>
        {vertical.getVirtualItems().map((line) => {
          const row = rowAt(line.index);
          return (
            <div key={line.key} className="grid-row" role="row" aria-rowindex={line.index + 2} style={{ top: line.start, width: total }}>
              <span className="grid-index" style={{ width: indexPx }} aria-hidden="true" onPointerDown={(event) => onIndex(event, line.index)}>
                {line.index + 1}
              </span>
              {across.map((item) => {
                const value = row[item.index];
                const text = cellText(value);
                const isActive = line.index === active.row && item.index === active.column;
                const look = value === null || value === undefined ? "null" : kindOf(columns[item.index]?.type ?? "") === "number" ? "number" : "";
                return (
                  <div
                    key={item.key}
                    id={`${id}-${line.index}-${item.index}`}
                    role="gridcell"
                    aria-colindex={item.index + 1}
                    aria-selected={isActive || isSelected(line.index, item.index)}
                    className={`grid-cell ${look} ${isSelected(line.index, item.index) ? "selected" : ""} ${isActive ? "active" : ""}`}
                    style={{ left: item.start, width: item.size }}
                    title={text.length * 7 > item.size ? text : undefined}
                    onPointerDown={(event) => onCell(event, line.index, item.index)}
                    onPointerEnter={(event) => dragTo(event, line.index, item.index)}
                  >
                    {text}
                  </div>
                );
              })}
            </div>
          );
        })}
      </div>
    </div>
  );
}

/** Sort: click a head or press S. Copy: Ctrl+C, with heads Ctrl+Shift+C. A new answer with other columns starts afresh. */
export const DataGrid = memo(function DataGrid(props: DataGridProps) {
  const shape = props.columns.map((column) => `${column.name}:${column.type}`).join("|");
  return <DataGridInner key={shape} {...props} />;
});
