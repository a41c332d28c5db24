import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const stylesIn = (folder: string) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".css"))
    .map((name) => ({ name, css: readFileSync(join(folder, name), "utf8") }));

const withoutComments = (css: string) => css.replace(/\/\*.*?\*\//gs, "");

/** The classes that rules of a stylesheet begin with. */
const classesOf = (css: string) => new Set([...withoutComments(css).matchAll(/(?:^|[},])\s*\.([\w-]+)/g)].map(([, name]) => name));

/** What the rules of a stylesheet are for, one selector each; steps of an animation are none. */
const selectorsOf = (css: string) =>
  [...withoutComments(css).matchAll(/([^{}]+)\{/g)]
    .map(([, head = ""]) => head.trim())
    .filter((head) => !head.startsWith("@"))
    .flatMap((head) => head.split(/,(?![^(]*\))/))
    .map((selector) => selector.trim())
    .filter((selector) => !/^(from|to|\d+%)$/.test(selector));

const classesIn = (selector: string) => [...selector.matchAll(/\.([a-zA-Z][\w-]*)/g)].map(([, name = ""]) => name);

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

test("no view styles what all views have: its rules name something of its own", () => {
  const shared = new Set(stylesIn("src/styles").flatMap(({ css }) => selectorsOf(css).flatMap(classesIn)));
  const all = stylesIn("src/views").flatMap(({ name, css }) => selectorsOf(css).map((selector) => ({ name, selector })));
  expect(all.length).toBeGreaterThan(100);
  expect(all.filter(({ selector }) => classesIn(selector).every((one) => shared.has(one)))).toEqual([]);
});
