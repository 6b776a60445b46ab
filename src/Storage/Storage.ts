/**
 * The storage that breakers keep their circuits in, as a service. Every breaker requires it: a program without a
 * storage does not compile, and swapping one layer moves the circuits to another storage.
 *
 * A storage makes no decisions: it adds up reports, compares and sets generations, leases probes and tells the time. It
 * knows no trip policy. The record of a circuit, and the effect of each operation on it, are pure functions in the core
 * of this library. `fromDocument` makes a storage from them and one atomic "modify this circuit's document". A storage
 * that implements the operations natively is compared with them by the conformance suite.
 *
 * **The laws**
 *
 * - Every write is safe to repeat and may arrive late: reports are recognised by their sequence, leases by their name,
 *   operations by their id, other changes by their generation.
 * - A failed read is an error, never an absent circuit. A refused request does not extend the life of a record or
 *   lease.
 * - Every operation is interruptible, never blocks the event loop, and requires no services. A breaker waits for an
 *   answer until its deadline. It treats an operation without an answer as failed; it may still have been applied.
 * - All shared times are of the storage's clock, read after the circuit is locked (its row, its key). Times cross the
 *   wire as remaining or elapsed milliseconds.
 * - Generations only grow and are never reused, not even after a loss of data.
 * - A circuit that was never written is Closed at generation 0. Reading creates nothing. A report may create a record,
 *   but never a generation.
 * - Every well-formed text is a circuit's name; names are compared by code point. A name that is not well-formed fails
 *   with `Invalid`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import { isTagged } from "effect/Predicate"
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { Change } from "../core/Change.ts"
import type { Ask, Settle } from "../core/Lease.ts"
import type { Snapshot, SnapshotAlert, Why } from "../core/Record.ts"
import type { Report, Reported } from "../core/Report.ts"

export type { Change, Operation, OperationTo, PutBack, Trip } from "../core/Change.ts"
export type { AgedCounts, Counts, Delta, LifetimeCounts, LifetimeDelta, Streak } from "../core/Delta.ts"
export type { Ask, Settle } from "../core/Lease.ts"
export type {
  Author,
  LeaseName,
  Opening,
  Snapshot,
  SnapshotAlert,
  SnapshotLifetime,
  SnapshotOverride,
  SnapshotState,
  Why
} from "../core/Record.ts"
export type { Report, Reported } from "../core/Report.ts"

interface StorageErrorFields {
  readonly operation: string
  readonly circuit?: string
  readonly reason: "Unavailable" | "Deadline" | "Invalid" | "Denied"
  readonly cause: unknown
}

/**
 * An operation of a storage failed.
 *
 * - `Unavailable`: the storage could not be reached, or does not serve us now: it takes no writes, is full, or says what
 *   nobody knows.
 * - `Deadline`: the storage did not answer in time. The operation may still have been applied.
 * - `Invalid`: the storage holds or returned something that cannot be decoded, or the circuit's name is not
 *   well-formed.
 * - `Denied`: the storage refused the operation.
 *
 * **Gotchas**
 *
 * `cause` is the driver's error, or a text. It stays in the process: it is neither encoded nor in JSON, because it may hold hosts,
 * statements and parameters, and a decoded error has none. The library's own log lines show its text.
 *
 * @category errors
 * @since 0.1.0
 */
export class StorageError
  extends Schema.TaggedError<StorageError>("effect-breaker/Storage/StorageError")("StorageError", {
    operation: Schema.String,
    circuit: Schema.optionalKey(Schema.String),
    reason: Schema.Literals(["Unavailable", "Deadline", "Invalid", "Denied"])
  })
{
  // Decoding still works, because it passes its arguments on and needs no more than the schema's fields.
  // @effect-diagnostics-next-line overriddenSchemaConstructor:off
  constructor(fields: StorageErrorFields, options?: Schema.MakeOptions) {
    super(fields, options)
    if (fields.cause !== undefined) Object.defineProperty(this, "cause", { value: fields.cause, configurable: true })
  }

  override toJSON(): unknown {
    return Schema.encodeSync(StorageError)(this)
  }

  override get message(): string {
    const failure = `Storage ${this.reason.toLowerCase()} on ${this.operation}`
    // These two are about one circuit and for an operator to resolve. The other causes are a driver's, and may name
    // hosts.
    if (this.reason !== "Invalid" && this.reason !== "Denied") return failure
    const circuit = this.circuit === undefined ? "" : ` of circuit ${JSON.stringify(this.circuit.slice(0, 100))}`
    return `${failure}${circuit}${typeof this.cause === "string" ? `: ${this.cause}` : ""}`
  }
}

/**
 * Whether an error is a `StorageError`. It goes by the tag, because a storage may come with its own copy of this library.
 *
 * @category guards
 * @since 0.1.0
 */
export const isStorageError = (error: unknown): error is StorageError => isTagged(error, "StorageError")

/**
 * The abilities of a storage beyond the laws.
 *
 * @category models
 * @since 0.1.0
 */
export interface Capabilities {
  /** Processes on different machines share its circuits. Then `pooled` is the default evidence. */
  readonly shared: boolean
  /** Circuits outlive the process. */
  readonly durable: boolean
  /** `changes` emits changes as they are made. */
  readonly pushes: boolean
  /** `history` returns past changes. */
  readonly history: boolean
  /**
   * Concurrent writes are arbitrated. Without this nothing can be agreed, and a breaker decides on its own evidence
   * alone.
   */
  readonly fences: boolean
  /** `bells` tells what was changed, and reports that suspect a trip begin an alert. Default `false`. */
  readonly bells?: boolean | undefined
}

