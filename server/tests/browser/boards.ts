// Dashboards of the tests' own: made by the API, and found on the page.
import type { Locator, Page } from "@playwright/test";
import { expect, type Server } from "./fixtures";

export const panel = (page: Page, id: string): Locator => page.locator(`[data-panel="${id}"]`);
export const button = (page: Page, name: string): Locator => page.getByRole("button", { name, exact: true });

export interface Document {
  title: string;
  refresh_ms: number;
  time: { last: string };
  variables: unknown[];
  panels: { id: string; title: string; sql: string; kind: string; at: { x: number; y: number; w: number; h: number } }[];
}

export const number = (id: string, sql: string, x: number) => ({ id, title: id, sql, kind: "number", at: { x, y: 0, w: 4, h: 3 } });

export function documentOf(title: string): Document {
  return {
    title,
    refresh_ms: 1000,
    time: { last: "15m" },
    variables: [{ name: "city", label: "City", kind: "list", sql: "SELECT city FROM rides GROUP BY city ORDER BY count(*) DESC LIMIT 10", default: "" }],
    panels: [number("all", "SELECT count(*) AS events FROM rides", 0), number("chosen", "SELECT count(*) AS events FROM rides WHERE $city = '' OR city = $city", 4)],
  };
}

export async function call(server: Server, method: string, id: string, headers: Record<string, string>, body?: unknown): Promise<Response> {
  return await fetch(`${server.url}/dashboards/${id}`, { method, headers: { accept: "application/json", "content-type": "application/json", ...headers }, body: body === undefined ? undefined : JSON.stringify(body) });
}

let made = 0;

/** A dashboard of the test's own. */
export async function make(server: Server, document: Document): Promise<string> {
  const id = `test-${process.pid}-${Date.now()}-${++made}`;
  const answer = await call(server, "PUT", id, { "if-none-match": "*" }, document);
  expect(answer.status, await answer.text()).toBe(201);
  return id;
}

/** A dashboard of the test's own, opened, with its first answers. */
export async function open(page: Page, server: Server, document: Document): Promise<string> {
  const id = await make(server, document);
  await page.goto(`/dashboards/${id}`);
  await expect(panel(page, "all").locator("strong")).toBeVisible();
  return id;
}

/** Gives the dashboard that is being edited another title. */
export async function retitle(page: Page, title: string): Promise<void> {
  await button(page, "Settings").click();
  await page.getByLabel("Title").fill(title);
  await button(page, "Take over").click();
}

/** The statement of the panel that is being written, as somebody writes who marks all and types over it. */
export async function writeSql(page: Page, sql: string): Promise<void> {
  await page.getByLabel("SQL of the panel").click();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.insertText(sql);
}

export const stored = async (server: Server, id: string) => (await (await call(server, "GET", id, {})).json()) as Document;

export const figure = async (where: Locator): Promise<number> => Number((await where.locator("strong").innerText()).replaceAll(",", ""));
