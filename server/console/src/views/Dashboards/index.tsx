// Dashboards: the list, or one of them.
import { Board } from "./Board";
import "./dashboards.css";
import { List } from "./List";

export default function Dashboards({ id, readOnly = false }: { id?: string; readOnly?: boolean }) {
  return id === undefined ? <List /> : <Board id={id} readOnly={readOnly} />;
}
