/**
 * A storage made of one atomic "modify this circuit's document": whoever can read a text, and write it back unless somebody
 * else has meanwhile, has a storage. The record's transitions are pure functions, and run inside that modification.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { change } from "../core/Change.ts"
import { ask, settle } from "../core/Lease.ts"
import {
  type CircuitRecord,
  expired,
  expiresAt,
  historyEntry,
  type Snapshot,
  snapshot,
  type Why
} from "../core/Record.ts"
import { report } from "../core/Report.ts"
import { isReserved } from "../core/Reserved.ts"
import { durationIn, refuse } from "../internal/Check.ts"
import {
  type Announcement,
  type Capabilities,
  type HistoryEntry,
  type Storage,
  StorageError,
  type Synced
} from "./Storage.ts"

/**
 * All that is kept of one circuit: plain JSON.
 *
 * A document whose `expiresAt` has come is as good as deleted, so a storage may delete it when it likes. The time is Unix
 * milliseconds by the storage's clock; without it the document must be kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface Document {
  readonly record: CircuitRecord
  /** Newest first, at most 32. */
  readonly history: ReadonlyArray<HistoryEntry>
  readonly expiresAt?: number | undefined
}

/**
 * Reads a circuit's document, `undefined` where there is none, and writes what `f` makes of it, with nobody in between: in a
 * transaction, with the row locked, or by compare-and-set in a loop. Succeeds with the result of the `f` whose document was
 * written.
 *
 * - `now` is Unix milliseconds by the storage's clock, read once the document is held. A clock of the host's must not be read
 *   where a server's can be.
 * - `f` is pure, does not throw, and may be run again.
 * - The same reference back means: write nothing. That is what most runs do; whoever writes all the same makes every read a
 *   write.
 * - Fails with a `StorageError` whose `reason` and `cause` count; the operation and the circuit are filled in.
 *
 * @category models
 * @since 0.1.0
 */
export type Modify = <A>(
  circuit: string,
  f: (document: Document | undefined, now: number) => readonly [result: A, document: Document | undefined]
) => Effect.Effect<A, StorageError>

/**
 * What a storage is made of.
 *
 * @category models
 * @since 0.1.0
 */
export interface DocumentOptions {
  /** What it is, for people: `memory`, `dynamodb`. */
  readonly backend: string
  /** `history` and `fences` are true of every storage made of documents, `pushes` is where there is a `push`. */
  readonly capabilities: Capabilities
  /** After how long without use a circuit is forgotten, at least a second. Default 1 hour. */
  readonly idleTimeToLive?: Duration.Input | undefined
  readonly modify: Modify
  /** The circuits that have a document, in no order, if possible without those whose `expiresAt` has come. */
  readonly names: Stream.Stream<string, StorageError>
  /** How changes reach other instances at once. Without it they find out by their next report. */
  readonly push?: {
    /**
     * Tells the others of a change that was written. Its author's answer waits for it, so it should not wait for anyone. That
     * it failed is logged and costs the others an interval.
     */
    readonly announce: (
      announcement: Extract<Announcement, { readonly _tag: "Changed" }>
    ) => Effect.Effect<void, StorageError>
    /** What others announced, and one's own. Begins with `Subscribed`, which comes again whenever some may have been missed. */
    readonly changes: Stream.Stream<Announcement, StorageError>
  } | undefined
}

const MOST_HISTORY = 32

/** At once in one batch, so that a large one does not take all connections of a pool. */
const CONCURRENCY = 16

const LONGEST = 365 * 24 * 60 * 60 * 1000

/**
 * The idle time of a storage, checked: a `RangeError` unless it lies between a second and a year. Default 1 hour.
 *
 * @category constructors
 * @since 0.1.0
 */
export const idleTime = (backend: string, idleTimeToLive: Duration.Input = "1 hour"): Duration.Duration => {
  refuse(`Storage ${JSON.stringify(backend)}`, durationIn("idleTimeToLive", idleTimeToLive, 1000, LONGEST))
  return Duration.fromInputUnsafe(idleTimeToLive)
}

