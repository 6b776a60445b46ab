/**
 * Brings what two storages know of a circuit to the newer of the two, by the protocol's own means: the older one is put back
 * under the newer one's generation, so it can be done late, twice and by many.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { isEmpty, type LifetimeCounts, noDelta, noLifetimeCounts } from "../core/Delta.ts"
import type { CircuitReport, Snapshot, StorageError } from "../Storage/Storage.ts"
import type { Asked } from "./Guarded.ts"

/** At once, so that a large batch does not take all connections of a pool. */
const CONCURRENCY = 16

/** The most circuits of one request. */
export const BATCH = 100

/** Monotonic milliseconds. */
export const now: Effect.Effect<number> = Clock.clockWith((clock) =>
  Effect.sync(() => Number(clock.monotonicTimeNanosUnsafe()) / 1e6)
)

/** A report without counts. */
export const reading = (circuit: string): CircuitReport => ({
  circuit,
  instance: "effect-breaker",
  sequence: 0,
  generation: 0,
  delta: noDelta,
  withins: []
})

const read = (storage: Asked, circuits: ReadonlyArray<string>) =>
  Effect.map(
    storage.sync(circuits.map(reading)),
    (answers) => answers.map(({ result }) => Result.map(result, ({ snapshot }) => snapshot))
  )

/** What a circuit is on two storages; a failure where one of them did not say. */
export interface Pair {
  readonly circuit: string
  readonly views: Result.Result<readonly [from: Snapshot, to: Snapshot], StorageError>
}

/** Reads circuits from both, at most `BATCH` of them. */
export const compare = (
  from: Asked,
  to: Asked,
  circuits: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<Pair>, StorageError> =>
  Effect.map(
    Effect.all([read(from, circuits), read(to, circuits)], { concurrency: 2 }),
    ([theirs, ours]) => circuits.map((circuit, i) => ({ circuit, views: Result.all([theirs[i]!, ours[i]!] as const) }))
  )

/**
 * What became of a circuit: both were alike, the first or the second was behind and is not any more, one has forgotten it, the
 * second has still counted less, or it could not be done.
 */
export interface Carried {
  readonly circuit: string
  readonly done: Result.Result<"alike" | "forward" | "back" | "left" | "short", StorageError>
}

type Done = Result.Result.Success<Carried["done"]>

const each = (
  from: Asked,
  to: Asked,
  circuits: ReadonlyArray<string>,
  f: (circuit: string, theirs: Snapshot, ours: Snapshot, readAt: number) => Effect.Effect<Done, StorageError>
): Effect.Effect<ReadonlyArray<Carried>, StorageError> =>
  Effect.flatMap(
    now,
    (readAt) =>
      Effect.flatMap(compare(from, to, circuits), (pairs) =>
        Effect.forEach(pairs, ({ circuit, views }) =>
          Effect.fromResult(views).pipe(
            Effect.flatMap(([theirs, ours]) =>
              f(circuit, theirs, ours, readAt)
            ),
            Effect.result,
            Effect.map((done): Carried => ({ circuit, done }))
          ), { concurrency: CONCURRENCY }))
  )

/**
 * Brings circuits, at most `BATCH` of them, to the newer of what two storages know: all but the calls that they have counted.
 *
 * `decides` says which of them has decided. What that one knows nothing of, it may have forgotten: a change older than its idle
 * time stays where it is, or an override would come back that was lifted since.
 */
export const carry = (
  from: Asked,
  to: Asked,
  circuits: ReadonlyArray<string>,
  decides: "from" | "to"
): Effect.Effect<ReadonlyArray<Carried>, StorageError> =>
  each(from, to, circuits, (circuit, theirs, ours, readAt) => {
    if (theirs.generation === ours.generation) return Effect.succeed("alike")
    const isForward = theirs.generation > ours.generation
    const [newer, older] = isForward ? [theirs, ours] : [ours, theirs]
    const [source, target] = isForward ? [from, to] : [to, from]
    const isCertain = isForward === (decides === "from")
    if (!isCertain && isForgotten(older, newer, target)) return Effect.succeed("left")
    return Effect.as(
      Effect.flatMap(
        Effect.flatMap(now, (now) => putBack(target, circuit, newer, now - readAt, isCertain)),
        (view) =>
          // An Open whose time is not up stays, above both: then that is the newer one.
          view.generation > newer.generation ? putBack(source, circuit, view, 0, !isCertain) : Effect.void
      ),
      isForward ? "forward" : "back"
    )
  })

/** Whether who knows nothing may have known it and forgotten. Generations follow the storage's clock, in microseconds. */
const isForgotten = (known: Snapshot, { asOf, generation }: Snapshot, { idleTimeToLive }: Asked): boolean =>
  known.generation === 0 && asOf - generation / 1000 > Duration.toMillis(idleTimeToLive)

/** Puts a circuit back as it was seen `age` ago, but for the calls it has counted, and says what is there now. */
export const putBack = (
  storage: Asked,
  circuit: string,
  snapshot: Snapshot,
  age: number,
  certain: boolean
): Effect.Effect<Snapshot, StorageError> =>
  Effect.map(
    storage.change(circuit, {
      _tag: "PutBack",
      snapshot: { ...snapshot, lifetime: { ...snapshot.lifetime, ...noLifetimeCounts } },
      age: Math.max(0, age),
      leases: [],
      certain
    }),
    (changed) => changed.snapshot
  )

const COUNTS = ["success", "failure", "ignored", "timeout", "slow", "rejected"] as const

/** Within so many milliseconds counts are made up for once, whoever does it. */
const PERIOD = 10_000

/**
 * Reports to a storage the calls that another has counted and it has not, of at most `BATCH` circuits. The reports are named by
 * the time at which that was seen, so that of several who see it at the same time one makes up for it.
 */
export const makeUp = (
  from: Asked,
  to: Asked,
  circuits: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<Carried>, StorageError> =>
  each(from, to, circuits, (circuit, theirs, ours, readAt) => {
    const { lastFailureAge, lastSuccessAge, ...lifetime } = theirs.lifetime
    const missing = missingOf(lifetime, ours.lifetime)
    if (isEmpty(missing)) return Effect.succeed("alike")
    return Effect.flatMap(now, (now) => {
      const age = now - readAt
      return to.sync([{
        ...reading(circuit),
        instance: `counted by ${from.backend}`,
        sequence: Math.floor(theirs.asOf / PERIOD),
        delta: {
          ...missing,
          lifetime: {
            ...missing.lifetime,
            lastSuccessDuration: lifetime.lastSuccessDuration,
            lastFailureDuration: lifetime.lastFailureDuration,
            ...(lastSuccessAge === undefined ? {} : { lastSuccessAge: lastSuccessAge + age }),
            ...(lastFailureAge === undefined ? {} : { lastFailureAge: lastFailureAge + age })
          }
        }
      }])
    }).pipe(
      Effect.flatMap(([answer]) => Effect.fromResult(answer!.result)),
      Effect.map(({ snapshot }) => isEmpty(missingOf(lifetime, snapshot.lifetime)) ? "forward" : "short")
    )
  })

const missingOf = (counted: LifetimeCounts, others: LifetimeCounts) => ({
  ...noDelta,
  lifetime: Object.fromEntries(
    COUNTS.map((key) => [key, Math.max(0, counted[key] - others[key])])
  ) as unknown as LifetimeCounts
})
