/**
 * Moves circuits from one storage to another while the fleet goes on, in four phases that all instances go through together.
 *
 * | phase                  | decides | is kept in step | for                                                                |
 * | ---------------------- | ------- | --------------- | ------------------------------------------------------------------ |
 * | `read-old-write-both`  | the old | the new         | filling the new one                                                |
 * | `read-both-write-both` | the old | the new         | comparing: what differs is told, and the newer is taken            |
 * | `read-new-write-both`  | the new | the old         | seeing whether it does, with the way back open                     |
 * | `read-new-write-new`   | the new |                 | turning the old one off                                            |
 *
 * **Details**
 *
 * - The phase lies in both storages, with the generation of its change, as a circuit of the library's own. An instance reads it
 *   with every report that it sends anyway, and hears of it where changes are pushed: all are in the new phase within an
 *   interval. Neighbouring phases go together, since both storages are told of all that happens.
 * - `switchTo` goes one phase on or back. Before the other storage is to decide it brings that up to date with all circuits, and
 *   does not switch while one of them could not be.
 * - Carried are states, overrides, the backoff's memory, hints and lifetime counts. The evidence of the last seconds the new one
 *   has by then from the reports; the history stays in the old one.
 *
 * **Gotchas**
 *
 * - Every instance needs this layer, with both storages, before the first switch, and until after the last.
 * - Leave an interval between two switches. An instance that was cut off from both storages meanwhile finds out by its first
 *   request that reaches one of them.
 * - While some instances are in one phase and some in the next, each of the two storages leases probes: one more may run.
 * - Counts that are made up for while calls go on may come out a few too many: those that were under way to the copy.
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
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { BATCH, type Carried, carry, compare, reading } from "../combine/Carry.ts"
import { heard as changesOf } from "../combine/Chain.ts"
import { Copy } from "../combine/Copy.ts"
import { type Asked, Guarded } from "../combine/Guarded.ts"
import { built } from "../combine/Options.ts"
import { RESERVED_PREFIX } from "../core/Reserved.ts"
import { durationIn, oneOf, refuse } from "../internal/Check.ts"
import { makeLog } from "../internal/Log.ts"
import { type CircuitReport, type Snapshot, Storage, type StorageError, type Synced } from "./Storage.ts"

const PHASES = [
  "read-old-write-both",
  "read-both-write-both",
  "read-new-write-both",
  "read-new-write-new"
] as const

/**
 * What is asked and what is told.
 *
 * @category models
 * @since 0.1.0
 */
export type Phase = typeof PHASES[number]

/**
 * The phases were not switched: `NotNext` to the one they are in, `Incomplete` because some circuits could not be carried.
 *
 * @category errors
 * @since 0.1.0
 */
export class MigrationError
  extends Schema.TaggedError<MigrationError>("effect-breaker/Storage/MigrationError")("MigrationError", {
    reason: Schema.Literals(["NotNext", "Incomplete"]),
    from: Schema.Literals(PHASES),
    to: Schema.Literals(PHASES),
    /** The circuits that could not be carried. */
    circuits: Schema.Array(Schema.String)
  })
{
  override get message(): string {
    return this.reason === "NotNext"
      ? `From ${this.from} it is one phase on or back, not ${this.to}`
      : `${this.circuits.length} circuits could not be carried, so the phase is still ${this.from}`
  }
}

/**
 * How far it has come.
 *
 * @category models
 * @since 0.1.0
 */
export interface Progress {
  /** Circuits that were looked at. */
  readonly circuits: number
  /** Of them, those of which the other storage had to be told. */
  readonly carried: number
  /** Those of which it knew something newer. */
  readonly newer: number
  /**
   * Those that it has still counted fewer calls of: they are under way to it, or another instance is just making up for them.
   */
  readonly short: number
  /** Those that could not be carried. */
  readonly failed: ReadonlyArray<string>
}

/**
 * A circuit that is not the same in both storages.
 *
 * @category models
 * @since 0.1.0
 */
