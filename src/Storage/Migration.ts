/**
 * Moves circuits from one storage to another while the fleet keeps running, in four phases that all instances go
 * through together.
 *
 * | phase                  | decides | follows | purpose                                                  |
 * | ---------------------- | ------- | ------- | -------------------------------------------------------- |
 * | `read-old-write-both`  | the old | the new | fill the new storage                                     |
 * | `read-both-write-both` | the old | the new | compare both: the newer wins, and differences are logged |
 * | `read-new-write-both`  | the new | the old | use the new storage, with the way back open              |
 * | `read-new-write-new`   | the new |         | turn the old storage off                                 |
 *
 * **Details**
 *
 * - The phase is kept in both storages, as a circuit that this library reserves, with a generation. An instance reads
 *   it with every batch of reports and every poll of the bell, and at once where changes are pushed: all instances are in the new phase within an
 *   interval. Instances in neighbouring phases work together, because both storages get all reports and changes.
 * - `switchTo` goes one phase forward or back. Before the other storage is to decide, it is brought up to date with all
 *   circuits. The phase does not change while one of them could not be carried.
 * - States, overrides, the memory of the backoff, hints and lifetime counts are carried. The evidence of the last
 *   seconds is in both storages already, through the reports. The history stays in the old storage.
 *
 * - The gauge `circuit_breaker.persistence.migration` has the attributes `migration`, its name, and `phase`: it is 1 for the
 *   phase that this instance is in and 0 for the others.
 *
 * **Gotchas**
 *
 * - Every instance needs this layer, with both storages, from before the first switch until after the last.
 * - Leave an interval between two switches. An instance that was cut off from both storages meanwhile reads the phase
 *   with its first request that reaches one of them.
 * - While some instances are in one phase and some in the next, each of the two storages leases probes: one probe more
 *   may run.
 * - Lifetime counts that are carried while calls are made may come out too high, by the calls whose reports were under
 *   way.
 *
 * **Example** (From SQLite to Redis)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { RedisStorageLive } from "effect-breaker/layers/RedisStorageLive"
 * import { SqliteStorageLive } from "effect-breaker/layers/SqliteStorageLive"
 * import * as Migration from "effect-breaker/Storage/Migration"
 *
 * const StorageLive = Migration.layer({ name: "to-redis", from: SqliteStorageLive, to: RedisStorageLive })
 *
 * // On one instance, when all have the layer.
 * const next = Effect.gen(function*() {
 *   const migration = yield* Migration.Migration
 *   yield* migration.switchTo("read-both-write-both")
 *   const { differences } = yield* migration.compare
 *   if (differences.length === 0) yield* migration.switchTo("read-new-write-both")
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as SubscriptionRef from "effect/SubscriptionRef"
import { Follower } from "../combine/Follower.ts"
import type { FuseChange } from "../combine/Fuse.ts"
import { FusedStorage, skippedFields } from "../combine/FusedStorage.ts"
import { migratingStorage } from "../combine/migration/MigratingStorage.ts"
import { type Comparison, type MigrationError, type Phase, PHASES, type Progress } from "../combine/migration/Models.ts"
import { compare, fill, switchTo } from "../combine/migration/Operations.ts"
import { PhaseRecord } from "../combine/migration/PhaseRecord.ts"
import { rolesIn, type Sides } from "../combine/migration/Sides.ts"
import { built } from "../combine/Options.ts"
import { durationIn, oneOf, refuse } from "../internal/Check.ts"
import { makeFork } from "../internal/Fork.ts"
import { randomId } from "../internal/Ids.ts"
import { type Log, makeLogUntilClosed } from "../internal/Log.ts"
import { messages } from "../internal/Messages.ts"
import { gaugeOf, table } from "../internal/MetricTable.ts"
import { Storage, type StorageError } from "./Storage.ts"

export {
  type Comparison,
  type Difference,
  MigrationError,
  type Phase,
  type Progress
} from "../combine/migration/Models.ts"

/**
 * A migration, as an operator uses it on any of the instances.
 *
 * @category models
 * @since 0.1.0
 */
export interface Migration {
  /** The phase that this instance is in, and its changes. */
  readonly phase: SubscriptionRef.SubscriptionRef<Phase>
  /**
   * Switches all instances to the phase before or after theirs. Fails with a `StorageError` if a storage does not
   * answer. The phase may then have changed all the same, and it is safe to switch again.
   */
  readonly switchTo: (phase: Phase) => Effect.Effect<void, MigrationError | StorageError>
  /** Brings all circuits of the storage that does not decide up to date, with the progress after each hundred. */
  readonly backfill: Stream.Stream<Progress, StorageError>
  /** Compares all circuits. While calls are made, the counts of some always differ. */
  readonly compare: Effect.Effect<Comparison, StorageError>
}

/**
 * @category services
 * @since 0.1.0
 */