/**
 * The report of an instance about one circuit.
 *
 * @category models
 * @since 0.1.0
 */
export interface CircuitReport extends Report {
  readonly circuit: string
}

/**
 * The result of a report: whether it was counted, and the fleet's view after it, with totals over the report's
 * `withins`; or the error of this circuit.
 *
 * @category models
 * @since 0.1.0
 */
export interface Synced {
  readonly circuit: string
  readonly result: Result.Result<{ readonly reported: Reported; readonly snapshot: Snapshot }, StorageError>
}

/**
 * Whether a change was made, and the view afterwards, which is the winner's if it was not. The view has no totals.
 *
 * @category models
 * @since 0.1.0
 */
export interface Changed {
  readonly committed: boolean
  readonly snapshot: Snapshot
}

/**
 * A request for the lease of a probe (`Ask`), or the end of a leased probe (`Settle`).
 *
 * @category models
 * @since 0.1.0
 */
export type Probe = ({ readonly _tag: "Ask" } & Ask) | ({ readonly _tag: "Settle" } & Settle)

/**
 * Whether the lease was granted or settled, and the view afterwards. The view has no totals.
 *
 * @category models
 * @since 0.1.0
 */
export interface Probed {
  readonly granted: boolean
  readonly snapshot: Snapshot
}

/**
 * An element of `changes`. `Subscribed`: from here on every change is emitted. It comes first, and again whenever
 * changes may have been missed. `Changed`: a circuit has a new generation. With `alert` an instance has called for the counts of
 * all, and the generation may be known already.
 *
 * @category models
 * @since 0.1.0
 */
export type Announcement =
  | { readonly _tag: "Subscribed" }
  | {
    readonly _tag: "Changed"
    readonly circuit: string
    readonly generation: number
    readonly snapshot?: Snapshot | undefined
    readonly alert?: SnapshotAlert | undefined
  }

/**
 * The answer to a poll of the bells: the circuits that have a new generation, or for which an alert was called.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bells {
  /** Names the storage's data: another one after a loss of all of it. */
  readonly epoch: string
  /** The storage's clock. */
  readonly now: number
  /** When a circuit rang last; 0 for never. An earlier time than before tells that the storage has lost what was newer. */
  readonly lastRungAt: number
  /** `"all"`: any circuit may have changed, because the time that was asked for is too long ago. */
  readonly rung: "all" | ReadonlyArray<Omit<Extract<Announcement, { readonly _tag: "Changed" }>, "_tag" | "snapshot">>
}

/**
 * A change of a circuit, as its history keeps it. `at` is Unix milliseconds of the storage's clock.
 *
 * @category models
 * @since 0.1.0
 */
export interface HistoryEntry {
  readonly generation: number
  readonly at: number
  readonly from: Snapshot["state"]["_tag"]
  readonly to: Snapshot["state"]["_tag"]
  /** The override in force after the change. */
  readonly override?: string | undefined
  readonly why: Why
}

/**
 * A storage of circuits. An implementation must keep the laws at the head of this module and pass the conformance
 * suite.
 *
 * @category models
 * @since 0.1.0
 */
export interface Storage {
  /** The name of the backend, for people: `memory`, `redis`. */
  readonly backend: string
  readonly capabilities: Capabilities
  /**
   * A circuit is forgotten once it was not used for this long, and its open time, override, leases and backoff are
   * over. Default 1 hour.
   */
  readonly idleTimeToLive: Duration.Duration
  /**
   * Adds an instance's reports, each circuit on its own, and returns one result per report, in their order. A batch may
   * succeed in part. A report is counted once per circuit, instance and sequence. A delta of an older generation never
   * enters the window; one of a newer generation is answered with `Behind`. A report without counts only reads, and
   * writes nothing.
   *
   * It fails if no circuit of the batch could be reached. A batch has at most one report per instance and circuit.
   */
  readonly sync: (reports: ReadonlyArray<CircuitReport>) => Effect.Effect<ReadonlyArray<Synced>, StorageError>
  /**
   * One compare-and-set, atomic with its row of history and its announcement. An operator's change that could not be
   * committed fails (with `Denied` if it was refused) and has changed nothing anywhere.
   */
  readonly change: (circuit: string, change: Change) => Effect.Effect<Changed, StorageError>
  /**
   * Grants the lease of a probe or settles one, each in one step. A grant begins the half-open round if the open time
   * is over. A lease holds a place for its duration, and can be settled until its generation ends.
   */
  readonly probe: (circuit: string, probe: Probe) => Effect.Effect<Probed, StorageError>
  /**
   * Where `capabilities.bells` is `true`: what has changed, or was called, since this time of the storage's clock. It is
   * answered with `"all"` if that is more than a minute ago, and if no time is given. It may tell more than that, and reads alone.
   */
  readonly bells?: ((since: number | undefined) => Effect.Effect<Bells, StorageError>) | undefined
  /** All changes as they are made; empty if the storage does not push. It may lose, repeat and reorder changes. */
  readonly changes: Stream.Stream<Announcement, StorageError>
  /**
   * The names of the circuits that have a record, in no order. Names that begin with `__effect_breaker/` are left out,
   * because this library keeps them for itself. For operators.
   */
  readonly list: Stream.Stream<string, StorageError>
  /** The latest changes of a circuit, newest first, at most `limit` (default 20). For operators. */
  readonly history: (
    circuit: string,
    options?: { readonly limit?: number | undefined }
  ) => Effect.Effect<ReadonlyArray<HistoryEntry>, StorageError>
}

/**
 * @category services
 * @since 0.1.0
 */
export const Storage: Context.Service<Storage, Storage> = Context.Service<Storage>("effect-breaker/Storage/Storage")
