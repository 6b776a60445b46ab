/** Programs that tests start on loopback, each in a directory of its own, and stop by their process id. */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { access, constants, mkdtemp, open, readFile, rm } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { promisify } from "node:util"
import { scaledMillis } from "../machine.ts"

export const run = promisify(execFile)

// Debian keeps servers where a user's shell does not look.
process.env["PATH"] = [process.env["PATH"] ?? "", "/usr/local/sbin", "/usr/sbin", "/sbin"].join(delimiter)

const isInstalled = async (program: string): Promise<boolean> => {
  const candidates = (process.env["PATH"] ?? "").split(delimiter).map((directory) => join(directory, program))
  const found = await Promise.all(candidates.map((file) => access(file, constants.X_OK).then(() => true, () => false)))
  return found.includes(true)
}

/** Installs Debian packages if a program is missing. If that fails, the error says which packages to install. */
export const install = async (programs: ReadonlyArray<string>, packages: ReadonlyArray<string>): Promise<void> => {
  const missing = async () => {
    const found = await Promise.all(programs.map(isInstalled))
    return programs.filter((_, i) => !found[i])
  }
  const lacking = await missing()
  if (lacking.length === 0) return
  let reason = "this is not run as root, or there is no apt-get"
  if (process.getuid?.() === 0 && await isInstalled("apt-get")) {
    // The package must not start its server.
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" }
    const get = (...args: ReadonlyArray<string>) => run("apt-get", ["-q", ...args], { env })
    reason = await get("update")
      .then(() => get("install", "-y", "--no-install-recommends", ...packages))
      .then(() => "the packages do not have them", String)
  }
  const still = await missing()
  if (still.length > 0) {
    throw new Error(
      `These tests need ${still.join(", ")}: install ${
        packages.join(", ")
      }, as in "apt-get install". Tried it: ${reason}`
    )
  }
}

/** A port that is free now. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.on("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => typeof address === "object" && address !== null ? resolve(address.port) : reject())
    })
  })

export const temporaryDirectory = (): Promise<string> => mkdtemp(join(tmpdir(), "effect-breaker-server-"))

const running = new Set<ChildProcess>()
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL")
})

/** A program that runs until a test stops it. */
export class Program {
  readonly directory: string
  readonly #child: ChildProcess

  private constructor(directory: string, child: ChildProcess) {
    this.directory = directory
    this.#child = child
  }

  /** Runs a command in a directory, and writes its output to a file there. */
  static async start(directory: string, command: string, args: ReadonlyArray<string>): Promise<Program> {
    const log = await open(join(directory, "output"), "a")
    const child = spawn(command, args, { cwd: directory, stdio: ["ignore", log.fd, log.fd] })
    running.add(child)
    child.on("exit", () => running.delete(child))
    await once(child, "spawn")
    await log.close()
    return new Program(directory, child)
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Ends the program, and waits for its exit. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (!this.isRunning) return
    const exit = once(this.#child, "exit")
    // A paused program does not handle other signals.
    this.#child.kill("SIGCONT")
    this.#child.kill(signal)
    // Kills only a program that hangs, because a killed database may not have flushed what it committed.
    const hung = setTimeout(() => this.#child.kill("SIGKILL"), scaledMillis(60_000))
    await exit
    clearTimeout(hung)
  }

  output(): Promise<string> {
    return readFile(join(this.directory, "output"), "utf8")
  }

  remove(): Promise<void> {
    return rm(this.directory, { recursive: true, force: true })
  }
}
