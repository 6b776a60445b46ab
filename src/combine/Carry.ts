/**
 * Brings what two storages know of a circuit to the newer of the two, by the protocol's own means: the older one is put back
 * under the newer one's generation, so it can be done late, twice and by many.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { isEmpty, type LifetimeCounts, noDelta } from "../core/Delta.ts"
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

/** What a circuit is on two storages; a failure where one of them did not say. */
export interface Pair {
  readonly circuit: string
  readonly views: Result.Result<readonly [from: Snapshot, to: Snapshot], StorageError>
}

/** A report without counts. */
export const reading = (circuit: string): CircuitReport => ({
  circuit,
  instance: "effect-breaker",
  sequence: 0,
  generation: 0,
  delta: noDelta,
  withins: []
})

/** What a storage says of these circuits, at most `BATCH` of them. */
const read = (storage: Asked, circuits: ReadonlyArray<string>) =>
  Effect.map(
    storage.sync(circuits.map(reading)),
    (answers) => answers.map(({ result }) => Result.map(result, ({ snapshot }) => snapshot))
  )

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

export interface Options {
  /**
   * Which of them has decided. What that one knows nothing of, it may have forgotten: a change older than its idle time stays
   * where it is, or an override would come back that was lifted since.
   */
  readonly decides: "from" | "to"
  /** Whether lifetime counts are made up for, where `to` is known to have counted nothing that `from` has not. */
  readonly counts: boolean
}

/** Brings circuits, at most `BATCH` of them, to the newer of what two storages know. */
export const carry = (
  from: Asked,
  to: Asked,
  circuits: ReadonlyArray<string>,
  options: Options
): Effect.Effect<ReadonlyArray<Carried>, StorageError> =>
  Effect.gen(function*() {
    const readAt = yield* now
    const pairs = yield* compare(from, to, circuits)
    return yield* Effect.forEach(pairs, ({ circuit, views }) =>
      Effect.fromResult(views).pipe(
        Effect.flatMap(([theirs, ours]) => carryOne(from, to, circuit, theirs, ours, readAt, options)),
        Effect.result,
        Effect.map((done): Carried => ({ circuit, done }))
      ), { concurrency: CONCURRENCY })
  })

const carryOne = Effect.fnUntraced(function*(
  from: Asked,
  to: Asked,
  circuit: string,
  theirs: Snapshot,
  ours: Snapshot,
  readAt: number,
  { counts, decides }: Options
): Effect.fn.Return<Result.Result.Success<Carried["done"]>, StorageError> {
  const age = () => Effect.map(now, (now) => now - readAt)
  if (theirs.generation < ours.generation) {
    if (decides === "from" && isForgotten(theirs, ours, from)) return "left"
    const view = yield* putBack(from, circuit, ours, yield* age(), decides === "to")
    // An Open whose time is not up stays, above both: then that is the newer one.
    if (view.generation > ours.generation) yield* putBack(to, circuit, view, 0, decides === "from")
    return "back"
  }
  if (theirs.generation > ours.generation) {
    if (decides === "to" && isForgotten(ours, theirs, to)) return "left"
    const view = yield* putBack(to, circuit, theirs, yield* age(), decides === "from")
    if (view.generation > theirs.generation) yield* putBack(from, circuit, view, 0, decides === "to")
    return counts ? yield* makeUp(from, to, circuit, theirs, view, yield* age(), "forward") : "forward"
  }
  return counts ? yield* makeUp(from, to, circuit, theirs, ours, yield* age(), "alike") : "alike"
})

/** Whether who knows nothing may have known it and forgotten. Generations follow the storage's clock, in microseconds. */
const isForgotten = (known: Snapshot, { asOf, generation }: Snapshot, { idleTimeToLive }: Asked): boolean =>
  known.generation === 0 && asOf - generation / 1000 > Duration.toMillis(idleTimeToLive)

/** Puts a circuit back as it was seen `age` ago, and says what is there now. */
export const putBack = (
  storage: Asked,
  circuit: string,
  snapshot: Snapshot,
  age: number,
  certain: boolean
): Effect.Effect<Snapshot, StorageError> =>
  Effect.map(
    storage.change(circuit, { _tag: "PutBack", snapshot, age: Math.max(0, age), leases: [], certain }),
    (changed) => changed.snapshot
  )

const COUNTS = ["success", "failure", "ignored", "timeout", "slow", "rejected"] as const

/** Within so many milliseconds counts are made up for once, whoever does it. */
const PERIOD = 10_000

/**
 * Reports the calls that one has counted and the other has not. The report is named by the time at which that was seen, so that
 * of several who see it at the same time one makes up for it.
 */
const makeUp = Effect.fnUntraced(function*<const A extends string>(
  from: Asked,
  to: Asked,
  circuit: string,
  theirs: Snapshot,
  ours: Snapshot,
  age: number,
  otherwise: A
): Effect.fn.Return<A | "forward" | "short", StorageError> {
  const { lastFailureAge, lastSuccessAge, ...lifetime } = theirs.lifetime
  const missing = missingOf(lifetime, ours.lifetime)
  const delta = {
    ...noDelta,
    lifetime: {
      ...missing,
      lastSuccessDuration: lifetime.lastSuccessDuration,
      lastFailureDuration: lifetime.lastFailureDuration,
      ...(lastSuccessAge === undefined ? {} : { lastSuccessAge: lastSuccessAge + age }),
      ...(lastFailureAge === undefined ? {} : { lastFailureAge: lastFailureAge + age })
    }
  }
  if (isEmpty(delta)) return otherwise
  const [answer] = yield* to.sync([{
    ...reading(circuit),
    instance: `counted by ${from.backend}`,
    sequence: Math.floor(theirs.asOf / PERIOD),
    generation: ours.generation,
    delta
  }])
  const { snapshot } = yield* Effect.fromResult(answer!.result)
  return isEmpty({ ...noDelta, lifetime: missingOf(lifetime, snapshot.lifetime) }) ? "forward" : "short"
})

const missingOf = (counted: LifetimeCounts, others: LifetimeCounts) =>
  Object.fromEntries(
    COUNTS.map((key) => [key, Math.max(0, counted[key] - others[key])])
  ) as unknown as LifetimeCounts
