/**
 * The circuits of a storage, for operators: to list, read, follow and change them, without breakers. Command lines, dashboards and an
 * application's own admin routes are made of it.
 *
 * **Details**
 *
 * - Reading writes nothing: no record is created, no state moves, and no permit is taken.
 * - An act holds for the whole fleet. Instances adopt it with the next push, or with their next report.
 * - An act is refused with `Denied` for a circuit that has no record, because its name is probably misspelt. `create` lets an
 *   override precede the first call.
 * - An act is one request that takes effect once. After `Unavailable` or `Deadline` it may have taken effect: read the circuit, or
 *   repeat the act.
 *
 * **Gotchas**
 *
 * - A storage knows circuits and no policies. A circuit's `fingerprint` tells which policy last changed its state, and nothing about
 *   the policies of instances that have not.
 * - An open circuit whose time is over reads as `Open` with nothing remaining, until a call asks for a probe.
 * - A storage in memory has the circuits of its own process alone.
 *
 * **Example** (Forcing a circuit open while its server moves)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Breaker, Storage } from "effect-breaker"
 * import * as Operator from "effect-breaker/Operator"
 *
 * class Payments extends Breaker.Service<Payments>()("payments", {}) {}
 *
 * const program = Effect.gen(function*() {
 *   yield* Payments.wrap(Effect.succeed("charged"))
 *   const operator = yield* Operator.Operator
 *   const { before, after } = yield* operator.override("payments", {
 *     mode: "ForcedOpen",
 *     reason: "the server moves",
 *     actor: "ann",
 *     expiresIn: "10 minutes",
 *     create: true
 *   })
 *   return [before.snapshot.override?.kind, after.snapshot.override?.kind]
 * }).pipe(
 *   Effect.provide(Layer.merge(Payments.layer, Operator.layer())),
 *   Effect.provide(Storage.MemoryStorageLive)
 * )
 *
 * await Effect.runPromise(program) // => [undefined, "ForcedOpen"]
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { noDelta } from "./core/Delta.ts"
import { isBlank } from "./core/Record.ts"
import { isReserved, RESERVED_PREFIX } from "./core/Reserved.ts"
import type { OverrideMode } from "./Event.ts"
import { isSnapshot } from "./internal/Answers.ts"
import { CIRCUITS_PER_REQUEST } from "./internal/Bounds.ts"
import { countIn, durationIn, oneOf, refuse } from "./internal/Check.ts"
import { monotonicMillis } from "./internal/Clock.ts"
import { makeFork } from "./internal/Fork.ts"
import { randomId } from "./internal/Ids.ts"
import { actProblems, overrideProblems } from "./internal/OperatorInput.ts"
import { Requests } from "./internal/Request.ts"
import { failure, isUnreachable } from "./internal/StorageErrors.ts"
import {
  type Capabilities,
  type CircuitReport,
  type HistoryEntry,
  type OperationTo,
  type Snapshot,
  Storage,
  type StorageError,
  type Synced,
  type Why
} from "./Storage/Storage.ts"

/**
 * A circuit as its storage shows it at one moment.
 *
 * @category models
 * @since 0.1.0
 */
export interface Circuit {
  readonly circuit: string
  readonly snapshot: Snapshot
}

/**
 * A circuit, or why it could not be read. One that cannot be read does not fail the others.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly circuit: string
  readonly result: Result.Result<Snapshot, StorageError>
}

/**
 * A limit of a list: a state, or the mode of an override in force.
 *
 * @category models
 * @since 0.1.0
 */
export type StateFilter = Snapshot["state"]["_tag"] | OverrideMode

/**
 * Which circuits are listed.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListOptions {
  /** Only circuits whose names begin with it. A keyed breaker's begin with its name and `/`. Default: all. */
  readonly prefix?: string | undefined
  /**
   * Only circuits in one of these states, or under one of these overrides, and those that cannot be read. Default: all. A circuit
   * under an override is in a state as well.
   */
  readonly states?: ReadonlyArray<StateFilter> | undefined
}

/**
 * The person who acts, and the reason. Both are one line without control characters, of at most 200 and 1,000 characters.
 * Anything else is refused at once with a `RangeError`, before a request is sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface ActOptions {
  readonly actor: string
  /** Default: a few words that say what was done. */
  readonly reason?: string | undefined
}

/**
 * An override to set. What makes no sense is refused at once with a `RangeError`.
 *
 * @category models
 * @since 0.1.0
 */