export interface Difference {
  readonly circuit: string
  readonly what: ReadonlyArray<"generation" | "state" | "override" | "counts">
  readonly from: Snapshot
  readonly to: Snapshot
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Comparison {
  readonly circuits: number
  readonly differences: ReadonlyArray<Difference>
  /** Those that one of the storages could not tell of. */
  readonly failed: ReadonlyArray<string>
}

/**
 * A migration as an operator sees it, on any of the instances.
 *
 * @category models
 * @since 0.1.0
 */
export interface Migration {
  /** The phase, as known here, and its changes. */
  readonly phase: SubscriptionRef.SubscriptionRef<Phase>
  /**
   * Switches all instances to the phase before or after theirs. Fails with a `StorageError` where a storage does not answer; then
   * the phase may have changed, and switching can be done again.
   */
  readonly switchTo: (phase: Phase) => Effect.Effect<void, MigrationError | StorageError>
  /** Brings the storage that does not decide up to date with all circuits, and tells of each hundred how far it has come. */
  readonly backfill: Stream.Stream<Progress, StorageError>
  /** Compares all circuits. While calls are made some always differ in what they count. */
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
 * @category models
 * @since 0.1.0
 */
export interface Options<out S> {
  readonly from: S
  readonly to: S
  /** Which migration it is. A later one on one of these storages needs another name, or it begins in the phase this one ended in. */
  readonly name: string
  /** The phase of an instance that neither storage tells which it is. Default `read-old-write-both`. */
  readonly initial?: Phase | undefined
  /** How long a storage may take that does not decide, from a millisecond to an hour. Default 10 seconds: nobody waits for it. */
  readonly deadline?: Duration.Input | undefined
}

const LONGEST = 60 * 60 * 1000
/** How many milliseconds somebody waits for both storages. */
const PATIENCE = 1000

const checked = ({ deadline = "10 seconds", initial = PHASES[0], name }: Options<unknown>) => {
  refuse("Storage \"migration\"", [
    ...durationIn("deadline", deadline, 1, LONGEST),
    ...oneOf("initial", initial, PHASES),
    ...(name !== "" && name.isWellFormed() ? [] : [{ field: "name", value: name, range: "well-formed Unicode" }])
  ])
  return { deadline: Duration.toMillis(deadline), initial, control: `${RESERVED_PREFIX}migration/${name}` }
}

const isPhase = (text: string | undefined): text is Phase => PHASES.includes(text as Phase)

/**
 * A storage that is being moved, and the migration, for as long as the scope is open. Throws a `RangeError` for options that make
 * no sense.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options<Storage>
): Effect.Effect<{ readonly storage: Storage; readonly migration: Migration }, never, Scope.Scope> => {
  const { control, deadline, initial } = checked(options)
  return Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const context = yield* Effect.context<never>()
    const log = makeLog(context)
    const scope = yield* Effect.scope
    const fork = (effect: Effect.Effect<unknown>): void => {
      Effect.runForkWith(context)(Effect.forkIn(effect, scope))
    }
    const guardedOf = (storage: Storage) =>
      new Guarded(storage, false, clock, context, deadline, (_, state) => {
        const { backend } = storage
        if (state === "Open") log("Warn", "A storage of a migration does not answer", { backend })
        else log("Info", "A storage of a migration answers again", { backend })
      })
    const [from, to] = [guardedOf(options.from), guardedOf(options.to)]
    const instance = `migration ${yield* Random.nextInt} ${yield* Random.nextInt}`
    const forward = new Copy(from, to, deadline, instance)
    const backward = new Copy(to, from, deadline, instance)
    yield* forward.backlog.run
    yield* backward.backlog.run

    // -----------------------------------------------------------------------------
    // phases
    // -----------------------------------------------------------------------------

    const phase = yield* SubscriptionRef.make<Phase>(initial)
    let known = 0
    const now = (): Phase => SubscriptionRef.getUnsafe(phase)
    /** Who decides, and who is kept in step. */
    const roles = (phase: Phase): { readonly original: Guarded; readonly copy: Copy | undefined } => {
      switch (phase) {
        case "read-old-write-both":
        case "read-both-write-both":
          return { original: from, copy: forward }
        case "read-new-write-both":
          return { original: to, copy: backward }
        case "read-new-write-new":
          return { original: to, copy: undefined }
      }
    }

    const heard = ({ generation, override }: Snapshot): Effect.Effect<void> =>
      Effect.suspend(() => {
        const told = override?.reason
        if (generation <= known || !isPhase(told)) return Effect.void
        known = generation
        if (told === now()) return Effect.void
        log("Info", "The phase of a migration has changed", { phase: told })
        return SubscriptionRef.set(phase, told)
      })
    const look = (storage: Asked): Effect.Effect<void, StorageError> =>
      Effect.flatMap(
        storage.sync([reading(control)]),
        ([answer]) => Effect.flatMap(Effect.fromResult(answer!.result), ({ snapshot }) => heard(snapshot))
      )
    const lookAtBoth = Effect.all([from, to].map((storage) => Effect.result(look(storage.within(PATIENCE)))), {
      concurrency: 2
    })

