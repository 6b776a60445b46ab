/**
 * The breakers that live in a process. They register where they are made, and are removed when their scope closes.
 *
 * The entries are typed loosely here, because the types of breakers are the public module's.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Event, Snapshot } from "../Event.ts"
import type { Policy } from "../Policy.ts"
import type { Circuit } from "./Circuit.ts"
import type { Shared } from "./Shared.ts"

/** A breaker as it was made. */
export interface Made {
  readonly isKeyed: boolean
  readonly shared: Shared
  readonly backend: string
  readonly inForce: { readonly policy: Policy; readonly fingerprint: string }
  /** Whether calls for which no mode of enforcement is provided run without it. */
  readonly bypasses: boolean
  readonly circuits: {
    readonly find: (name: string) => Circuit | undefined
    readonly all: () => Iterable<Circuit>
  }
}

export interface Entry {
  readonly name: string
  readonly isKeyed: boolean
  readonly made: Made
  readonly backend: string
  readonly policy: Effect.Effect<Policy>
  readonly fingerprint: Effect.Effect<string>
  readonly drift: Effect.Effect<Option.Option<string>>
  readonly breaker: unknown
  readonly snapshots: (
    options?: { readonly prefix?: string | undefined; readonly limit?: number | undefined }
  ) => Effect.Effect<ReadonlyArray<Snapshot>>
  /** The circuits that are not closed, or have an override: how many, and the snapshots of the first `limit`. */
  readonly notClosed: (limit: number) => Effect.Effect<{
    readonly circuits: number
    readonly notClosed: number
    readonly snapshots: ReadonlyArray<Snapshot>
  }>
  /** The breaker of the circuit of this name, if there is one. */
  readonly find: (circuit: string) => unknown
  readonly events: Stream.Stream<Event>
}

export interface Change {
  readonly _tag: "Added" | "Removed"
  readonly entry: Entry
}

export class Registered {
  readonly #entries = new Set<Entry>()
  readonly #listeners = new Set<Queue.Queue<Change>>()
  readonly #followers = new Set<(change: Change) => void>()

  /** Adds a breaker for as long as the scope is open. */
  add(entry: Entry): Effect.Effect<void, never, Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => {
        this.#entries.add(entry)
        this.#publish({ _tag: "Added", entry })
      }),
      () =>
        Effect.sync(() => {
          this.#entries.delete(entry)
          this.#publish({ _tag: "Removed", entry })
        })
    )
  }

  #publish(change: Change): void {
    for (const listener of this.#listeners) Queue.offerUnsafe(listener, change)
    for (const follower of this.#followers) follower(change)
  }

  /**
   * Calls `f` with all breakers that are there, and from then on in the very moment in which one comes or goes. Returns how to end
   * it.
   */
  follow(f: (change: Change) => void): () => void {
    for (const entry of this.#sorted()) f({ _tag: "Added", entry })
    this.#followers.add(f)
    return () => this.#followers.delete(f)
  }

  #sorted(): ReadonlyArray<Entry> {
    return [...this.#entries].sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
  }

  readonly breakers: Effect.Effect<ReadonlyArray<Entry>> = Effect.sync(() => this.#sorted())

  readonly find = (circuit: string): Effect.Effect<Option.Option<unknown>> =>
    Effect.sync(() => {
      for (const entry of this.#entries) {
        const found = entry.find(circuit)
        if (found !== undefined) return Option.some(found)
      }
      return Option.none()
    })

  readonly snapshots: Effect.Effect<ReadonlyArray<Snapshot>> = Effect.flatMap(
    this.breakers,
    (entries) => Effect.map(Effect.forEach(entries, ({ snapshots }) => snapshots()), (all) => all.flat())
  )

  /** Which breakers came and went, from now on. */
  readonly changes: Stream.Stream<Change> = Stream.unwrap(
    Effect.map(this.#listening, (queue) => Stream.fromQueue(queue))
  )

  /** The events of all breakers, also of those that are made later. */
  readonly events: Stream.Stream<Event> = Stream.unwrap(Effect.map(this.#listening, (queue) => {
    const current = this.#sorted().map((entry): Change => ({ _tag: "Added", entry }))
    return Stream.concat(Stream.fromIterable(current), Stream.fromQueue(queue)).pipe(
      Stream.filter(({ _tag }) => _tag === "Added"),
      Stream.flatMap(({ entry }) => Stream.interruptWhen(entry.events, this.#removed(entry)), {
        concurrency: "unbounded"
      })
    )
  }))

  get #listening() {
    return Effect.acquireRelease(
      Effect.map(Queue.unbounded<Change>(), (queue) => {
        this.#listeners.add(queue)
        return queue
      }),
      (queue) => Effect.sync(() => this.#listeners.delete(queue))
    )
  }

  #removed(entry: Entry): Effect.Effect<void> {
    return this.changes.pipe(
      Stream.filter((change) => change._tag === "Removed" && change.entry === entry),
      Stream.take(1),
      Stream.runDrain
    )
  }
}

const ofProcess = new Registered()

/** The registry of the context: one for the process, unless another is provided. */
export const CurrentRegistry: Context.Reference<Registered> = Context.Reference<Registered>("effect-breaker/Registry", {
  defaultValue: () => ofProcess
})

/** The entry of a breaker that was made. */
export const entryOf = (
  made: Made,
  breaker: unknown,
  handle: (circuit: Circuit) => unknown
): Entry => {
  const { backend, circuits, inForce, isKeyed, shared } = made
  return {
    name: shared.name,
    isKeyed,
    made,
    backend,
    policy: Effect.sync(() => inForce.policy),
    fingerprint: Effect.sync(() => inForce.fingerprint),
    drift: Effect.sync(() => {
      for (const { fleet } of circuits.all()) if (fleet?.drift !== undefined) return Option.some(fleet.drift)
      return Option.none()
    }),
    breaker,
    snapshots: ({ limit = Infinity, prefix = "" } = {}) =>
      Effect.sync(() => {
        const now = shared.ticker.exact()
        const snapshots: Array<Snapshot> = []
        for (const circuit of circuits.all()) {
          if (snapshots.length >= limit) break
          if (circuit.name.startsWith(prefix)) snapshots.push(circuit.snapshot(now))
        }
        return snapshots
      }),
    notClosed: (limit) =>
      Effect.sync(() => {
        const now = shared.ticker.exact()
        const snapshots: Array<Snapshot> = []
        let count = 0
        let notClosed = 0
        for (const circuit of circuits.all()) {
          count++
          if (circuit.isClosed()) continue
          notClosed++
          if (snapshots.length < limit) snapshots.push(circuit.snapshot(now))
        }
        return { circuits: count, notClosed, snapshots }
      }),
    find: (name) => {
      const circuit = circuits.find(name)
      return circuit === undefined ? undefined : handle(circuit)
    },
    events: shared.hub.events
  }
}
