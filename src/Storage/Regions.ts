/**
 * One storage for each region: circuits live in the storage of their region, and significant changes are mirrored to
 * the storages of the others. So each region decides by itself, without the latency of another, by its own thresholds,
 * and is warned when another region trips.
 *
 * **Details**
 *
 * - The region is this process's `CIRCUIT_BREAKER_REGION`. Requests go to the storage of that region and to no other.
 * - Changes that this process has made are mirrored if they are `significant`: by default trips, and operations of
 *   operators. Recovery is not mirrored, because each region finds out by its own probes.
 * - A trip is put into the storages of the other regions under its own generation, unless they have a newer one. An
 *   operation is applied there again, to the state that the region has. Calls do not wait for it. While another region
 *   does not answer, its changes are queued, the last 16 of each circuit.
 * - Changes do not circulate: only the process that made a change mirrors it, and a change that is not newer, or was
 *   applied already, has no effect.
 * - The counter `circuit_breaker.persistence.mirrored` counts mirrored changes, with the attributes `from` and `to`.
 *
 * **Gotchas**
 *
 * - Evidence is not mirrored: each region trips on the outcomes of its own calls.
 * - When two regions change a circuit at the same time, their clocks decide: the later trip wins, and an open circuit
 *   stays open for its time.
 * - Changes that are still queued when a process ends are lost.
 *
 * **Example** (Two regions, with thresholds of their own)
 *
 * ```ts
 * import { Config, Effect, Layer } from "effect"
 * import { Breaker, Trip } from "effect-breaker"
 * import * as Regions from "effect-breaker/Storage/Regions"
 * import * as RedisStorage from "effect-breaker/layers/RedisStorageLive"
 *
 * class Payments extends Breaker.Service<Payments>()("payments", { trip: Trip.consecutiveFailures(5) }) {}
 *
 * const StorageLive = Regions.layer({
 *   "eu-west": RedisStorage.layerConfig({ host: Config.String("EU_REDIS_HOST") }),
 *   "ap-south": RedisStorage.layerConfig({ host: Config.String("AP_REDIS_HOST") })
 * })
 *
 * const PaymentsLive = Payments.layerConfig({
 *   trip: Regions.pick({ "eu-west": Trip.consecutiveFailures(3), "ap-south": Trip.consecutiveFailures(8) })
 * }).pipe(Layer.provide(StorageLive))
 *
 * const program = Effect.succeed("paid").pipe(Payments.wrap, Effect.provide(PaymentsLive))
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import { FusedStorage, skippedFields, type TimedStorage } from "../combine/FusedStorage.ts"
import { built } from "../combine/Options.ts"
import { putBack } from "../combine/Reconcile.ts"
import { RetryQueue } from "../combine/RetryQueue.ts"
import type { LocalMillis } from "../core/Time.ts"
import { durationIn, oneOf, refuse } from "../internal/Check.ts"
import { monotonicMillis, monotonicNow } from "../internal/Clock.ts"
import { makeFork } from "../internal/Fork.ts"
import { makeLogUntilClosed } from "../internal/Log.ts"
import { messages } from "../internal/Messages.ts"
import { counterOf, table } from "../internal/MetricTable.ts"
import { isAnswer } from "../internal/StorageErrors.ts"
import { type Operation, type Snapshot, Storage, type StorageError } from "./Storage.ts"

/**
 * A change that this process has made.
 *
 * @category models
 * @since 0.1.0
 */
export interface RegionalChange {
  readonly circuit: string
  /** The cause: evidence, a probe, or an operator. */
  readonly by: "Trip" | "Probe" | "Operation"
  /** The circuit after the change. */
  readonly snapshot: Snapshot
}

/**
 * Which circuits a mirror copies to other regions, and how.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Which changes are mirrored to the other regions. Default: trips that open, and operations of operators. */
  readonly significant?: ((change: RegionalChange) => boolean) | undefined
  /**
   * The longest duration of a request to another region, from a millisecond to an hour. Default 10 seconds: no call
   * waits for it.
   */
  readonly deadline?: Duration.Input | undefined
}

/** A change for another region. `at` is the monotonic time of the snapshot. */
type Message =
  | { readonly _tag: "State"; readonly snapshot: Snapshot; readonly at: LocalMillis }
  | { readonly _tag: "Operation"; readonly operation: Operation }

/** The most changes of a circuit that are queued for a region. Beyond that the oldest is dropped. */
const MOST_QUEUED = 16

/** Circuits mirrored at a time. */
const CONCURRENCY = 8

const LONGEST_MILLIS = 60 * 60 * 1000

const mirrored = counterOf(table.persistenceMirrored)

const isSignificant = ({ by, snapshot }: RegionalChange): boolean =>
  by === "Operation" || (by === "Trip" && snapshot.state._tag === "Open")

const checked = (names: ReadonlyArray<string>, { deadline = "10 seconds" }: Options): number => {
  refuse("Storage \"regions\"", [
    ...(names.length === 0 ? [{ field: "regions", value: {}, range: "at least one region" }] : []),
    ...durationIn("deadline", deadline, 1, LONGEST_MILLIS)
  ])
  return Duration.toMillis(deadline)
}

