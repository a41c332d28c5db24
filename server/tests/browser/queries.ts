// The Query view as tests use it: a statement is put into the editor and run, and its answer is looked at.
import type { Page } from "@playwright/test";

export const editor = (page: Page) => page.getByRole("textbox", { name: "SQL" });
export const result = (page: Page) => page.getByRole("region", { name: "Result" });
export const grid = (page: Page) => page.getByRole("grid", { name: "Rows of the answer" });

/** Puts a text into the editor as a paste does. */
export async function write(page: Page, sql: string): Promise<void> {
  await editor(page).click();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.press("Delete");
  await page.keyboard.insertText(sql);
  await page.keyboard.press("Escape");
}

export async function run(page: Page, sql: string): Promise<void> {
  await write(page, sql);
  await page.keyboard.press("ControlOrMeta+Enter");
}
