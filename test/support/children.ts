/** Processes that run one of our modules and answer requests, one at a time. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"

export class Child<Requests, Replies extends { readonly [_ in keyof Requests]: unknown }> {
  readonly name: string
  readonly #process: ChildProcess

  private constructor(name: string, process: ChildProcess) {
    this.name = name
    this.#process = process
  }

  /**
   * Runs a module in a new process, and waits for its first message. The process shares the standard error of this one.
   * Its standard output is dropped.
   */
  static async start<Requests, Replies extends { readonly [_ in keyof Requests]: unknown }>(
    name: string,
    module: URL,
    args: ReadonlyArray<string>,
    env: NodeJS.ProcessEnv = {}
  ): Promise<Child<Requests, Replies>> {
    const process_ = fork(module, args, {
      env: { ...process.env, ...env },
      execArgv: [],
      stdio: ["ignore", "ignore", "inherit", "ipc"]
    })
    const child = new Child<Requests, Replies>(name, process_)
    await child.#reply("its start")
    return child
  }

  request<K extends keyof Requests & string>(what: K, input: Requests[K]): Promise<Replies[K]> {
    this.#process.send([what, input])
    return this.#reply(what) as Promise<Replies[K]>
  }

  async #reply(what: string): Promise<unknown> {
    const ended = new AbortController()
    try {
      return await Promise.race([
        once(this.#process, "message", { signal: ended.signal }).then(([reply]) => reply as unknown),
        once(this.#process, "exit", { signal: ended.signal }).then(() => {
          throw new Error(`the process of ${this.name} ended during ${what}`)
        })
      ])
    } finally {
      ended.abort()
    }
  }

  get pid(): number {
    return this.#process.pid!
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }

  /** Ends the process, paused or not, and waits for its exit. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (!this.isRunning) return
    const exit = once(this.#process, "exit")
    this.#process.kill(signal)
    this.#process.kill("SIGCONT")
    await exit
  }
}