/**
 * Makes the storage of one region, given the storages of all regions, for as long as the scope is open. Throws a
 * `RangeError` for a region without a storage, and for a deadline out of range.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  region: string,
  regions: Readonly<Record<string, Storage>>,
  options: Options = {}
): Effect.Effect<Storage, never, Scope.Scope> => {
  const names = Object.keys(regions)
  const deadlineMillis = checked(names, options)
  refuse("Storage \"regions\"", oneOf("region", region, names))
  const { significant = isSignificant } = options
  return Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const own = regions[region]!
    const queues = yield* Effect.forEach(
      names.filter((name) => name !== region),
      (name) => queueFor(region, name, regions[name]!, deadlineMillis)
    )

    const mirror = (change: RegionalChange, message: Message): void => {
      if (!significant(change)) return
      for (const queue of queues) {
        queue.add(change.circuit, [...(queue.get(change.circuit) ?? []), message].slice(-MOST_QUEUED))
      }
    }
    const state = (snapshot: Snapshot): Message => ({ _tag: "State", snapshot, at: monotonicMillis(clock) })

    return {
      ...own,
      backend: `${own.backend} of ${region}`,
      change: (circuit, change) =>
        Effect.map(own.change(circuit, change), (answer) => {
          const { committed, snapshot } = answer
          if (committed && change._tag === "Trip") mirror({ circuit, by: "Trip", snapshot }, state(snapshot))
          if (committed && change._tag === "Operation") {
            // It exists here. Another region may not have seen a call of it.
            mirror({ circuit, by: "Operation", snapshot }, {
              _tag: "Operation",
              operation: { ...change, existing: undefined }
            })
          }
          return answer
        }),
      probe: (circuit, probe) =>
        Effect.map(own.probe(circuit, probe), (answer) => {
          const { granted, snapshot } = answer
          if (granted && snapshot.generation > probe.generation) {
            mirror({ circuit, by: "Probe", snapshot }, state(snapshot))
          }
          return answer
        })
    }
  })
}

type Queue = RetryQueue<ReadonlyArray<Message>>

/** The queue of changes for another region. It is worked off in the background until the scope closes. */
const queueFor = (
  region: string,
  name: string,
  storage: Storage,
  deadlineMillis: number
): Effect.Effect<Queue, never, Scope.Scope> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const context = yield* Effect.context<never>()
    const log = yield* makeLogUntilClosed
    const fused = new FusedStorage({
      storage,
      isLast: false,
      clock,
      fork: makeFork(context),
      longestMillis: deadlineMillis,
      changed: (change, fused) => {
        if (change._tag === "Up") log(messages.regionRecovered, { region: name })
        else if (change._tag === "Down") {
          log(messages.regionUnreachable, { region: name, ...skippedFields(change.forMillis, fused) })
        }
      }
    })
    const there = fused.within(deadlineMillis)
    const count = Metric.update(Metric.withAttributes(mirrored, { from: region, to: name }), 1)
    const sendAll = (circuit: string, queued: ReadonlyArray<Message>): Effect.Effect<ReadonlyArray<string>> =>
      Effect.forEach(queued, (message) => Effect.andThen(send(there, circuit, message), count), { discard: true })
        .pipe(
          Effect.match({
            // Such a circuit is done, because trying again does not help. Missing rights may be granted.
            onFailure: (error) => isAnswer(error) ? [circuit] : [],
            onSuccess: () => [circuit]
          })
        )
    const queue: Queue = new RetryQueue((batch) =>
      Effect.map(
        Effect.forEach(batch, ([circuit, queued]) => sendAll(circuit, queued), { concurrency: CONCURRENCY }),
        (done) => new Set(done.flat())
      )
    )
    return yield* Effect.as(queue.run, queue)
  })

const send = (there: TimedStorage, circuit: string, message: Message): Effect.Effect<unknown, StorageError> =>
  message._tag === "Operation"
    ? there.change(circuit, message.operation)
    : Effect.flatMap(monotonicNow, (now) => putBack(there, circuit, message.snapshot, now - message.at, false))

const REGION = "CIRCUIT_BREAKER_REGION"

/**
 * Picks the value of this process's region, `CIRCUIT_BREAKER_REGION`, such as a threshold. Fails with a `ConfigError`
 * that names the regions if the variable is not set or is none of them.
 *
 * @category config
 * @since 0.1.0
 */
export const pick = <A>(regions: Readonly<Record<string, A>>): Config.Config<A> =>
  Config.map(Config.Literals(Object.keys(regions), REGION), (name) => regions[name]!)

/**
 * The storage of the region that `CIRCUIT_BREAKER_REGION` names, with mirroring to the others. Fails with the errors of
 * the layers, and with a `ConfigError` if the variable is not set or is none of the regions.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const R extends Readonly<Record<string, Layer.Layer<Storage, any, any>>>>(
  regions: R,
  options: Options = {}
): Layer.Layer<Storage, Layer.Error<R[keyof R]> | Config.ConfigError, Layer.Services<R[keyof R]>> => {
  const names = Object.keys(regions)
  checked(names, options)
  return Layer.effect(
    Storage,
    Effect.gen(function*() {
      const region = yield* Config.Literals(names, REGION)
      const all = yield* Effect.forEach(
        names,
        (name) => Effect.map(built(regions[name]!), (storage) => [name, storage] as const)
      )
      return yield* make(region, Object.fromEntries(all), options)
    })
  )
}