export interface OverrideOptions {
  readonly mode: OverrideMode
  /** Why, on one line of at most 1,000 characters. */
  readonly reason: string
  /** Who sets it, on one line of at most 200 characters. */
  readonly actor: string
  /** For how long, from a millisecond to a year. Default: until it is cleared. */
  readonly expiresIn?: Duration.Input | undefined
  /** Whether the override is set where the circuit has no record, too, which creates one. Default `false`. */
  readonly create?: boolean | undefined
}

/**
 * The result of an act: the circuit before and after it. `done` is `false` where there was nothing to do, as when an override is
 * cleared that is not there; then nothing was written.
 *
 * **Gotchas**
 *
 * `before` is read before the act, so another change may lie between the two.
 *
 * @category models
 * @since 0.1.0
 */
export interface Acted {
  readonly done: boolean
  readonly before: Circuit
  readonly after: Circuit
}

/**
 * Which circuits are watched, and how often they are read.
 *
 * @category models
 * @since 0.1.0
 */
export interface WatchOptions {
  /** Only circuits whose names begin with it. Default: all. */
  readonly prefix?: string | undefined
  /**
   * How often all circuits are read anew, from 10 ms to an hour. Default 1 second where the storage does not push changes; else 10
   * seconds, because counts and expired overrides are not pushed. Where the reading takes longer than a quarter of it, the interval is
   * four times as long as the reading.
   */
  readonly every?: Duration.Input | undefined
}

/**
 * An item of a watch.
 *
 * - `Listed`: all circuits. It comes first, again after each interval, and at once when changes may have been missed. A circuit that
 *   is not in it is forgotten.
 * - `Changed`: these circuits have changed, and are read anew. Changes that follow each other within 100 ms come together.
 * - `Unavailable`: the storage did not answer. The watch goes on, and a `Listed` follows when it answers again.
 *
 * @category models
 * @since 0.1.0
 */
export type Watched =
  | { readonly _tag: "Listed"; readonly entries: ReadonlyArray<Entry> }
  | { readonly _tag: "Changed"; readonly entries: ReadonlyArray<Entry> }
  | { readonly _tag: "Unavailable"; readonly error: StorageError }

/**
 * The operations on the circuits of a storage.
 *
 * - `list`: the circuits in the storage's order, read 100 at a time as they are consumed. It fails if the storage does not answer.
 * - `get`: one circuit; `None` if it has no record. With `withins` its `totals` are the counts over these spans, at most 10 hours
 *   each. A span is zero where no instance counts in buckets of its width.
 * - `override`, `clearOverride`: set an override on top of the state, in place of an earlier one, and lift it.
 * - `halfOpen`: takes probes at once. `reset`: closes, and forgets evidence and openings; an override stays. `remove`: the same
 *   without the override and the lifetime counts. The storage forgets the circuit when it was idle for its idle time.
 * - `history`: the latest changes, newest first. Empty if the storage keeps none.
 * - `watch`: the circuits, and their changes as they are made. It fails only if they cannot be read at first.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operator {
  /** The storage's name, such as `redis`. */
  readonly backend: string
  readonly capabilities: Capabilities
  readonly list: (options?: ListOptions) => Stream.Stream<Entry, StorageError>
  readonly get: (
    circuit: string,
    options?: { readonly withins?: ReadonlyArray<Duration.Input> | undefined }
  ) => Effect.Effect<Option.Option<Circuit>, StorageError>
  readonly override: (circuit: string, options: OverrideOptions) => Effect.Effect<Acted, StorageError>
  readonly clearOverride: (circuit: string, options: ActOptions) => Effect.Effect<Acted, StorageError>
  readonly halfOpen: (circuit: string, options: ActOptions) => Effect.Effect<Acted, StorageError>
  readonly reset: (circuit: string, options: ActOptions) => Effect.Effect<Acted, StorageError>
  readonly remove: (circuit: string, options: ActOptions) => Effect.Effect<Acted, StorageError>
  /** At most `limit` changes, from 1 to 10,000. Default 20. */
  readonly history: (
    circuit: string,
    options?: { readonly limit?: number | undefined }
  ) => Effect.Effect<ReadonlyArray<HistoryEntry>, StorageError>
  readonly watch: (options?: WatchOptions) => Stream.Stream<Watched, StorageError>
}

/**
 * @category services
 * @since 0.1.0
 */
export const Operator: Context.Service<Operator, Operator> = Context.Service<Operator>("effect-breaker/Operator")

/**
 * How long an operator waits for the storage.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The longest duration of a request, from a millisecond to an hour. Default 5 seconds. */
  readonly deadline?: Duration.Input | undefined
}

