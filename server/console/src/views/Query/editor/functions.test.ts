import { expect, test } from "vitest";
import { type Listed, withListed } from "./functions";
import type { FunctionWord } from "./words";

const listed = (function_name: string, more: Partial<Listed> = {}): Listed => ({ function_name, function_type: "SCALAR", parameters: null, description: null, syntax_example: null, ...more });

test("what the server lists is added to what is known, each name once", () => {
  const known: FunctionWord[] = [{ name: "abs", arguments: "x", kind: "scalar", about: "without its sign" }];
  const all = withListed(known, [
    listed("abs", { description: "Another text" }),
    listed("chr", { syntax_example: "chr(expression)", description: "Returns the character with a code. And more." }),
    listed("chr", { syntax_example: "chr(other)" }),
    listed("approx", { function_type: "AGGREGATE", parameters: ["a", "b"] }),
    listed("odd", { function_type: "NEW" }),
    listed("+"),
  ]);
  expect(all).toEqual([
    known[0],
    { name: "chr", arguments: "expression", kind: "scalar", about: "Returns the character with a code" },
    { name: "approx", arguments: "a, b", kind: "aggregate", about: "" },
    { name: "odd", arguments: "", kind: "scalar", about: "" },
  ]);
});
