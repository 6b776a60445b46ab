/**
 * Reconciles circuits between two storages by the means of the protocol: the one with the older generation gets the
 * newer snapshot put back under its own generation. So it may run late, twice, and on many instances.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { isEmpty, type LifetimeCounts, noDelta, noLifetimeCounts } from "../core/Delta.ts"
import type { LocalMillis } from "../core/Time.ts"
import { monotonicNow } from "../internal/Clock.ts"
import type { CircuitReport, Snapshot, StorageError } from "../Storage/Storage.ts"
import type { TimedStorage } from "./FusedStorage.ts"

/** Circuits reconciled at a time. A whole batch would take all connections of a pool. */
const CONCURRENCY = 16

/** A report without counts, which only reads. */
export const reading = (circuit: string): CircuitReport => ({
  circuit,
  instance: "effect-breaker",
  sequence: 0,
  generation: 0,
  delta: noDelta,
  withins: []
})

const read = (storage: TimedStorage, circuits: ReadonlyArray<string>) =>
  Effect.map(
    storage.sync(circuits.map(reading)),
    (answers) => answers.map(({ result }) => Result.map(result, ({ snapshot }) => snapshot))
  )

/** The snapshots of a circuit on two storages, or the error of one of them. */
export interface Pair {
  readonly circuit: string
  readonly snapshots: Result.Result<readonly [from: Snapshot, to: Snapshot], StorageError>
}

