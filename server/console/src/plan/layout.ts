// Where the boxes of a tree go: the root on top, each parent over the middle of its children.
import type { Operator } from "./parse";

export const BOX = { width: 232, height: 62, gapX: 22, gapY: 30 };

export interface Box {
  id: number;
  parent: number | null;
  operator: Operator;
  x: number;
  y: number;
}

export interface Layout {
  boxes: Box[];
  width: number;
  height: number;
}

export function layout(root: Operator): Layout {
  const boxes: Box[] = [];
  let lane = 0;
  const place = (operator: Operator, depth: number, parent: number | null): Box => {
    const box: Box = { id: boxes.length, parent, operator, x: 0, y: depth * (BOX.height + BOX.gapY) };
    boxes.push(box);
    const below = operator.children.map((child) => place(child, depth + 1, box.id));
    const [first, last] = [below[0], below.at(-1)];
    if (first && last) box.x = (first.x + last.x) / 2;
    else {
      box.x = lane * (BOX.width + BOX.gapX);
      lane += 1;
    }
    return box;
  };
  place(root, 0, null);
  return { boxes, width: lane * (BOX.width + BOX.gapX) - BOX.gapX, height: Math.max(...boxes.map((box) => box.y)) + BOX.height };
}
