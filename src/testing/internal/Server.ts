/** The storage that the fleet shares: documents in a map, a clock of its own, and the faults of a server. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { type Document, type DocumentBells, fromDocument } from "../../Storage/Document.ts"
import type { Announcement, Change, CircuitReport, Probe, Storage } from "../../Storage/Storage.ts"
import { StorageError } from "../../Storage/Storage.ts"
import type { World } from "./World.ts"

export type Input = ({ readonly _tag: "Report" } & CircuitReport) | Change | Probe

/** The effect of one operation on one circuit. */
export interface Handled {
  readonly circuit: string
  /** The index of the process that sent it. */
  readonly from: number
  readonly input: Input
  readonly before: Document | undefined
  readonly after: Document | undefined
  /** By the server's clock. */
  readonly now: number
}

type Changed = Extract<Announcement, { readonly _tag: "Changed" }>

const DAY = 24 * 60 * 60 * 1000

export class Server {
  readonly world: World
  readonly storage: Storage
  documents: ReadonlyMap<string, Document> = new Map()
  /** How often the server has lost data that it had acknowledged. */
  losses = 0
  /** Until when the row of a circuit is locked, in the world's time. */
  readonly lockedUntil = new Map<string, number>()
  /** Circuits on a shard that does not answer. */
  readonly unavailable = new Set<string>()
  readonly subscribers = new Set<(announcement: Changed) => void>()
  #handled: (handled: Handled) => void
  #offset = 1.6e12
  #lastRead = -Infinity
  // The documents of a replica at each time, newest last.
  readonly #copies: Array<
    { readonly at: number; readonly documents: ReadonlyMap<string, Document>; readonly epoch: number }
  > = []
  /** How often the data was lost as a whole, which a replica that is behind does not know. */
  #epoch = 0
  #request: { readonly from: number; readonly inputs: ReadonlyMap<string, Input> } | undefined

  constructor(world: World, options: {
    readonly backend?: string
    readonly idleTimeToLive: number
    readonly pushes: boolean
    readonly bells?: boolean
    readonly handled?: (handled: Handled) => void
  }) {
    this.world = world
    this.#handled = options.handled ?? (() => {})
    this.storage = fromDocument({
      backend: options.backend ?? "simulated",
      capabilities: {
        shared: true,
        durable: true,
        pushes: options.pushes,
        history: true,
        fences: true,
        bells: options.bells ?? false
      },
      idleTimeToLive: options.idleTimeToLive,
      modify: (circuit, f) =>
        Effect.suspend(() => {
          if (this.unavailable.has(circuit)) return Effect.fail(unavailable("the shard does not answer"))
          const now = this.now()
          const before = this.documents.get(circuit)
          const [result, after] = f(before, now)
          if (after !== undefined && after !== before) {
            const documents = new Map(this.documents).set(circuit, after)
            this.#keep(documents)
          }
          const input = this.#request?.inputs.get(circuit)
          if (input !== undefined) this.#handled({ circuit, from: this.#request!.from, input, before, after, now })
          return Effect.succeed(result)
        }),
      names: Stream.suspend(() => Stream.fromIterable(this.documents.keys())),
      ...(options.bells === true ? { bells: (since) => Effect.sync(() => this.#bells(since)) } : {}),
      ...(options.pushes ?
        {
          push: {
            announce: (announcement) =>
              Effect.sync(() => {
                for (const subscriber of this.subscribers) subscriber(announcement)
              }),
            changes: Stream.empty
          }
        } :
        {})
    })
  }

  /** The server's clock. No two readings are equal, and only `stepClock` sets it back. */
  now(): number {
    this.#lastRead = Math.max(this.#offset + this.world.now, this.#lastRead + 0.001)
    return this.#lastRead
  }

  stepClock(by: number): void {
    this.#offset += by
    this.#lastRead = -Infinity
    // The storage forgets acknowledged messages (`seen`) while their senders may still repeat them.
    if (by >= Duration.toMillis(this.storage.idleTimeToLive) / 2) this.losses++
  }

  /** Handles one request for all of its circuits, with no other request in between. */
  handle<A>(
    from: number,
    inputs: ReadonlyMap<string, Input>,
    request: Effect.Effect<A, StorageError>
  ): Exit.Exit<A, StorageError> {
    this.#request = { from, inputs }
    const exit = Effect.runSyncExit(request)
    this.#request = undefined
    return exit
  }

  /** How long the lock of any of these circuits lasts. */
  lockedFor(circuits: Iterable<string>): number {
    return Math.max(0, ...[...circuits].map((circuit) => (this.lockedUntil.get(circuit) ?? 0) - this.world.now))
  }

  #bells(since: number | undefined): DocumentBells {
    const now = this.now()
    return {
      epoch: `${this.#epoch}`,
      now,
      lastRungAt: Math.max(0, ...[...this.documents.values()].map(({ rungAt = 0 }) => rungAt)),
      rung: since === undefined || now - since > 60_000
        ? "all"
        : [...this.documents].filter(([, { rungAt = -Infinity }]) => rungAt >= since)
    }
  }

  wipe(): void {
    this.losses++
    this.#epoch++
    this.#keep(new Map())
  }

  /** How many versions of its data a replica may have. */
  get copies(): number {
    return this.#copies.length
  }

  /** A replica takes over that has all but the last change. */
  failoverBeforeLast(): void {
    this.failover(this.world.now - (this.#copies.at(-2)?.at ?? 0))
  }

  /** A replica takes over whose data is so many milliseconds old. */
  failover(behind: number): void {
    const then = this.world.now - behind
    const found = this.#copies.findLast(({ at }) => at <= then)
    const copy = found?.documents ?? new Map()
    this.#epoch = found?.epoch ?? this.#epoch + 1
    if (copy !== this.documents) this.losses++
    this.#keep(copy)
  }

  #keep(documents: ReadonlyMap<string, Document>): void {
    this.documents = documents
    const copies = this.#copies
    if (copies.at(-1)?.at === this.world.now) copies.pop()
    copies.push({ at: this.world.now, documents, epoch: this.#epoch })
    while (copies.length > 1 && copies[1]!.at < this.world.now - DAY) copies.shift()
  }
}

export const unavailable = (cause: string): StorageError =>
  new StorageError({ operation: "simulated", reason: "Unavailable", cause })