/**
 * Makes a storage of a way to modify a circuit's document. Throws a `RangeError` for an idle time that makes no sense.
 *
 * **Details**
 *
 * A batch of reports is worked off 16 at a time. A circuit that fails does not fail the others; where none could be reached,
 * the batch fails. A document that `f` cannot work with is `Invalid`, and stays as it is. One of a newer format is read and
 * never written.
 *
 * **Gotchas**
 *
 * A change, its row of history and its document are written as one, but announced after that: whoever is interrupted between
 * the two has made a change that the others hear of by their next report.
 *
 * **Example** (A storage over anything that compares and sets)
 *
 * ```ts
 * import { Clock, Effect, Layer, Stream } from "effect"
 * import { Storage } from "effect-breaker"
 *
 * declare const table: {
 *   readonly get: (key: string) => Effect.Effect<string | undefined, Storage.StorageError>
 *   readonly compareAndSet: (
 *     key: string,
 *     expected: string | undefined,
 *     value: string
 *   ) => Effect.Effect<boolean, Storage.StorageError>
 *   readonly keys: Stream.Stream<string, Storage.StorageError>
 * }
 *
 * const TableStorageLive = Layer.sync(Storage.Storage, () =>
 *   Storage.fromDocument({
 *     backend: "table",
 *     capabilities: { shared: true, durable: true, pushes: false, history: true, fences: true },
 *     names: table.keys,
 *     modify: Effect.fnUntraced(function*(circuit, f) {
 *       while (true) {
 *         const text = yield* table.get(circuit)
 *         const document = text === undefined ? undefined : yield* Storage.decodeDocument(text)
 *         const [result, next] = f(document, yield* Clock.currentTimeMillis)
 *         if (next === undefined || next === document) return result
 *         if (yield* table.compareAndSet(circuit, text, yield* Storage.encodeDocument(next))) return result
 *       }
 *     })
 *   }))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromDocument = (options: DocumentOptions): Storage => {
  const { backend, capabilities, modify, names, push } = options
  const idleTimeToLive = idleTime(backend, options.idleTimeToLive)
  const idle = Duration.toMillis(idleTimeToLive)

  const run = <A>(
    operation: string,
    circuit: string,
    f: (document: Document | undefined, now: number) => readonly [answer: A, document: Document | undefined]
  ): Effect.Effect<A, StorageError> => {
    const failed = ({ cause, reason }: Pick<StorageError, "cause" | "reason">) =>
      new StorageError({ operation, circuit, reason, cause })
    if (!circuit.isWellFormed()) {
      return Effect.fail(failed({ reason: "Invalid", cause: "the circuit's name is not well-formed Unicode" }))
    }
    return modify(circuit, (stored, now): readonly [Result.Result<A, StorageError>, Document | undefined] => {
      try {
        const document = unexpired(stored, now, idle)
        const [answer, next] = f(document, now)
        return [Result.succeed(answer), next === document ? stored : next]
      } catch (cause) {
        return [Result.fail(failed({ reason: "Invalid", cause })), stored]
      }
    }).pipe(Effect.mapError(failed), Effect.flatMap(Effect.fromResult))
  }

  /** Runs a transition, writes what it changed, and announces a new generation. `why` is for the history. */
  const transition = <A extends object>(
    operation: string,
    circuit: string,
    step: (record: CircuitRecord | undefined, now: number) => readonly [record: CircuitRecord | undefined, answer: A],
    { why, withins = [] }: { readonly why?: Why; readonly withins?: ReadonlyArray<number> } = {}
  ): Effect.Effect<A & { readonly snapshot: Snapshot }, StorageError> =>
    run(operation, circuit, (document, now) => {
      const before = document?.record
      const [record, answer] = step(before, now)
      const view = { ...answer, snapshot: snapshot(record, withins, now, idle) }
      if (record === undefined || record === before) return [{ view, isChange: false }, document]
      const isChange = record.generation !== (before?.generation ?? 0)
      const history = document?.history ?? []
      const until = expiresAt(record, idle)
      return [{ view, isChange }, {
        ...document,
        record,
        history: isChange ? [historyEntry(before, record, why, now), ...history].slice(0, MOST_HISTORY) : history,
        expiresAt: until === Infinity ? undefined : until
      }]
    }).pipe(
      Effect.tap(({ isChange, view: { snapshot } }) => isChange ? announce(circuit, snapshot) : Effect.void),
      Effect.map(({ view }) => view)
    )

  const announce = (circuit: string, snapshot: Snapshot): Effect.Effect<void> =>
    push === undefined ? Effect.void : Effect.ignore(
      push.announce({ _tag: "Changed", circuit, generation: snapshot.generation, snapshot }),
      { log: "Unhandled" }
    )

  return {
    backend,
    capabilities,
    idleTimeToLive,
    sync: (reports) =>
      Effect.forEach(reports, ({ circuit, ...input }) =>
        transition("sync", circuit, (stored, now) => {
          const { record, reported } = report(stored, input, now, idle)
          return [record, { reported }]
        }, input).pipe(Effect.result, Effect.map((result) => ({ circuit, result }))), { concurrency: CONCURRENCY })
        .pipe(
          // Who sends it must see that the storage is away, and not so many circuits that each have a trouble of their own.
          Effect.tap((synced) =>
            synced[0] !== undefined && synced.every(isUnreached) ? Effect.fromResult(synced[0].result) : Effect.void
          )
        ),
    change: (circuit, input) =>
      transition("change", circuit, (stored, now) => {
        const { committed, record } = change(stored, input, now, idle)
        return [record, { committed }]
      }, {
        why: input._tag === "PutBack"
          ? { reason: "put back after a loss of data", evidence: input.snapshot.why }
          : input.why
      }).pipe(
        Effect.filterOrFail(({ committed }) => committed || input._tag !== "Operation", () =>
          new StorageError({
            operation: "change",
            circuit,
            reason: "Denied",
            cause: "a newer version of this library owns the circuit, or wrote what is to be imported"
          }))
      ),
    probe: (circuit, input) =>
      transition("probe", circuit, (stored, now) => {
        if (input._tag === "Ask") {
          const { granted, record } = ask(stored, input, now, idle)
          return [record, { granted }]
        }
        const { record, settled } = settle(stored, input, now, idle)
        return [record, { granted: settled }]
      }),
    changes: push?.changes ?? Stream.empty,
    list: names.pipe(
      Stream.filter((name) => !isReserved(name)),
      Stream.mapError(({ cause, reason }) => new StorageError({ operation: "list", reason, cause }))
    ),
    history: (circuit, { limit = 20 } = {}) =>
      run("history", circuit, (document) => [document?.history.slice(0, Math.max(0, limit)) ?? [], document])
  }
}