    const names = Stream.suspend(() => {
      const seen = new Set<string>()
      return Stream.concat(options.from.list, options.to.list).pipe(
        Stream.filter((circuit) => !seen.has(circuit) && seen.add(circuit).size > 0),
        Stream.grouped(BATCH)
      )
    })

    const progressOf = (before: Progress, carried: ReadonlyArray<Carried>): Progress => {
      const count = (what: string) =>
        carried.filter(({ done }) => Result.isSuccess(done) && done.success === what).length
      const failed = carried.flatMap(({ circuit, done }) => Result.isFailure(done) ? [circuit] : [])
      return {
        circuits: before.circuits + carried.length,
        carried: before.carried + count("forward"),
        newer: before.newer + count("back"),
        short: before.short + count("short"),
        failed: [...before.failed, ...failed]
      }
    }
    const nothing: Progress = { circuits: 0, carried: 0, newer: 0, short: 0, failed: [] }
    /** Brings one of the storages up to date, whoever decides. */
    const fill = (copy: Copy): Stream.Stream<Progress, StorageError> =>
      names.pipe(
        Stream.mapEffect((circuits) => copy.repair(circuits)),
        Stream.mapAccum(() => nothing, (before, carried) => {
          const progress = progressOf(before, carried)
          return [progress, [progress]]
        })
      )
    const filled = (copy: Copy, from: Phase, to: Phase) =>
      Effect.flatMap(Stream.runLast(fill(copy)), (last) => {
        const { failed: circuits } = last._tag === "Some" ? last.value : nothing
        return circuits.length === 0 ? Effect.void : Effect.fail(
          new MigrationError({ reason: "Incomplete", from, to, circuits })
        )
      })

    const publish = (next: Phase, original: Guarded, other: Guarded) =>
      Effect.gen(function*() {
        const { snapshot } = yield* original.within(deadline).change(control, {
          _tag: "Operation",
          id: `${next} after ${known}`,
          known,
          why: { reason: next },
          to: { _tag: "Override", kind: "Disabled", reason: next, actor: "migration" }
        })
        yield* heard(snapshot)
        // Whoever has slept through a phase looks here.
        yield* Effect.flatMap(
          carry(original.within(deadline), other.within(deadline), [control], "from"),
          ([carried]) => Effect.fromResult(carried!.done)
        )
      })

    const switchTo = (next: Phase): Effect.Effect<void, MigrationError | StorageError> =>
      Effect.gen(function*() {
        yield* lookAtBoth
        const current = now()
        const step = PHASES.indexOf(next) - PHASES.indexOf(current)
        if (Math.abs(step) > 1) {
          return yield* Effect.fail(
            new MigrationError({ reason: "NotNext", from: current, to: next, circuits: [] })
          )
        }
        const { copy = backward, original } = roles(current)
        const isNew = original === to || roles(next).original === to
        if (step !== 0 && isNew) yield* filled(copy, current, next)
        yield* publish(next, original, original === from ? to : from)
      })

    const differences: Migration["compare"] = names.pipe(
      Stream.mapEffect((circuits) => compare(from.within(deadline), to.within(deadline), circuits)),
      Stream.flattenIterable,
      Stream.runFold((): Comparison => ({ circuits: 0, differences: [], failed: [] }), (all, { circuit, views }) => {
        if (Result.isFailure(views)) return { ...all, circuits: all.circuits + 1, failed: [...all.failed, circuit] }
        const [theirs, ours] = views.success
        const what = differencesOf(theirs, ours)
        const found = what.length === 0 ? [] : [{ circuit, what, from: theirs, to: ours }]
        return { ...all, circuits: all.circuits + 1, differences: [...all.differences, ...found] }
      })
    )

    // -----------------------------------------------------------------------------
    // the storage
    // -----------------------------------------------------------------------------

