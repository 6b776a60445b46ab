/** A process of a contender, as the benchmark speaks to it. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import type { Replies, Requests } from "./worker.ts"

export class Contender {
  readonly name: string
  readonly #child: ChildProcess

  private constructor(name: string, child: ChildProcess) {
    this.name = name
    this.#child = child
  }

  static async start(name: string, url: string): Promise<Contender> {
    const child = fork(new URL("./worker.ts", import.meta.url), [name, url], {
      stdio: ["ignore", "ignore", "inherit", "ipc"]
    })
    const contender = new Contender(name, child)
    await contender.#reply("its start")
    return contender
  }

  ask<K extends keyof Requests>(what: K, request: Requests[K]): Promise<Replies[K]> {
    this.#child.send([what, request])
    return this.#reply(what) as Promise<Replies[K]>
  }

  async #reply(what: string): Promise<unknown> {
    const ended = new AbortController()
    try {
      return await Promise.race([
        once(this.#child, "message", { signal: ended.signal }).then(([reply]) => reply as unknown),
        once(this.#child, "exit", { signal: ended.signal }).then(() => {
          throw new Error(`the process of ${this.name} ended during ${what}`)
        })
      ])
    } finally {
      ended.abort()
    }
  }

  stop(): void {
    this.#child.kill()
  }
}

/** Processes for as long as something is measured with them. */
export const withContenders = async <A>(
  starts: ReadonlyArray<readonly [name: string, url: string]>,
  use: (contenders: ReadonlyArray<Contender>) => Promise<A>
): Promise<A> => {
  const contenders: Array<Contender> = []
  try {
    for (const [name, url] of starts) contenders.push(await Contender.start(name, url))
    return await use(contenders)
  } finally {
    for (const contender of contenders) contender.stop()
  }
}
