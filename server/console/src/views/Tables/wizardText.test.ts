import { expect, test } from "vitest";
import { nameOf, parseProperties, renamed } from "./wizardText";

test("properties are lines of key=value, secrets are named", () => {
  expect(parseProperties("security.protocol=SASL_SSL\n\n# x\nsasl.password = env:PW\nssl.ca=file:/etc/ca=1")).toEqual({ "security.protocol": "SASL_SSL", "sasl.password": { env: "PW" }, "ssl.ca": { file: "/etc/ca=1" } });
  expect(() => parseProperties("nothing")).toThrow("key=value");
});

test("the name is read and written where it stands", () => {
  const text = "# name: no\nname: \"a b\"  # here\ncolumns:\n  - {name: x}\n";
  expect(nameOf(text)).toBe("a b");
  expect(renamed(text, "rides$2")).toBe("# name: no\nname: \"rides$2\"  # here\ncolumns:\n  - {name: x}\n");
  expect(nameOf(renamed(text, ""))).toBe("");
  expect(renamed("columns: []\n", "t")).toBe("name: t\ncolumns: []\n");
});