const isUnreached = ({ result }: Synced): boolean =>
  Result.isFailure(result) && (result.failure.reason === "Unavailable" || result.failure.reason === "Deadline")

/** A document that may have been deleted is read as none, or what is true would depend on who swept when. */
const unexpired = (document: Document | undefined, now: number, idle: number): Document | undefined =>
  document === undefined || now >= (document.expiresAt ?? Infinity) || expired(document.record, idle, now)
    ? undefined
    : document

const Why = Schema.Struct({
  reason: Schema.String,
  actor: Schema.optional(Schema.String),
  evidence: Schema.optional(Schema.Unknown)
})

const Named = { instance: Schema.String, sequence: Schema.Natural }
const Count = Schema.Natural
const Time = Schema.Finite

const Document: Schema.Schema<Document> = Schema.Struct({
  record: Schema.Struct({
    format: Count,
    generation: Count,
    state: Schema.Union([
      Schema.TaggedStruct("Closed", {}),
      Schema.TaggedStruct("Open", { until: Time }),
      Schema.TaggedStruct("HalfOpen", {
        leases: Schema.Array(Schema.Struct({ ...Named, until: Time })),
        successes: Count
      })
    ]),
    changedAt: Schema.optional(Time),
    openings: Count,
    openFor: Time,
    override: Schema.optional(Schema.Struct({
      kind: Schema.Literals(["ForcedOpen", "Disabled", "MetricsOnly"]),
      reason: Schema.String,
      actor: Schema.String,
      until: Schema.optional(Time)
    })),
    hintUntil: Time,
    why: Schema.optional(Why),
    fingerprint: Schema.optional(Schema.String),
    lifetime: Schema.Struct({
      success: Count,
      failure: Count,
      ignored: Count,
      timeout: Count,
      slow: Count,
      rejected: Count,
      opened: Count,
      lastSuccessAt: Schema.optional(Time),
      lastSuccessDuration: Schema.optional(Time),
      lastFailureAt: Schema.optional(Time),
      lastFailureDuration: Schema.optional(Time),
      lastOpenedAt: Schema.optional(Time)
    }),
    window: Schema.Array(Schema.Struct({
      width: Time,
      index: Schema.Int,
      success: Count,
      failure: Count,
      slow: Count
    })),
    streak: Count,
    seen: Schema.Array(Schema.Struct({
      ...Named,
      kind: Schema.Literals(["report", "ask", "operation"]),
      at: Time
    })),
    usedAt: Time
  }),
  history: Schema.Array(Schema.Struct({
    generation: Count,
    at: Time,
    from: Schema.Literals(["Closed", "Open", "HalfOpen"]),
    to: Schema.Literals(["Closed", "Open", "HalfOpen"]),
    override: Schema.optional(Schema.String),
    why: Why
  })),
  expiresAt: Schema.optional(Time)
})

// It checks and does not decode, which would lose the fields that it does not know.
const check: (input: unknown) => asserts input is Document = (input) => Schema.asserts(Document, input)

const invalid = (operation: string) => (cause: unknown) => new StorageError({ operation, reason: "Invalid", cause })

/**
 * A document from its text. What is none is `Invalid`; what this version does not know of it is kept.
 *
 * **Gotchas**
 *
 * A document that is corrupt must not be read as none: that would close an open circuit. Every operation on its circuit fails
 * until somebody deletes it.
 *
 * @category codecs
 * @since 0.1.0
 */
export const decodeDocument = (text: string): Effect.Effect<Document, StorageError> =>
  Effect.try({
    try: () => {
      const document: unknown = JSON.parse(text)
      check(document)
      return document
    },
    catch: invalid("decodeDocument")
  })

/**
 * A document as text. One that could not be read again is `Invalid`, so that it is never written.
 *
 * @category codecs
 * @since 0.1.0
 */
export const encodeDocument = (document: Document): Effect.Effect<string, StorageError> =>
  Effect.try({
    try: () => {
      check(document)
      return JSON.stringify(document)
    },
    catch: invalid("encodeDocument")
  })
