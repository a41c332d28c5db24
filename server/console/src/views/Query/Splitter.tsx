// The bar between editor and answer: dragged, or moved by the arrow keys.
import type { KeyboardEvent, PointerEvent } from "react";

const MIN_PX = 80;
const STEP_PX = 24;
const BELOW_MIN_PX = 200;

export function Splitter({ px, onMove }: { px: number; onMove(px: number): void }) {
  const most = () => Math.max(MIN_PX, innerHeight - BELOW_MIN_PX);
  const move = (to: number) => onMove(Math.round(Math.max(MIN_PX, Math.min(most(), to))));
  const drag = (event: PointerEvent<HTMLDivElement>) => {
    if (event.buttons === 1 && event.currentTarget.hasPointerCapture(event.pointerId)) move(px + event.movementY);
  };
  const onKey = (event: KeyboardEvent) => {
    const to = { ArrowUp: px - STEP_PX, ArrowDown: px + STEP_PX, Home: MIN_PX, End: most() }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    move(to);
  };
  return (
    <div
      className="splitter"
      role="separator"
      aria-orientation="horizontal"
      aria-label="Height of the editor"
      aria-valuenow={px}
      aria-valuemin={MIN_PX}
      aria-valuemax={most()}
      tabIndex={0}
      onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
      onPointerMove={drag}
      onKeyDown={onKey}
    />
  );
}
