/**
 * The storage that breakers keep their circuits in, as a service: every breaker needs one, so that changing where circuits
 * live is changing one layer, and a program without one does not compile.
 *
 * A storage is dumb: it adds up reports, compares and sets generations, leases probes and tells the time. It knows no trip
 * policy. What it keeps of a circuit, and what each of its operations does to it, are pure functions in the core of this
 * library; `fromDocument` makes a storage of them and of one atomic "modify this circuit's document". Whoever writes one that
 * does natively what they say holds it against them by the conformance suite.
 *
 * **The laws**
 *
 * - Every write is safe to repeat, late or twice: reports by their sequence, leases by their name, operations by their id,
 *   changes by the generation they are of.
 * - A failed read is an error and never an absent circuit. A refused attempt extends nothing.
 * - Every operation is interruptible, never blocks the event loop, and needs nothing but its arguments. A breaker waits for
 *   one no longer than its deadline, and takes one that did not answer for not done, though it may have been.
 * - The storage's clock dates all that is shared, read once the circuit is held (its row locked, its key owned). Times cross
 *   the wire as what remains or has elapsed, in milliseconds.
 * - Generations only grow and are never reissued, not even after a loss of data.
 * - A circuit that nobody wrote is Closed at generation 0. Reading creates nothing; a report creates a record, and never a
 *   generation.
 * - A circuit's name is any well-formed text, compared by code point. What is not well-formed is `Invalid`.
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
import type { Snapshot, Why } from "../core/Record.ts"
import type { Report, Reported } from "../core/Report.ts"

export type { Change, Operation, OperationTo, PutBack, Trip } from "../core/Change.ts"
export type { AgedCounts, Counts, Delta, LifetimeCounts, LifetimeDelta, Streak } from "../core/Delta.ts"
export type { Ask, Settle } from "../core/Lease.ts"
export type {
  Author,
  LeaseName,
  Opening,
  Snapshot,
  SnapshotLifetime,
  SnapshotOverride,
  SnapshotState,
  Why
} from "../core/Record.ts"
export type { Report, Reported } from "../core/Report.ts"

/**
 * A storage could not do what it was asked.
 *
 * - `Unavailable`: it could not be reached. `Deadline`: it did not answer in time. `Invalid`: what it holds or answered makes
 *   no sense. `Denied`: it refused.
 *
 * @category errors
 * @since 0.1.0
 */
export class StorageError
  extends Schema.TaggedError<StorageError>("effect-breaker/Storage/StorageError")("StorageError", {
    operation: Schema.String,
    circuit: Schema.optionalKey(Schema.String),
    reason: Schema.Literals(["Unavailable", "Deadline", "Invalid", "Denied"]),
    cause: Schema.Defect()
  })
{
  override get message(): string {
    return `Storage ${this.reason.toLowerCase()} on ${this.operation}`
  }
}

/**
 * Whether an error is a `StorageError`, told by its tag: a storage may come with its own copy of this library.
 *
 * @category guards
 * @since 0.1.0
 */
export const isStorageError = (error: unknown): error is StorageError => isTagged(error, "StorageError")

/**
 * What can be expected of a storage beyond the laws.
 *
 * @category models
 * @since 0.1.0
 */
export interface Capabilities {
  /** Hosts share it: processes on different machines see one circuit. It makes `pooled` the default evidence. */
  readonly shared: boolean
  /** It outlives the process. */
  readonly durable: boolean
  /** `changes` tells of changes as they are made. */
  readonly pushes: boolean
  /** `history` remembers changes. */
  readonly history: boolean
  /** It decides between those who write at once. Without it nothing can be agreed, and a breaker is alone with what it saw. */
  readonly fences: boolean
}

/**
 * What an instance reports of a circuit.
 *
 * @category models
 * @since 0.1.0
 */
export interface CircuitReport extends Report {
  readonly circuit: string
}

/**
 * What became of a report, and the fleet's view after it, with the totals of the report's `withins`; or why there is none.
 *
 * @category models
 * @since 0.1.0
 */
export interface Synced {
  readonly circuit: string
  readonly result: Result.Result<{ readonly reported: Reported; readonly snapshot: Snapshot }, StorageError>
}

/**
 * Whether a change was made, and the winner's view either way. Its totals are empty.
 *
 * @category models
 * @since 0.1.0
 */
export interface Changed {
  readonly committed: boolean
  readonly snapshot: Snapshot
}

/**
 * A request to lease a probe, or how a leased one ended.
 *
 * @category models
 * @since 0.1.0
 */
export type Probe = ({ readonly _tag: "Ask" } & Ask) | ({ readonly _tag: "Settle" } & Settle)

/**
 * Whether the lease was granted, or settled, and the view after it. Its totals are empty.
 *
 * @category models
 * @since 0.1.0
 */
export interface Probed {
  readonly granted: boolean
  readonly snapshot: Snapshot
}

/**
 * What `changes` tells: that from here on it hears of every change (first, and again whenever it may have missed some), and
 * that a circuit has come to a generation.
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
  }

/**
 * A change of a circuit, as its history keeps it. `at` is Unix milliseconds by the storage's clock.
 *
 * @category models
 * @since 0.1.0
 */
export interface HistoryEntry {
  readonly generation: number
  readonly at: number
  readonly from: Snapshot["state"]["_tag"]
  readonly to: Snapshot["state"]["_tag"]
  /** The override that is in force after it. */
  readonly override?: string | undefined
  readonly why: Why
}

/**
 * A place for circuits. Whoever implements it keeps the laws at the head of this module, and runs the conformance suite.
 *
 * @category models
 * @since 0.1.0
 */
export interface Storage {
  /** What it is, for people: `memory`, `redis`. */
  readonly backend: string
  readonly capabilities: Capabilities
  /** A circuit is forgotten once it was not used for this long and nothing that runs out is still running. Default 1 hour. */
  readonly idleTimeToLive: Duration.Duration
  /**
   * Adds what an instance saw, each circuit by itself, and answers for each in the order asked: a batch may succeed in part. A
   * report is counted once per circuit, instance and sequence. Deltas of an older generation never enter the window, those of
   * a newer one are answered `Behind`. A report without counts is a pure read, which writes nothing.
   *
   * It fails where nothing of the batch could be reached. Of one instance and circuit there is at most one report in a batch.
   */
  readonly sync: (reports: ReadonlyArray<CircuitReport>) => Effect.Effect<ReadonlyArray<Synced>, StorageError>
  /**
   * One compare-and-set, atomic with its row of history and its announcement. An operator's change that could not be committed
   * fails, `Denied` where it was refused, and has changed nothing anywhere.
   */
  readonly change: (circuit: string, change: Change) => Effect.Effect<Changed, StorageError>
  /** Leases a probe, beginning a half-open round when the open time is up, or settles one, each in one step. */
  readonly probe: (circuit: string, probe: Probe) => Effect.Effect<Probed, StorageError>
  /** Changes as they are made, by whomever. Empty where there is no push. It may lose, double and reorder them. */
  readonly changes: Stream.Stream<Announcement, StorageError>
  /**
   * The names of the circuits that have a record, in no order, without those that begin with `__effect_breaker/`, which this
   * library keeps for itself. For operators.
   */
  readonly list: Stream.Stream<string, StorageError>
  /** The last changes of a circuit, newest first, at most `limit` (default 20). For operators. */
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