const HOUR_MILLIS = 60 * 60 * 1000
const MOST_CHANGES = 10_000
/** So often circuits are asked for once more in vain, in one list, before those that are late are taken as they are. */
const MOST_IN_VAIN = 3
/** Changes are collected for so long before their circuits are read, so that a burst costs one request. */
const COLLECT_MILLIS = 100
/** After reading all circuits a watch pauses for at least so many times as long as that took. */
const PAUSES = 3
/** The pause before a storage that did not answer is asked again. */
const AGAIN_MILLIS = 1000

const STATES: ReadonlyArray<StateFilter> = ["Closed", "Open", "HalfOpen", "ForcedOpen", "Disabled", "MetricsOnly"]

const reading = (circuit: string, withins: ReadonlyArray<number> = []): CircuitReport => ({
  circuit,
  instance: "effect-breaker/Operator",
  sequence: 0,
  generation: 0,
  delta: noDelta,
  withins
})

/**
 * The operator of the storage in the context. Throws a `RangeError` for a deadline out of range.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ deadline = "5 seconds" }: Options = {}): Effect.Effect<Operator, never, Storage> => {
  refuse("Operator", durationIn("deadline", deadline, 1, HOUR_MILLIS))
  return Effect.gen(function*() {
    const storage = yield* Storage
    const requests = new Requests(yield* Clock.Clock, makeFork(yield* Effect.context<never>()))
    return new StorageOperator(storage, requests, Duration.toMillis(Duration.fromInputUnsafe(deadline)))
  })
}

/**
 * Provides an operator of the storage's circuits. It throws for options out of range, as `make` does.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Operator, never, Storage> =>
  Layer.effect(Operator, Effect.suspend(() => make(options)))

class StorageOperator implements Operator {
  readonly backend: string
  readonly capabilities: Capabilities
  readonly #storage: Storage
  readonly #requests: Requests
  readonly #deadlineMillis: number

  constructor(storage: Storage, requests: Requests, deadlineMillis: number) {
    this.backend = storage.backend
    this.capabilities = storage.capabilities
    this.#storage = storage
    this.#requests = requests
    this.#deadlineMillis = deadlineMillis
  }

  list({ prefix = "", states }: ListOptions = {}): Stream.Stream<Entry, StorageError> {
    refuse("list", (states ?? []).flatMap((state) => oneOf("states", state, STATES)))
    return Stream.suspend(() => {
      const patience = { left: MOST_IN_VAIN }
      return this.#storage.list.pipe(
        Stream.filter((circuit) => circuit.startsWith(prefix)),
        Stream.grouped(CIRCUITS_PER_REQUEST),
        Stream.mapEffect((circuits) => this.#read(circuits, patience)),
        Stream.flattenIterable,
        Stream.filter(({ result }) => states === undefined || Result.isFailure(result) || isIn(result.success, states))
      )
    })
  }

  get(
    circuit: string,
    { withins = [] }: { readonly withins?: ReadonlyArray<Duration.Input> | undefined } = {}
  ): Effect.Effect<Option.Option<Circuit>, StorageError> {
    refuse("get", withins.flatMap((within) => durationIn("withins", within, 1, 10 * HOUR_MILLIS)))
    const millis = withins.map((within) => Duration.toMillis(Duration.fromInputUnsafe(within)))
    return Effect.map(
      this.#readOne(circuit, millis),
      (snapshot) => isBlank(snapshot) ? Option.none() : Option.some({ circuit, snapshot })
    )
  }

  override(circuit: string, options: OverrideOptions): Effect.Effect<Acted, StorageError> {
    const { create = false, ...given } = options
    refuse("override", overrideProblems(given))
    const { actor, expiresIn, mode, reason } = given
    const remaining = expiresIn === undefined ? undefined : Duration.toMillis(Duration.fromInputUnsafe(expiresIn))
    return this.#act(circuit, { _tag: "Override", kind: mode, reason, actor, remaining }, { reason, actor }, !create)
  }

  clearOverride(circuit: string, options: ActOptions): Effect.Effect<Acted, StorageError> {
    return this.#act(circuit, { _tag: "ClearOverride" }, whyOf("clearOverride", options, "override cleared"))
  }

  halfOpen(circuit: string, options: ActOptions): Effect.Effect<Acted, StorageError> {
    return this.#act(circuit, { _tag: "HalfOpen" }, whyOf("halfOpen", options, "forced half-open"))
  }

  reset(circuit: string, options: ActOptions): Effect.Effect<Acted, StorageError> {
    return this.#act(circuit, { _tag: "Reset" }, whyOf("reset", options, "reset"))
  }

  remove(circuit: string, options: ActOptions): Effect.Effect<Acted, StorageError> {
    return this.#act(circuit, { _tag: "Remove" }, whyOf("remove", options, "removed"))
  }

  history(
    circuit: string,
    { limit = 20 }: { readonly limit?: number | undefined } = {}
  ): Effect.Effect<ReadonlyArray<HistoryEntry>, StorageError> {
    refuse("history", countIn("limit", limit, 1, MOST_CHANGES))
    return this.#request("history", circuit, () => this.#storage.history(circuit, { limit }))
  }

  watch({ every, prefix = "" }: WatchOptions = {}): Stream.Stream<Watched, StorageError> {
    const pushes = this.#storage.capabilities.pushes
    const interval = every ?? (pushes ? "10 seconds" : "1 second")
    refuse("watch", durationIn("every", interval, 10, HOUR_MILLIS))
    const listing = Effect.map(
      Stream.runCollect(this.list({ prefix })),
      (entries): Watched => ({ _tag: "Listed", entries })
    )
    const read = (circuits: ReadonlyArray<string>) =>
      Effect.map(
        this.#read(circuits, { left: MOST_IN_VAIN }),
        (entries): Watched => ({ _tag: "Changed", entries })
      )
    return follow(this.#storage, {
      listing,
      read,
      isWatched: (circuit) => circuit.startsWith(prefix) && !isReserved(circuit),
      intervalMillis: Duration.toMillis(Duration.fromInputUnsafe(interval))
    })
  }

  #request<A>(
    operation: string,
    circuit: string | undefined,
    request: () => Effect.Effect<A, StorageError>
  ): Effect.Effect<A, StorageError> {
    return this.#requests.effect({ operation, circuit }, request, this.#deadlineMillis)
  }

  /**
   * Reads circuits. Those that were not answered for are asked for once more, because a storage gives up what comes later than the
   * rest of a batch; but not where that is in vain again and again, as with a server of a Cluster that is down.
   */
  #read(
    circuits: ReadonlyArray<string>,
    patience: { left: number }
  ): Effect.Effect<ReadonlyArray<Entry>, StorageError> {
    return Effect.gen({ self: this }, function*() {
      const first = yield* this.#readOnce(circuits)
      const late = first.filter(isLate).map(({ circuit }) => circuit)
      if (late.length === 0 || patience.left === 0) return first
      const second = yield* this.#readOnce(late).pipe(Effect.catch(() => Effect.succeed([])))
      if (second.every(isLate)) patience.left--
      const again = new Map(second.map((entry) => [entry.circuit, entry]))
      return first.map((entry) => again.get(entry.circuit) ?? entry)
    }).pipe(
      // A circuit may have been forgotten since it was listed.
      Effect.map((entries) => entries.filter(({ result }) => Result.isFailure(result) || !isBlank(result.success)))
    )
  }

  #readOnce(circuits: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Entry>, StorageError> {
    return Effect.map(
      this.#request("sync", undefined, () => this.#storage.sync(circuits.map((circuit) => reading(circuit)))),
      (synced) =>
        circuits.map((circuit, index): Entry => ({
          circuit,
          result: readFrom(synced, index, circuit, 0)
        }))
    )
  }

  #readOne(circuit: string, withins: ReadonlyArray<number> = []): Effect.Effect<Snapshot, StorageError> {
    return Effect.flatMap(
      this.#request("sync", circuit, () => this.#storage.sync([reading(circuit, withins)])),
      (synced) => Effect.fromResult(readFrom(synced, 0, circuit, withins.length))
    )
  }

  #act(circuit: string, to: OperationTo, why: Why, existing = true): Effect.Effect<Acted, StorageError> {
    const denied = (cause: string) => Effect.fail(failure({ operation: "change", circuit }, "Denied", cause))
    if (isReserved(circuit)) {
      return denied(`this library keeps circuits whose names begin with ${RESERVED_PREFIX} for itself`)
    }
    if (!this.#storage.capabilities.fences) return denied("the storage keeps no circuits")
    return Effect.gen({ self: this }, function*() {
      const before = { circuit, snapshot: yield* this.#readOne(circuit) }
      if (to._tag === "ClearOverride" && !isBlank(before.snapshot) && before.snapshot.override === undefined) {
        return { done: false, before, after: before }
      }
      const operation = {
        _tag: "Operation",
        id: yield* randomId,
        known: before.snapshot.generation,
        existing,
        why,
        to
      } as const
      const changed = yield* this.#request("change", circuit, () => this.#storage.change(circuit, operation))
      if (!isSnapshot(changed?.snapshot)) return yield* Effect.fail(invalid("change", circuit, changed))
      if (!changed.committed) return yield* denied(`the storage has not done it: ${to._tag}`)
      return { done: true, before, after: { circuit, snapshot: changed.snapshot } }
    })
  }
}

