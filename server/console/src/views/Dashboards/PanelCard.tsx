// The frame of a panel: title, what went wrong, full screen, and while the dashboard is edited what can be done with it.
import { type KeyboardEvent, memo, useRef } from "react";
import { Button } from "../../components/Button";
import { Badge } from "../../components/Figures";
import { Icon } from "../../components/Icon";
import { Menu } from "../../components/Menu";
import type { Panel, PanelAnswer, Place } from "../../dashboards/model";
import { type Store, useStore } from "../../store";
import { PanelBody } from "./PanelBody";

export interface PanelActions {
  onEdit(id: string): void;
  onCopy(id: string): void;
  onRemove(id: string): void;
  onNudge(id: string, change: Partial<Record<keyof Place, number>>): void;
}

interface PanelCardProps {
  panel: Panel;
  store: Store<PanelAnswer | null>;
  /** None: the dashboard is only looked at. */
  actions?: PanelActions;
  /** Explains the panel as its SQL. */
  onExplain(id: string): void;
}

const MOVES: Record<string, [keyof Place, number]> = { ArrowLeft: ["x", -1], ArrowRight: ["x", 1], ArrowUp: ["y", -1], ArrowDown: ["y", 1] };
const SIZES: Record<string, [keyof Place, number]> = { ArrowLeft: ["w", -1], ArrowRight: ["w", 1], ArrowUp: ["h", -1], ArrowDown: ["h", 1] };

export const PanelCard = memo(function PanelCard({ panel, store, actions, onExplain }: PanelCardProps) {
  const answer = useStore(store);
  const card = useRef<HTMLElement>(null);
  const name = panel.title || panel.id;
  const onKey = (event: KeyboardEvent) => {
    if (!actions || event.target !== event.currentTarget) return;
    const change = (event.shiftKey ? SIZES : MOVES)[event.key];
    if (change) actions.onNudge(panel.id, { [change[0]]: change[1] });
    else if (event.key === "Enter") actions.onEdit(panel.id);
    else if (event.key === "Delete") actions.onRemove(panel.id);
    else return;
    event.preventDefault();
  };
  const fullScreen = () => void (document.fullscreenElement === card.current ? document.exitFullscreen() : card.current?.requestFullscreen());
  const error = answer?.error;
  return (
    <section
      ref={card}
      className={`board-panel ${actions ? "editable" : ""}`}
      aria-label={name}
      aria-describedby={actions ? "board-keys" : undefined}
      tabIndex={actions ? 0 : -1}
      data-panel={panel.id}
      onKeyDown={onKey}
    >
      <header className="board-panel-head">
        <h2 title={name}>{panel.title}</h2>
        {error && answer.columns.length > 0 && (
          <span title={error.message}>
            <Badge tone="bad">
              <Icon name="alert" /> old
            </Badge>
          </span>
        )}
        <span className="spacer" />
        <span className="board-panel-tools">
          {actions && (
            <Button kind="quiet" icon aria-label={`Edit ${name}`} title="Edit" onClick={() => actions.onEdit(panel.id)}>
              <Icon name="pencil" />
            </Button>
          )}
          <Menu
            ariaLabel={`Actions of ${name}`}
            label={<Icon name="dots" />}
            items={[
              { label: "Full screen", onSelect: fullScreen },
              { label: "Show the SQL", onSelect: () => onExplain(panel.id) },
              ...(actions
                ? [
                    { label: "Copy", onSelect: () => actions.onCopy(panel.id) },
                    { label: "Remove", onSelect: () => actions.onRemove(panel.id) },
                  ]
                : []),
            ]}
          />
        </span>
      </header>
      <div className={`board-panel-body ${error && answer.columns.length > 0 ? "old" : ""}`}>
        <PanelBody panel={panel} answer={answer} />
        {error && answer.columns.length === 0 && (
          <div className="board-panel-error" role="status">
            <Icon name="alert" />
            <p>{error.message}</p>
          </div>
        )}
      </div>
    </section>
  );
});
