// The texts that the wizard works on.

/** Lines of key=value as properties; env:NAME and file:PATH are where the server reads a value. */
export function parseProperties(text: string): Record<string, unknown> {
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#"));
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.indexOf("=");
      if (at < 1) throw new Error(`Property ${line}: write it as key=value.`);
      const value = line.slice(at + 1).trim();
      const place = /^(env|file):(.+)$/.exec(value);
      return [line.slice(0, at).trim(), place ? { [place[1] ?? ""]: place[2] } : value];
    }),
  );
}

const NAME = /^name:[ \t]*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s#]*))/m;

/** The name that a spec gives its table. */
export function nameOf(text: string): string {
  const found = NAME.exec(text);
  return found?.[1] ?? found?.[2] ?? found?.[3] ?? "";
}

/** The spec with another name; where it has none, the name becomes its first line. */
export function renamed(text: string, name: string): string {
  const plain = /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name);
  return NAME.test(text) ? text.replace(NAME, () => `name: ${plain}`) : `name: ${plain}\n${text}`;
}

export const template = (brokers: string[], topic: string) => `name: ${topic.replaceAll(/\W/g, "_") || "events"}
columns:
  - {name: event_time, type: TIMESTAMP(3)}
  - {name: message, type: JSON, path: $}
time_column: event_time
stream:
  brokers: ${JSON.stringify(brokers.length > 0 ? brokers : ["localhost:9092"])}
  topic: ${JSON.stringify(topic || "events")}
`;