    /** Brings both to the newer of what they know. */
    const readBoth = (circuits: ReadonlyArray<string>) => {
      const [old, next] = [from.within(PATIENCE / 2), to.within(PATIENCE / 2)]
      return Effect.ignore(Effect.tap(carry(old, next, circuits, "from"), (carried) => {
        const newer = carried.flatMap(({ circuit, done }) =>
          Result.isSuccess(done) && done.success === "back" ? [circuit] : []
        )
        if (newer.length > 0) log("Info", "The new storage knew something newer", { circuits: newer })
        return Effect.void
      }))
    }

    const sync = (reports: ReadonlyArray<CircuitReport>): Effect.Effect<ReadonlyArray<Synced>, StorageError> =>
      Effect.suspend(() => {
        const { copy, original: { storage } } = roles(now())
        const told = copy?.tell(reports, fork)
        const circuits = reports.map(({ circuit }) => circuit)
        const before = now() === "read-both-write-both" ? readBoth(circuits) : Effect.void
        // What it is still to count from when it was kept in step goes first, or by its order it would seem to be counted.
        const { owed } = storage === options.to ? forward : backward
        const paid = Effect.forEach(
          circuits.filter((circuit) => owed.has(circuit)),
          (circuit) => owed.pay(circuit, storage),
          {
            discard: true
          }
        )
        const asked = Effect.andThen(Effect.andThen(before, paid), storage.sync([...reports, reading(control)]))
        return Effect.flatMap(asked, (answers) => {
          const last = answers.at(-1)
          const synced = answers.slice(0, reports.length)
          for (const [i, { circuit, result }] of synced.entries()) {
            if (Result.isFailure(result)) continue
            copy?.decided(circuit, result.success.snapshot)
            if (told?.has(reports[i]!) === false) copy?.missed(reports[i]!, false)
          }
          return Effect.as(
            last !== undefined && Result.isSuccess(last.result) ? heard(last.result.success.snapshot) : Effect.void,
            synced
          )
        })
      })

    const changes = (storage: Storage) =>
      Stream.tap(
        changesOf(storage),
        (said) => said._tag === "Changed" && said.circuit !== control ? Effect.void : lookAtBoth
      )

    yield* lookAtBoth

    const { backend: oldName, capabilities, idleTimeToLive } = options.from
    const both = (key: keyof typeof capabilities): boolean => capabilities[key] && options.to.capabilities[key]
    const storage: Storage = {
      backend: `migration(${oldName}, ${options.to.backend})`,
      capabilities: {
        shared: both("shared"),
        durable: both("durable"),
        pushes: both("pushes"),
        history: both("history"),
        fences: both("fences")
      },
      idleTimeToLive: Duration.min(idleTimeToLive, options.to.idleTimeToLive),
      sync,
      change: (circuit, change) =>
        Effect.suspend(() => {
          const { copy, original } = roles(now())
          return Effect.tap(original.storage.change(circuit, change), ({ snapshot }) =>
            Effect.sync(() => copy?.decided(circuit, snapshot)))
        }),
      probe: (circuit, probe) =>
        Effect.suspend(() => {
          const { copy, original } = roles(now())
          return Effect.tap(original.storage.probe(circuit, probe), ({ snapshot }) =>
            Effect.sync(() => copy?.decided(circuit, snapshot)))
        }),
      changes: both("pushes")
        ? Stream.merge(changes(options.from), changes(options.to))
        : Stream.empty,
      list: Stream.suspend(() => roles(now()).original.storage.list),
      history: (circuit, history) => Effect.suspend(() => roles(now()).original.storage.history(circuit, history))
    }
    return {
      storage,
      migration: {
        phase,
        switchTo,
        backfill: Stream.suspend(() => fill(roles(now()).copy ?? backward)),
        compare: differences
      }
    }
  })
}

const differencesOf = (theirs: Snapshot, ours: Snapshot): Difference["what"] => [
  ...(theirs.generation === ours.generation ? [] : ["generation" as const]),
  ...(theirs.state._tag === ours.state._tag ? [] : ["state" as const]),
  ...(theirs.override?.kind === ours.override?.kind ? [] : ["override" as const]),
  ...(theirs.lifetime.success === ours.lifetime.success && theirs.lifetime.failure === ours.lifetime.failure &&
      theirs.lifetime.ignored === ours.lifetime.ignored && theirs.lifetime.rejected === ours.lifetime.rejected
    ? []
    : ["counts" as const])
]

/**
 * The same as a layer, of layers. Fails and needs what they fail with and need.
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
