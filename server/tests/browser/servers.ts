// Real servers for the tests: `headwater demo`, and `headwater start` with the settings and users of a test's own.
//
// Each is a process of HEADWATER_BINARY on a free port of loopback, with its data in a directory that goes away with it.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const START_WAIT_MS = 60_000;
export const STOP_WAIT_MS = 20_000;
const LOG_CHARACTERS_MAX = 4000;
const FLOW_LOOK_MS = 300;

/** What a test needs of a server, whoever has started it. */
export interface Server {
  url: string;
  /** Whether stop() and start() are possible. */
  own: boolean;
  stop(): Promise<void>;
  start(): Promise<void>;
}

export interface User {
  name: string;
  password: string;
  role: "administrator" | "reader";
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Below the ports that Linux gives to whoever connects: nobody gets one by chance before, or between, the servers that it is for. */
const [PORT_MIN, PORT_MAX] = [10_000, 28_000];
const givenPorts = new Set<number>();

const isFree = (port: number) =>
  new Promise<boolean>((resolve) => {
    const listener = createServer();
    listener.once("error", () => resolve(false));
    listener.listen(port, "127.0.0.1", () => listener.close(() => resolve(true)));
  });

/** A port that nobody has, and that is given to nobody else in this run. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    if (givenPorts.has(port)) continue;
    givenPorts.add(port);
    if (await isFree(port)) return port;
  }
}

/** Basic, for a server that asks who one is. */
export const authorization = ({ name, password }: User) => `Basic ${btoa(`${name}:${password}`)}`;

export async function query(url: string, sql: string, as?: User): Promise<unknown[][]> {
  const headers = { "content-type": "application/json", ...(as && { authorization: authorization(as) }) };
  const response = await fetch(`${url}/sql`, { method: "POST", headers, body: JSON.stringify({ sql }) });
  const answer = (await response.json()) as { rows: unknown[][]; error?: { message: string } };
  if (answer.error) throw new Error(answer.error.message);
  return answer.rows;
}

function binary(): string {
  const path = process.env.HEADWATER_BINARY;
  if (!path) throw new Error("set HEADWATER_BINARY to the binary to test (or run .ci/browser)");
  return path;
}

/** Without the settings of the machine that the tests run on. */
const environment = () => Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("HEADWATER_")));

/** A process of the binary; it can be stopped and started again, with the same data at the same address. */
class Process implements Server {
  readonly own = true;
  private child: ChildProcess | null = null;
  constructor(
    readonly url: string,
    private readonly flags: string[],
    private readonly isUp: (url: string) => Promise<boolean>,
  ) {}

  async start(): Promise<void> {
    const child = spawn(binary(), this.flags, { stdio: ["ignore", "ignore", "pipe"], env: environment() });
    let said = "";
    child.stderr?.on("data", (part: Buffer) => {
      said = (said + part.toString()).slice(-LOG_CHARACTERS_MAX);
    });
    this.child = child;
    const deadline = Date.now() + START_WAIT_MS;
    while (Date.now() < deadline) {
      if (child.exitCode !== null) throw new Error(`headwater ${this.flags[0]} ended with ${child.exitCode}: ${said}`);
      // Not there yet, if it fails.
      if (await this.isUp(this.url).catch(() => false)) return;
      await sleep(100);
    }
    throw new Error(`headwater ${this.flags[0]} was not up after ${START_WAIT_MS} ms: ${said}`);
  }

  async stop(): Promise<void> {
    const child = this.child;
    this.child = null;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGINT");
    await Promise.race([ended, sleep(STOP_WAIT_MS)]);
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await ended;
    }
  }
}

/** Starts what `make` makes of a new directory, which `end` deletes after it has stopped the processes. */
async function inDirectory<P extends Server[]>(make: (directory: string) => Promise<P>): Promise<{ processes: P; directory: string; end(): Promise<void> }> {
  const directory = await mkdtemp(join(tmpdir(), "headwater-browser-"));
  let made: Server[] = [];
  const end = async () => {
    await Promise.all(made.map((one) => one.stop()));
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const processes = await make(directory);
    made = processes;
    await Promise.all(processes.map((one) => one.start()));
    return { processes, directory, end };
  } catch (error) {
    await end();
    throw error;
  }
}

