/** Processes that share circuits on one storage and call one upstream. */
import { rm } from "node:fs/promises"
import { join } from "node:path"
import type { Breaker } from "../../src/index.ts"
import { Child } from "../support/children.ts"
import { install, temporaryDirectory } from "../support/servers/processes.ts"
import { type Entry, epochMillis, readLog } from "./log.ts"
import { Upstream } from "./upstream.ts"
import type { Replies, Requests, Setup } from "./worker.ts"

export interface Plan {
  readonly storage: Setup["storage"]
  readonly policies: Readonly<Record<string, Breaker.Data>>
}

export class Process {
  readonly index: number
  readonly #child: Child<Requests, Replies>
  readonly #log: string
  isPaused = false

  constructor(index: number, child: Child<Requests, Replies>, log: string) {
    this.index = index
    this.#child = child
    this.#log = log
  }

  request<K extends keyof Requests>(what: K, input: Requests[K]): Promise<Replies[K]> {
    return this.#child.request(what, input)
  }

  get isRunning(): boolean {
    return this.#child.isRunning
  }

  pause(): void {
    this.isPaused = true
    this.#child.signal("SIGSTOP")
  }

  resume(): void {
    this.isPaused = false
    this.#child.signal("SIGCONT")
  }

  kill(): Promise<void> {
    return this.#child.stop("SIGKILL")
  }

  async stop(): Promise<void> {
    await this.request("stop", {})
    await this.#child.stop()
  }

  read(): ReadonlyArray<Entry> {
    return readLog(this.#log)
  }
}

const HOUR = 3_600_000

/** Environment variables that set a process's wall clock `hours` ahead, and leave its monotonic clock alone. */
const skewed = async (hours: number): Promise<Readonly<Record<string, string>>> => {
  if (hours === 0) return {}
  await install(["faketime"], ["faketime"])
  return {
    // These are the variables that Debian's `faketime` sets. The command itself leaves a semaphore behind.
    LD_PRELOAD: "/usr/$LIB/faketime/libfaketime.so.1",
    FAKETIME: `${hours < 0 ? "" : "+"}${hours}h`,
    DONT_FAKE_MONOTONIC: "1"
  }
}

export class Fleet {
  readonly processes: Array<Process> = []
  readonly upstream: Upstream
  readonly #plan: Plan
  readonly #directory: string

  private constructor(plan: Plan, upstream: Upstream, directory: string) {
    this.#plan = plan
    this.upstream = upstream
    this.#directory = directory
  }

  static async of(plan: Plan): Promise<Fleet> {
    return new Fleet(plan, await Upstream.start(), await temporaryDirectory())
  }

  /** Starts a process whose wall clock is `hours` ahead. */
  async start(hours = 0, worker = new URL("./worker.ts", import.meta.url)): Promise<Process> {
    const index = this.processes.length
    const log = join(this.#directory, `${index}.log`)
    const { policies, storage } = this.#plan
    const setup: Setup = { log, storage, policies, upstream: this.upstream.url, epoch: epochMillis() }
    const env = { NODE_COMPILE_CACHE: this.#directory, ...await skewed(hours) }
    const child = await Child.start<Requests, Replies>(`${index}`, worker, [JSON.stringify(setup)], env)
    const process = new Process(index, child, log)
    this.processes.push(process)
    const [started] = process.read()
    if (started?.is !== "started" || Math.abs(started.skew - hours * HOUR) > HOUR / 60) {
      throw new Error(`the wall clock of process ${index} is not ${hours} hours ahead`)
    }
    return process
  }

  get running(): ReadonlyArray<Process> {
    return this.processes.filter(({ isRunning }) => isRunning)
  }

  async stop(): Promise<void> {
    await Promise.all(this.processes.map((process) => process.kill()))
    await this.upstream.stop()
    await rm(this.#directory, { recursive: true, force: true })
  }
}
