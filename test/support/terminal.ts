/** The command line as a person and as a script use it: in a process, with and without a terminal. */
import { type ChildProcess, type ChildProcessByStdio, spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import type { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import { Child } from "./children.ts"
import { until } from "./machine.ts"
import type { Ended, Replies, Requests } from "./shell.ts"

export const BIN = fileURLToPath(new URL("../../src/cli/bin.ts", import.meta.url))

/** Where the circuits are, as flags say it. */
export interface Target {
  readonly url: string
  readonly prefix?: string | undefined
}

const environmentOf = ({ url }: Target, env: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv => {
  const inherited = Object.entries(process.env).map(([name, value]) => [
    name,
    /^(CIRCUIT_BREAKER_|EFFECT_BREAKER_|NO_COLOR|FORCE_COLOR|CI$|VITEST)/.test(name) ? undefined : value
  ])
  return { ...Object.fromEntries(inherited), CIRCUIT_BREAKER_STORAGE: url, EFFECT_BREAKER_ACTOR: "ann", ...env }
}

const argumentsOf = ({ prefix }: Target, args: ReadonlyArray<string>): ReadonlyArray<string> =>
  // Not at the end, where a circuit that begins with a dash may stand.
  prefix === undefined ? args : [args[0]!, "--storage-prefix", prefix, "--deadline", "10m", ...args.slice(1)]

/** Starts a command without a terminal. */
export const spawnCli = (
  target: Target,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {}
): ChildProcessByStdio<null, Readable, Readable> =>
  spawn(process.execPath, [BIN, ...argumentsOf(target, args)], {
    env: environmentOf(target, env),
    stdio: ["ignore", "pipe", "pipe"]
  })

/** Runs a command to its end without a terminal. */
export const cli = async (
  target: Target,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {}
): Promise<Ended> => {
  const child = spawnCli(target, args, env)
  const [stdout, stderr] = [child.stdout, child.stderr].map((stream) => {
    const chunks: Array<Buffer> = []
    stream.on("data", (chunk: Buffer) => chunks.push(chunk))
    return chunks
  })
  const [code] = await once(child, "close") as [number | null]
  return { code, stdout: Buffer.concat(stdout!).toString(), stderr: Buffer.concat(stderr!).toString() }
}

/** A process that runs commands one after another, which takes a fraction of the time of a process for each. */
export class Shell {
  readonly #target: Target
  readonly #child: Child<Requests, Replies>

  private constructor(target: Target, child: Child<Requests, Replies>) {
    this.#target = target
    this.#child = child
  }

  static async start(target: Target): Promise<Shell> {
    const module = new URL("./shell.ts", import.meta.url)
    return new Shell(target, await Child.start<Requests, Replies>("a shell", module, [], environmentOf(target)))
  }

  run(...args: ReadonlyArray<string>): Promise<Ended> {
    return this.#child.request("run", argumentsOf(this.#target, args))
  }

  stop(): Promise<void> {
    return this.#child.stop()
  }
}

const SEQUENCES = new RegExp(`${String.fromCharCode(27)}(?:\\[[0-9;?]*[A-Za-z]|[=>])`, "g")

/** A command in a pseudo-terminal, made by `script` of util-linux. */
export class Pty {
  #output = ""
  readonly #process: ChildProcess
  readonly #ended: Promise<number | null>

  constructor(target: Target, args: ReadonlyArray<string>, { columns = 120, rows = 20 } = {}) {
    const quoted = [process.execPath, BIN, ...argumentsOf(target, args)].map((word) =>
      `'${word.replaceAll("'", "'\\''")}'`
    )
    this.#process = spawn(
      "script",
      ["-qefc", `stty cols ${columns} rows ${rows}; exec ${quoted.join(" ")}`, "/dev/null"],
      { env: environmentOf(target, { TERM: "xterm-256color" }), stdio: ["pipe", "pipe", "inherit"] }
    )
    this.#process.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text
    })
    this.#ended = once(this.#process, "close").then(([code]) => code as number | null)
  }

  /** Everything that was written, with its escape sequences. */
  get output(): string {
    return this.#output
  }

  /** What was written since the screen was last drawn anew, as text. */
  get screen(): string {
    return this.#output.slice(Math.max(0, this.#output.lastIndexOf("\u001b[H"))).replaceAll(SEQUENCES, "")
  }

  type(text: string): void {
    this.#process.stdin!.write(text)
  }

  /** Waits until the screen shows this. */
  async shows(what: RegExp): Promise<void> {
    await until(
      `the screen shows ${what}, not ${JSON.stringify(this.screen)}`,
      () => what.test(this.screen),
      () => this.isRunning
    )
      .catch((error: unknown) => {
        if (!what.test(this.screen)) throw new Error(`the screen is ${JSON.stringify(this.screen)}`, { cause: error })
      })
  }

  /** The process of the command, which is a child of `script`. */
  get pid(): number {
    const { pid } = this.#process
    return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim())
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null
  }

  /** The exit code of the command. */
  async end(): Promise<number | null> {
    return await this.#ended
  }

  stop(): void {
    if (this.isRunning) this.#process.kill()
  }
}
