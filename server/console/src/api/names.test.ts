import { expect, test } from "vitest";
import { literal, quoted } from "./names";

test("names are quoted where they must be", () => {
  expect(["city", "_a1", "City", "two words", 'a"b', "größe"].map(quoted)).toEqual(["city", "_a1", '"City"', '"two words"', '"a""b"', '"größe"']);
});

test("words of the language are always quoted", () => {
  for (const word of ["from", "interval", "trim", "exists", "not", "current_date", "select", "order"]) expect(quoted(word)).toBe(`"${word}"`);
});

test("texts", () => {
  expect(literal("it's")).toBe("'it''s'");
});