const whyOf = (act: string, options: ActOptions, usual: string): Why => {
  refuse(act, actProblems(options))
  const { actor, reason = usual } = options
  return { reason, actor }
}

const invalid = (operation: string, circuit: string, answer: unknown): StorageError =>
  failure({ operation, circuit }, "Invalid", answer ?? "no answer")

/** The snapshot of a circuit in the answers to a batch. A storage may answer anything, so its shape is checked. */
const readFrom = (
  answers: ReadonlyArray<Synced>,
  index: number,
  circuit: string,
  totals: number
): Result.Result<Snapshot, StorageError> => {
  const answer: Synced | undefined = Array.isArray(answers) ? answers[index] : undefined
  if (!Result.isResult(answer?.result)) return Result.fail(invalid("sync", circuit, answer))
  return Result.flatMap(answer.result, (reply) =>
    isSnapshot(reply?.snapshot, totals)
      ? Result.succeed(reply.snapshot)
      : Result.fail(invalid("sync", circuit, reply)))
}

const isLate = ({ result }: Entry): boolean => Result.isFailure(result) && isUnreachable(result.failure)

const isIn = ({ override, state }: Snapshot, states: ReadonlyArray<StateFilter>): boolean =>
  states.includes(state._tag) || (override !== undefined && states.includes(override.kind))