export const Migration: Context.Service<Migration, Migration> = Context.Service<Migration>(
  "effect-breaker/Storage/Migration"
)

/**
 * A migration from one storage to another.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<out S> {
  readonly from: S
  readonly to: S
  /**
   * The name of the migration. A later migration of one of these storages needs another name, because under the same
   * name it begins in the phase that this one ended in.
   */
  readonly name: string
  /** The phase of an instance before it has read one from a storage. Default `read-old-write-both`. */
  readonly initial?: Phase | undefined
  /**
   * The longest duration of a request to a storage that does not decide, from a millisecond to an hour. Default 10
   * seconds: no call waits for it.
   */
  readonly deadline?: Duration.Input | undefined
}

const LONGEST_MILLIS = 60 * 60 * 1000

const checked = ({ deadline = "10 seconds", initial = PHASES[0], name }: Options<unknown>) => {
  refuse("Storage \"migration\"", [
    ...durationIn("deadline", deadline, 1, LONGEST_MILLIS),
    ...oneOf("initial", initial, PHASES),
    ...(name !== "" && name.isWellFormed() ? [] : [{ field: "name", value: name, range: "well-formed Unicode" }])
  ])
  return { deadlineMillis: Duration.toMillis(deadline), initial, name }
}

const logChange = (log: Log) => (change: FuseChange, fused: FusedStorage): void => {
  const { backend } = fused.storage
  if (change._tag === "Up") log(messages.migrationRecovered, { backend })
  else if (change._tag === "Down") {
    log(messages.migrationUnreachable, { backend, ...skippedFields(change.forMillis, fused) })
  }
}

const sidesOf = (
  options: Options<Storage>,
  deadlineMillis: number,
  log: Log
): Effect.Effect<Sides, never, Scope.Scope> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const context = yield* Effect.context<never>()
    const background = makeFork(context, yield* Effect.scope)
    const instance = `migration ${yield* randomId}`
    const [from, to] = ([options.from, options.to] as const).map((storage) =>
      new FusedStorage({
        storage,
        isLast: false,
        clock,
        fork: makeFork(context),
        longestMillis: deadlineMillis,
        changed: logChange(log)
      })
    ) as [FusedStorage, FusedStorage]
    const forward = new Follower(from, to, deadlineMillis, instance, background)
    const backward = new Follower(to, from, deadlineMillis, instance, background)
    yield* forward.queue.run
    yield* backward.queue.run
    return { from, to, forward, backward, deadlineMillis }
  })

/** Exports the phase for as long as the scope is open. */
const exported = (migration: string, record: PhaseRecord): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(Effect.context<never>(), (context) => {
    const none = () => {}
    const registered = Effect.sync(() =>
      PHASES.map((phase) =>
        Metric.registerUnsafe(
          Metric.withAttributes(gaugeOf(table.persistenceMigration), { migration, phase }),
          context,
          {
            get: () => ({ value: record.current === phase ? 1 : 0 }),
            update: none,
            modify: none
          }
        )
      )
    )
    const removed = (series: ReadonlyArray<Metric.Registration>) =>
      Effect.sync(() => series.forEach((registration) => registration.remove()))
    return Effect.asVoid(Effect.acquireRelease(registered, removed))
  })

/**
 * Makes the storage that breakers use while their circuits move, and the migration, for as long as the scope is open.
 * Throws a `RangeError` for options out of range.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options<Storage>
): Effect.Effect<{ readonly storage: Storage; readonly migration: Migration }, never, Scope.Scope> => {
  const { deadlineMillis, initial, name } = checked(options)
  return Effect.gen(function*() {
    const log = yield* makeLogUntilClosed
    const sides = yield* sidesOf(options, deadlineMillis, log)
    const record = yield* PhaseRecord.make(name, initial, sides, log)
    yield* record.readBoth
    yield* exported(name, record)
    return {
      storage: migratingStorage(sides, record, log),
      migration: {
        phase: record.phase,
        switchTo: (phase) => switchTo(phase, record, sides),
        backfill: Stream.suspend(() => fill(rolesIn(record.current, sides).follower ?? sides.backward, sides)),
        compare: compare(sides)
      }
    }
  })
}

/**
 * The same as a layer, of layers. Fails with the errors of the layers, and needs their services.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E1, R1, E2, R2>(
  options: Omit<Options<never>, "from" | "to"> & {
    readonly from: Layer.Layer<Storage, E1, R1>
    readonly to: Layer.Layer<Storage, E2, R2>
  }
): Layer.Layer<Storage | Migration, E1 | E2, R1 | R2> => {
  checked(options)
  return Layer.effectContext(Effect.gen(function*() {
    const [from, to] = [yield* built(options.from), yield* built(options.to)]
    const { migration, storage } = yield* make({ ...options, from, to })
    return Context.make(Storage, storage).pipe(Context.add(Migration, migration))
  }))
}
