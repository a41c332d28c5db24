import { afterEach, expect, test, vi } from "vitest";
import { type Listed, loadFunctions, withListed } from "./functions";
import { FUNCTIONS, type FunctionWord } from "./words";

const listed = (function_name: string, more: Partial<Listed> = {}): Listed => ({ function_name, function_type: "SCALAR", parameters: null, description: null, syntax_example: null, ...more });

test("what the server lists counts, and what it does not list is what the editor knows", () => {
  const known: FunctionWord[] = [
    { name: "abs", arguments: "x", kind: "scalar", about: "" },
    { name: "range", arguments: "start, stop", kind: "table", about: "" },
  ];
  const all = withListed(known, [
    listed("ABS", { description: "Without its sign.", syntax_example: "abs(number)" }),
    listed("chr", { parameters: ["a"] }),
    listed("chr", { syntax_example: "chr(expression)", description: "Returns the character\nwith a code. And more.\n\nA second part" }),
    listed("chr", { syntax_example: "chr(other)", description: "Another text" }),
    listed("approx", { function_type: "AGGREGATE", parameters: ["a", "b"] }),
    listed("range", { function_type: "TABLE" }),
    listed("range", { parameters: ["start"], description: "Like [`seq`](https://example.org/seq)" }),
    listed("odd", { function_type: "NEW" }),
    listed("+"),
  ]);
  expect(all).toEqual([
    { name: "ABS", arguments: "number", kind: "scalar", about: "Without its sign." },
    { name: "chr", arguments: "expression", kind: "scalar", about: "Returns the character with a code. And more." },
    { name: "approx", arguments: "a, b", kind: "aggregate", about: "" },
    known[1],
    { name: "range", arguments: "start", kind: "scalar", about: "Like seq" },
    { name: "odd", arguments: "", kind: "scalar", about: "" },
  ]);
});

test("a signature is what stands between the brackets of the example, and is not long", () => {
  const given = (syntax_example: string) => withListed([], [listed("f", { syntax_example })])[0]?.arguments;
  expect(given("f(array, x -> x > (1 + 2)) WITHIN GROUP (ORDER BY y)")).toBe("array, x -> x > (1 + 2)");
  expect(given("f(key, value)\nf(key: value)")).toBe("key, value");
  expect(given("f()")).toBe("");
  expect(given("f")).toBe("");
  expect(given("f(broken")).toBe("");
  expect(given(`f(${"a, ".repeat(99)})`)).toHaveLength(60);
});

test("the functions that the editor knows are named once", () => {
  expect(FUNCTIONS.length).toBeGreaterThan(20);
  expect(withListed(FUNCTIONS, [])).toEqual(FUNCTIONS);
});

afterEach(() => vi.unstubAllGlobals());

test("the server is asked once, and again only if it did not answer", async () => {
  const columns = ["function_name", "function_type", "parameters", "description", "syntax_example"].map((name) => ({ name, type: "STRING" }));
  const fetch = vi.fn(async (path: string) => {
    if (path !== "/sql") return new Response("ok");
    if (fetch.mock.calls.filter(([called]) => called === "/sql").length === 1) return new Response('{"error":{"kind":"overloaded","message":"busy"}}', { status: 503 });
    return new Response(JSON.stringify({ columns, rows: [["levenshtein", "SCALAR", ["a", "b"], "How far apart two texts are", "levenshtein(a, b)"]] }));
  });
  vi.stubGlobal("fetch", fetch);
  await expect(loadFunctions()).rejects.toThrow("busy");
  const [first] = await loadFunctions();
  expect(first).toEqual({ name: "levenshtein", arguments: "a, b", kind: "scalar", about: "How far apart two texts are" });
  expect(await loadFunctions()).toBe(await loadFunctions());
  expect(fetch).toHaveBeenCalledTimes(2);
});