interface Following {
  readonly listing: Effect.Effect<Watched, StorageError>
  readonly read: (circuits: ReadonlyArray<string>) => Effect.Effect<Watched, StorageError>
  readonly isWatched: (circuit: string) => boolean
  readonly intervalMillis: number
}

/**
 * Reads all circuits once an interval, and those that are announced as soon as they are. While the consumer is slow, announced
 * circuits are collected by name, so what waits is bounded by their number.
 */
const follow = (
  storage: Storage,
  { intervalMillis, isWatched, listing, read }: Following
): Stream.Stream<Watched, StorageError> =>
  Stream.callback<Watched, StorageError>((watched) =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const now = () => monotonicMillis(clock)
      const announced = new Set<string>()
      const woken = yield* Queue.sliding<void>(1)
      let listAt = -Infinity

      const listAfter = (millis: number): void => {
        listAt = Math.min(listAt, now() + millis)
      }
      const subscribe = storage.changes.pipe(
        Stream.runForEach((announcement) => {
          if (announcement._tag === "Subscribed") listAfter(0)
          else if (isWatched(announcement.circuit)) announced.add(announcement.circuit)
          return Queue.offer(woken, undefined)
        }),
        Effect.catchCause(() => Effect.void),
        Effect.andThen(Effect.sleep(AGAIN_MILLIS)),
        Effect.forever
      )
      if (storage.capabilities.pushes) yield* Effect.forkScoped(subscribe)

      const list = Effect.suspend(() => {
        const startedAt = now()
        const planned = startedAt + intervalMillis
        listAt = planned
        announced.clear()
        return Effect.tap(listing, () =>
          Effect.sync(() => {
            // Changes that were missed meanwhile are read at once.
            if (listAt === planned) listAt = Math.max(planned, now() + PAUSES * (now() - startedAt))
          }))
      })
      const readAnnounced = Effect.suspend(() => {
        const circuits = [...announced].slice(0, CIRCUITS_PER_REQUEST)
        for (const circuit of circuits) announced.delete(circuit)
        return read(circuits)
      })
      const emit = (reading: Effect.Effect<Watched, StorageError>) =>
        reading.pipe(
          Effect.catch((error) => {
            listAfter(AGAIN_MILLIS)
            return Effect.succeed<Watched>({ _tag: "Unavailable", error })
          }),
          Effect.flatMap((element) => Queue.offer(watched, element)),
          Effect.andThen(Effect.sleep(COLLECT_MILLIS))
        )

      yield* Effect.flatMap(list, (element) => Queue.offer(watched, element))
      return yield* Effect.forever(Effect.suspend(() => {
        const leftMillis = listAt - now()
        if (leftMillis <= 0) return emit(list)
        if (announced.size > 0) return emit(readAnnounced)
        return Effect.raceFirst(Queue.take(woken), Effect.sleep(leftMillis))
      }))
    })
  )