export async function startDemo(): Promise<{ server: Server; end(): Promise<void> }> {
  const listen = `127.0.0.1:${await freePort()}`;
  // Rows of an earlier run are there at once; its table reads the new topic as soon as there are more of them.
  const flows = async (url: string) => {
    const rows = async () => Number((await query(url, "SELECT count(*) FROM rides"))[0]?.[0]);
    const before = await rows();
    await sleep(FLOW_LOOK_MS);
    return (await rows()) > before;
  };
  const { processes, end } = await inDirectory(async (data) => [new Process(`http://${listen}`, ["demo", "--listen", listen, "--data", data, "--rate", "2000"], flows)]);
  return { server: processes[0] as Server, end };
}

const answers = async (url: string) => (await fetch(`${url}/readyz`)).ok;

const usersFile = (users: User[], hashes: Map<string, string>) =>
  users.map(({ name, password, role }) => `[[users]]\nname = "${name}"\npassword_hash = "${hashes.get(password)}"\nrole = "${role}"\n`).join("\n");

/** A server that wants to know who one is. */
export interface Guarded {
  url: string;
  /** Gives the users other passwords: it takes the server some seconds, and ends the sessions of those who have another one now. */
  setUsers(users: User[]): Promise<void>;
  end(): Promise<void>;
}

export async function startGuarded(users: User[]): Promise<Guarded> {
  const listen = `127.0.0.1:${await freePort()}`;
  const hashes = new Map<string, string>();
  const write = async (directory: string, all: User[]) => {
    for (const { password } of all) {
      if (!hashes.has(password)) hashes.set(password, execFileSync(binary(), ["access", "hash-password"], { input: `${password}\n`, encoding: "utf8", env: environment() }).trim());
    }
    // All of it at once: half of the file is a list of users, too.
    const file = join(directory, "users.toml");
    await writeFile(`${file}.new`, usersFile(all, hashes));
    await rename(`${file}.new`, file);
  };
  const { processes, directory, end } = await inDirectory(async (made) => {
    await write(made, users);
    return [new Process(`http://${listen}`, ["start", "--listen", listen, "--store", `file://${made}/store`, "--set", `access.file=${made}/users.toml`], answers)];
  });
  return { url: (processes[0] as Server).url, setUsers: (all) => write(directory, all), end };
}

/** A broker and a data node over one store; queries that take 250 ms are slow ones. */
export async function startCluster(): Promise<{ url: string; end(): Promise<void> }> {
  const seed = `127.0.0.1:${await freePort()}`;
  const { processes, end } = await inDirectory(async (directory) => {
    const node = async (role: "broker" | "data", gossip: string) => {
      const listen = `127.0.0.1:${await freePort()}`;
      const settings = { role, node_id: `${role}-1`, listen: `127.0.0.1:${await freePort()}`, gossip_listen: gossip, seeds: seed };
      const flags = Object.entries(settings).flatMap(([name, value]) => ["--set", `cluster.${name}=${value}`]);
      return new Process(`http://${listen}`, ["start", "--listen", listen, "--store", `file://${directory}/store`, "--set", "query.slow_ms=250", ...flags], answers);
    };
    return [await node("broker", seed), await node("data", `127.0.0.1:${await freePort()}`)];
  });
  return { url: (processes[0] as Server).url, end };
}

/** The table `rides` as `from` has it, on another server that reads the same topic; there are rows in it. */
export async function copyRides(from: string, to: string, as?: User): Promise<void> {
  const { table } = (await (await fetch(`${from}/tables/rides`, { headers: { accept: "application/json" } })).json()) as { table: { spec: unknown } };
  const headers = { "content-type": "application/json", ...(as && { authorization: authorization(as) }) };
  const made = await fetch(`${to}/tables/rides`, { method: "PUT", headers, body: JSON.stringify(table.spec) });
  if (!made.ok) throw new Error(`the table was not made: ${await made.text()}`);
  const deadline = Date.now() + START_WAIT_MS;
  while (Date.now() < deadline) {
    const rows = await query(to, "SELECT count(*) FROM rides", as).catch(() => []);
    if (Number(rows[0]?.[0] ?? 0) > 0) return;
    await sleep(200);
  }
  throw new Error(`${to} had no rows after ${START_WAIT_MS} ms`);
}
