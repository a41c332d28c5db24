import { expect, test } from "vitest";
import { kindOf } from "./sqlTypes";

test("what the types of columns are", () => {
  const kinds = { number: ["INT", "INTEGER", "LONG", "UNSIGNED LONG", "FLOAT", "DOUBLE", "DECIMAL(12,2)"], time: ["TIMESTAMP(3)", "DATE"], text: ["STRING", "INTERVAL", "TIME", "JSON", "UUID"], boolean: ["BOOLEAN"], other: ["BYTES", "ARRAY<INT>", "MAP", "STRUCT", "NULL", "DURATION"] };
  for (const [kind, types] of Object.entries(kinds)) for (const type of types) expect([type, kindOf(type)]).toEqual([type, kind]);
});
