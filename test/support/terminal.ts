/** The command line as a person and as a script use it: in a process of its own, with and without a terminal. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { until } from "./machine.ts"

export const BIN = fileURLToPath(new URL("../../src/cli/bin.ts", import.meta.url))

/** Where the circuits are, as flags say it. */
export interface Target {
  readonly url: string
  readonly prefix?: string | undefined
}

const environmentOf = ({ url }: Target, env: Readonly<Record<string, string>>): NodeJS.ProcessEnv => {
  const inherited = Object.fromEntries(
    Object.entries(process.env).filter(([name]) =>
      !/^(CIRCUIT_BREAKER_|EFFECT_BREAKER_|NO_COLOR|FORCE_COLOR|CI$|VITEST)/.test(name)
    )
  )
  return { ...inherited, CIRCUIT_BREAKER_STORAGE: url, EFFECT_BREAKER_ACTOR: "ann", ...env }
}

const argumentsOf = ({ prefix }: Target, args: ReadonlyArray<string>): ReadonlyArray<string> =>
  // Not at the end, where a circuit that begins with a dash may stand.
  prefix === undefined ? args : [args[0]!, "--storage-prefix", prefix, "--deadline", "10m", ...args.slice(1)]

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command to its end without a terminal. */
export const cli = async (
  target: Target,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {}
): Promise<Ended> => {
  const child = spawn(process.execPath, [BIN, ...argumentsOf(target, args)], {
    env: environmentOf(target, env),
    stdio: ["ignore", "pipe", "pipe"]
  })
  const [stdout, stderr] = [child.stdout, child.stderr].map((stream) => {
    const chunks: Array<Buffer> = []
    stream.on("data", (chunk: Buffer) => chunks.push(chunk))
    return chunks
  })
  const [code] = await once(child, "close") as [number | null]
  return { code, stdout: Buffer.concat(stdout!).toString(), stderr: Buffer.concat(stderr!).toString() }
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
      { env: { ...environmentOf(target, { TERM: "xterm-256color" }) }, stdio: ["pipe", "pipe", "inherit"] }
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
