/**
 * A storage for each region: circuits live in the region's own, and what matters to the others is mirrored to theirs. So a
 * region decides by itself, at its own distance and by its own thresholds, and is warned of what another found out.
 *
 * **Details**
 *
 * - The region is this process's `CIRCUIT_BREAKER_REGION`. It asks its own storage and no other.
 * - Mirrored is what this process has changed and what is `significant`: by default trips, and what operators do. That a circuit
 *   has recovered each region finds out by its own probes.
 * - A trip is put into another region's storage under its own generation, where that has come to nothing newer; what operators do
 *   is done there again, on the state that it finds. Nobody waits for it. While another region does not answer, its changes are
 *   kept, the last 16 of each circuit.
 * - Nothing goes round in circles: only who has made a change mirrors it, who hears of one does not; and what is not newer, or
 *   was done already, changes nothing.
 * - What is mirrored is counted by `circuit_breaker.persistence.mirrored`, with the attributes `from` and `to`.
 *
 * **Gotchas**
 *
 * - Evidence is not mirrored: each region trips on what its own calls have met.
 * - Two regions that change a circuit at the same time go by their clocks: the later trip wins, and an open circuit stays open
 *   for its time.
 * - A process that ends takes along what it could not mirror yet.
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
import { Backlog } from "../combine/Backlog.ts"
import { putBack } from "../combine/Carry.ts"
import { type Asked, Guarded, isUnreached } from "../combine/Guarded.ts"
import { built } from "../combine/Options.ts"
import { durationIn, oneOf, refuse } from "../internal/Check.ts"
import { makeLog } from "../internal/Log.ts"
import { type Operation, type Snapshot, Storage, type StorageError } from "./Storage.ts"

/**
 * A change that this process has made.
 *
 * @category models
 * @since 0.1.0
 */
export interface RegionalChange {
  readonly circuit: string
  /** What it came by: evidence, a probe, or an operator. */
  readonly by: "Trip" | "Probe" | "Operation"
  /** The circuit after it. */
  readonly snapshot: Snapshot
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Which changes the other regions are told of. Default: trips that open, and what operators do. */
  readonly significant?: ((change: RegionalChange) => boolean) | undefined
  /** How long another region may take to answer, from a millisecond to an hour. Default 10 seconds: nobody waits for it. */
  readonly deadline?: Duration.Input | undefined
}

/** What another region is to be told, and when it was so. */
type Message =
  | { readonly _tag: "State"; readonly snapshot: Snapshot; readonly at: number }
  | { readonly _tag: "Operation"; readonly operation: Operation }

/** So many changes of a circuit wait for a region that does not answer; then the oldest gives way. */
const MOST = 16

const LONGEST = 60 * 60 * 1000

const mirrored = Metric.counter("circuit_breaker.persistence.mirrored", {
  description: "Changes of circuits that another region was told of",
  incremental: true
})

const isSignificant = ({ by, snapshot }: RegionalChange): boolean =>
  by === "Operation" || (by === "Trip" && snapshot.state._tag === "Open")

const checked = (names: ReadonlyArray<string>, { deadline = "10 seconds" }: Options): number => {
  refuse("Storage \"regions\"", [
    ...(names.length === 0 ? [{ field: "regions", value: {}, range: "at least one region" }] : []),
    ...durationIn("deadline", deadline, 1, LONGEST)
  ])
  return Duration.toMillis(deadline)
}

/**
 * Makes a region's storage of those of all regions, for as long as the scope is open. Throws a `RangeError` for a region that is
 * none of them, and for a deadline that makes no sense.
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
  const deadline = checked(names, options)
  refuse("Storage \"regions\"", oneOf("region", region, names))
  const { significant = isSignificant } = options
  return Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const context = yield* Effect.context<never>()
    const log = makeLog(context)
    const now = (): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    const own = regions[region]!

    const others = yield* Effect.forEach(names.filter((name) => name !== region), (name) => {
      const guarded = new Guarded(regions[name]!, false, clock, context, deadline, (_, state) => {
        if (state === "Open") log("Warn", "Another region does not answer, changes are kept for it", { region: name })
        else log("Info", "Another region answers again", { region: name })
      })
      const there = guarded.within(deadline)
      const told = Metric.update(Metric.withAttributes(mirrored, { from: region, to: name }), 1)
      const work = (batch: ReadonlyArray<readonly [string, ReadonlyArray<Message>]>) =>
        Effect.map(
          Effect.forEach(batch, ([circuit, messages]) =>
            Effect.forEach(messages, (message) =>
              Effect.andThen(tell(there, circuit, message, now), told), {
              discard: true
            }).pipe(
              Effect.match({
                // What makes no sense there never will.
                onFailure: (error) => isUnreached(error) ? [] : [circuit],
                onSuccess: () => [circuit]
              })
            ), { concurrency: 8 }),
          (done) =>
            new Set(done.flat())
        )
      const backlog = new Backlog<ReadonlyArray<Message>>(work)
      return Effect.as(backlog.run, backlog)
    })

    const changed = (change: RegionalChange, message: Message): void => {
      if (!significant(change)) return
      for (const backlog of others) {
        backlog.add(change.circuit, [...(backlog.get(change.circuit) ?? []), message].slice(-MOST))
      }
    }
    const state = (snapshot: Snapshot): Message => ({ _tag: "State", snapshot, at: now() })

    return {
      ...own,
      backend: `${own.backend} of ${region}`,
      change: (circuit, change) =>
        Effect.map(own.change(circuit, change), (answer) => {
          const { committed, snapshot } = answer
          if (committed && change._tag === "Trip") changed({ circuit, by: "Trip", snapshot }, state(snapshot))
          if (committed && change._tag === "Operation") {
            changed({ circuit, by: "Operation", snapshot }, { _tag: "Operation", operation: change })
          }
          return answer
        }),
      probe: (circuit, probe) =>
        Effect.map(own.probe(circuit, probe), (answer) => {
          const { granted, snapshot } = answer
          if (granted && snapshot.generation > probe.generation) {
            changed({ circuit, by: "Probe", snapshot }, state(snapshot))
          }
          return answer
        })
    }
  })
}

const tell = (
  there: Asked,
  circuit: string,
  message: Message,
  now: () => number
): Effect.Effect<unknown, StorageError> =>
  message._tag === "Operation"
    // What is refused there now will be later.
    ? Effect.catchIf(there.change(circuit, message.operation), ({ reason }) => reason === "Denied", () => Effect.void)
    : Effect.suspend(() => putBack(there, circuit, message.snapshot, now() - message.at, false))

const REGION = "CIRCUIT_BREAKER_REGION"

/**
 * What is one's own of something that each region has its own of, such as a threshold: the region is `CIRCUIT_BREAKER_REGION`.
 * Fails with a `ConfigError` that names the regions where that is not set or none of them.
 *
 * @category config
 * @since 0.1.0
 */
export const pick = <A>(regions: Readonly<Record<string, A>>): Config.Config<A> =>
  Config.map(Config.Literals(Object.keys(regions), REGION), (name) => regions[name]!)

/**
 * The storage of the region that `CIRCUIT_BREAKER_REGION` names, which knows the others'. Fails and needs what they fail with
 * and need, and with a `ConfigError` where it names none of them.
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