/** Reads circuits, at most `CIRCUITS_PER_REQUEST`, from both storages. */
export const readBoth = (
  from: TimedStorage,
  to: TimedStorage,
  circuits: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<Pair>, StorageError> =>
  Effect.map(
    Effect.all([read(from, circuits), read(to, circuits)], { concurrency: 2 }),
    ([froms, tos]) => circuits.map((circuit, i) => ({ circuit, snapshots: Result.all([froms[i]!, tos[i]!] as const) }))
  )

/**
 * How a circuit was reconciled.
 *
 * - `equal`: both storages had the same.
 * - `forward`, `back`: the second, or the first, was behind and is not any more.
 * - `forgotten`: the storage that decides may have forgotten the circuit, so it was left as it is.
 * - `short`: the second storage has still counted fewer calls.
 */
export type Way = "equal" | "forward" | "back" | "forgotten" | "short"

export interface Reconciled {
  readonly circuit: string
  readonly result: Result.Result<Way, StorageError>
}

/** How many circuits went a way. */
export const countOf = (reconciled: ReadonlyArray<Reconciled>, way: Way): number =>
  reconciled.filter(({ result }) => Result.isSuccess(result) && result.success === way).length

const eachPair = (
  from: TimedStorage,
  to: TimedStorage,
  circuits: ReadonlyArray<string>,
  f: (circuit: string, from: Snapshot, to: Snapshot, readAt: LocalMillis) => Effect.Effect<Way, StorageError>
): Effect.Effect<ReadonlyArray<Reconciled>, StorageError> =>
  Effect.gen(function*() {
    const readAt = yield* monotonicNow
    const pairs = yield* readBoth(from, to, circuits)
    return yield* Effect.forEach(pairs, ({ circuit, snapshots }) =>
      Effect.fromResult(snapshots).pipe(
        Effect.flatMap(([from, to]) => f(circuit, from, to, readAt)),
        Effect.result,
        Effect.map((result): Reconciled => ({ circuit, result }))
      ), { concurrency: CONCURRENCY })
  })

/**
 * Brings circuits, at most `CIRCUITS_PER_REQUEST`, to the newer of two storages in everything but the lifetime counts.
 *
 * `decides` names the storage that decided until now. If that has no record of a circuit, it may have forgotten it. A
 * change that is older than its idle time is then not put back, because it would revive an override that was lifted
 * since.
 */
export const reconcile = (
  from: TimedStorage,
  to: TimedStorage,
  circuits: ReadonlyArray<string>,
  decides: "from" | "to"
): Effect.Effect<ReadonlyArray<Reconciled>, StorageError> =>
  eachPair(from, to, circuits, (circuit, fromSnapshot, toSnapshot, readAt) => {
    if (fromSnapshot.generation === toSnapshot.generation) return Effect.succeed("equal")
    const isForward = fromSnapshot.generation > toSnapshot.generation
    const [newer, older] = isForward ? [fromSnapshot, toSnapshot] : [toSnapshot, fromSnapshot]
    const [source, target] = isForward ? [from, to] : [to, from]
    const isCertain = isForward === (decides === "from")
    if (!isCertain && isForgotten(older, newer, target)) return Effect.succeed("forgotten")
    return Effect.gen(function*() {
      const ageMillis = (yield* monotonicNow) - readAt
      const now = yield* putBack(target, circuit, newer, ageMillis, isCertain)
      // An Open state whose time is not up wins over the newer one, under a generation above both.
      if (now.generation > newer.generation) yield* putBack(source, circuit, now, 0, !isCertain)
      return isForward ? "forward" : "back"
    })
  })

/** Generations are microseconds of the storage's clock. */
const isForgotten = (known: Snapshot, { asOf, generation }: Snapshot, { idleTimeToLive }: TimedStorage): boolean =>
  known.generation === 0 && asOf - generation / 1000 > Duration.toMillis(idleTimeToLive)

/** Puts a snapshot of this age back, without its lifetime counts, and returns the storage's snapshot after it. */
export const putBack = (
  storage: TimedStorage,
  circuit: string,
  snapshot: Snapshot,
  ageMillis: number,
  certain: boolean
): Effect.Effect<Snapshot, StorageError> =>
  Effect.map(
    storage.change(circuit, {
      _tag: "PutBack",
      snapshot: { ...snapshot, lifetime: { ...snapshot.lifetime, ...noLifetimeCounts } },
      age: Math.max(0, ageMillis),
      leases: [],
      certain
    }),
    (changed) => changed.snapshot
  )

const COUNTS = ["success", "failure", "ignored", "timeout", "slow", "rejected"] as const

/** Within this time, several instances that see the same difference report it under the same name. */
const PERIOD_MILLIS = 10_000

/**
 * Reports to the second storage the calls that only the first has counted, for at most `CIRCUITS_PER_REQUEST` circuits.
 * The report is named by the time of the comparison, so that only one of several instances makes up for a difference.
 */
export const reconcileCounts = (
  from: TimedStorage,
  to: TimedStorage,
  circuits: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<Reconciled>, StorageError> =>
  eachPair(from, to, circuits, (circuit, fromSnapshot, toSnapshot, readAt) => {
    const { lastFailureAge, lastSuccessAge, ...counts } = fromSnapshot.lifetime
    const missing = missingOf(counts, toSnapshot.lifetime)
    if (isEmpty(missing)) return Effect.succeed("equal")
    return Effect.gen(function*() {
      const ageMillis = (yield* monotonicNow) - readAt
      const [answer] = yield* to.sync([{
        ...reading(circuit),
        instance: `counted by ${from.backend}`,
        sequence: Math.floor(fromSnapshot.asOf / PERIOD_MILLIS),
        delta: {
          ...missing,
          lifetime: {
            ...missing.lifetime,
            lastSuccessDuration: counts.lastSuccessDuration,
            lastFailureDuration: counts.lastFailureDuration,
            ...(lastSuccessAge === undefined ? {} : { lastSuccessAge: lastSuccessAge + ageMillis }),
            ...(lastFailureAge === undefined ? {} : { lastFailureAge: lastFailureAge + ageMillis })
          }
        }
      }])
      const { snapshot } = yield* Effect.fromResult(answer!.result)
      return isEmpty(missingOf(counts, snapshot.lifetime)) ? "forward" : "short"
    })
  })

const missingOf = (counted: LifetimeCounts, others: LifetimeCounts) => ({
  ...noDelta,
  lifetime: Object.fromEntries(
    COUNTS.map((key) => [key, Math.max(0, counted[key] - others[key])])
  ) as unknown as LifetimeCounts
})
