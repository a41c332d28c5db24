import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const stylesIn = (folder: string) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".css"))
    .map((name) => ({ name, css: readFileSync(join(folder, name), "utf8") }));

/** The classes that rules of a stylesheet begin with. */
const classesOf = (css: string) => new Set([...css.replace(/\/\*.*?\*\//gs, "").matchAll(/(?:^|[},])\s*\.([\w-]+)/g)].map(([, name]) => name));

test("no view styles what is another one's: the styles of all that were loaded stay", () => {
  const shared = new Set(stylesIn("src/styles").flatMap(({ css }) => [...classesOf(css)]));
  const owners = new Map<string | undefined, string>();
  for (const { name: file, css } of stylesIn("src/views")) {
    for (const name of classesOf(css)) {
      if (shared.has(name)) continue;
      expect(owners.get(name), `.${name} of ${file}`).toBeUndefined();
      owners.set(name, file);
    }
  }
  expect(owners.size).toBeGreaterThan(50);
});
