/**
 * A storage made from one atomic "modify this circuit's document". Any place works that can read a text, and can write
 * it back only if no other process has changed it meanwhile. The record's transitions are pure functions that run
 * inside that modification.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type Change, change, historyWhy } from "../core/Change.ts"
import { ask, settle } from "../core/Lease.ts"
import {
  beginsAlert,
  type CircuitRecord,
  expired,
  expiresAt,
  historyEntry,
  type Snapshot,
  snapshot,
  type Why
} from "../core/Record.ts"
import { type Report, report, type Reported } from "../core/Report.ts"
import { isReserved } from "../core/Reserved.ts"
import type { StorageMillis } from "../core/Time.ts"
import { durationIn, refuse, YEAR_MILLIS } from "../internal/Check.ts"
import { failIfUnreachable, operationDenied } from "../internal/StorageErrors.ts"
import { checkerOf, readerOf } from "../internal/StoredJson.ts"
import {
  type Announcement,
  type Bells,
  type Capabilities,
  type Changed,
  type HistoryEntry,
  type Probe,
  type Probed,
  type Storage,
  StorageError
} from "./Storage.ts"

/**
 * Everything that a storage keeps of one circuit: plain JSON.
 *
 * After its `expiresAt` a document is treated as deleted, so a storage may delete it at any time. The time is Unix
 * milliseconds of the storage's clock; a document without it must be kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface Document {
  readonly record: CircuitRecord
  /** Newest first, at most 32. */
  readonly history: ReadonlyArray<HistoryEntry>
  readonly expiresAt?: StorageMillis | undefined
  /** When it last got a new generation or an alert, where the storage has `bells`. */
  readonly rungAt?: StorageMillis | undefined
}

/**
 * The answer of `bells` of a storage that is made from documents.
 *
 * @category models
 * @since 0.1.0
 */
export interface DocumentBells extends Omit<Bells, "rung"> {
  /** The circuits whose document has a `rungAt` of that time or later, with their documents. It may have others, too. */
  readonly rung: "all" | ReadonlyArray<readonly [circuit: string, document: Document]>
}

/**
 * Reads a circuit's document (`undefined` if there is none), passes it to `f` and writes the document that `f` returns,
 * with no other write in between: in a transaction, with the row locked, or by compare-and-set in a loop. Succeeds with
 * the result of the run of `f` whose document was written.
 *
 * - `now` is Unix milliseconds of the storage's clock, read after the document is locked. If there is a server, use its
 *   clock and not the host's.
 * - `f` is pure, does not throw, and may be run again.
 * - If `f` returns the reference that it was given, write nothing. Most runs do that: writing anyway would make every
 *   read a write.
 * - Fails with a `StorageError`. Set its `reason` and `cause`; the operation and the circuit are filled in.
 *
 * @category models
 * @since 0.1.0
 */
export type Modify = <A>(
  circuit: string,
  f: (document: Document | undefined, now: StorageMillis) => readonly [result: A, document: Document | undefined]
) => Effect.Effect<A, StorageError>

/**
 * The parts that a storage is made from.
 *
 * @category models
 * @since 0.1.0
 */
export interface DocumentOptions {
  /** The name of the backend, for people: `memory`, `dynamodb`. */
  readonly backend: string
  /** `history` and `fences` are true of every storage made from documents; `pushes` is true if there is a `push`. */
  readonly capabilities: Capabilities
  /** After how long without use a circuit is forgotten: from 1 second to 1 year. Default 1 hour. */
  readonly idleTimeToLive?: Duration.Input | undefined
  readonly modify: Modify
  /** The circuits that have a document, in no order, if possible without those whose `expiresAt` is over. */
  readonly names: Stream.Stream<string, StorageError>
  /** How changes reach other instances at once. Without it, instances learn of a change with their next report. */
  readonly push?: {
    /**
     * Announces a change that was written. The author's answer waits for it, so it should not wait for the receivers. A
     * failure is logged, and the other instances learn of the change one interval later.
     */
    readonly announce: (
      announcement: Extract<Announcement, { readonly _tag: "Changed" }>
    ) => Effect.Effect<void, StorageError>
    /**
     * All announcements, including this storage's own. Begins with `Subscribed`, and repeats it whenever announcements
     * may have been missed.
     */
    readonly changes: Stream.Stream<Announcement, StorageError>
  } | undefined
  /**
   * Finds what has rung since a time of the storage's clock: see `bells` of `Storage`. Set `capabilities.bells` with it. Without
   * it every instance reports all of its circuits once an interval.
   */
  readonly bells?: ((since: StorageMillis | undefined) => Effect.Effect<DocumentBells, StorageError>) | undefined
}

const MOST_HISTORY = 32

/** Circuits of one batch that are modified at once, so that a large batch does not take all connections of a pool. */
const CONCURRENCY = 16

/**
 * Checks the idle time of a storage: throws a `RangeError` unless it lies between 1 second and 1 year. Default 1 hour.
 *
 * @category constructors
 * @since 0.1.0
 */
export const idleTime = (backend: string, idleTimeToLive: Duration.Input = "1 hour"): Duration.Duration => {
  refuse(`Storage ${JSON.stringify(backend)}`, durationIn("idleTimeToLive", idleTimeToLive, 1000, YEAR_MILLIS))
  return Duration.fromInputUnsafe(idleTimeToLive)
}

/**
 * Makes a storage from a function that modifies a circuit's document. Throws a `RangeError` unless the idle time lies
 * between 1 second and 1 year.
 *
 * **Details**
 *
 * A batch modifies 16 circuits at a time. A circuit that fails does not fail the others; if none could be reached, the
 * batch fails. A document that a transition cannot use fails with `Invalid` and is left as it is. A document of a newer
 * format is read and never written.
 *
 * **Gotchas**
 *
 * A change, its row of history and its document are written as one, and announced after that. A change whose author is
 * interrupted in between is made but not announced: the other instances learn of it with their next report.
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
  const { backend, bells, capabilities, names, push } = options
  const idleTimeToLive = idleTime(backend, options.idleTimeToLive)
  const circuits = new Circuits(options, Duration.toMillis(idleTimeToLive))
  return {
    backend,
    capabilities,
    idleTimeToLive,
    sync: (reports) =>
      Effect.forEach(
        reports,
        ({ circuit, ...input }) =>
          Effect.map(Effect.result(circuits.report(circuit, input)), (result) => ({ circuit, result })),
        { concurrency: CONCURRENCY }
      ).pipe(Effect.tap(failIfUnreachable)),
    change: (circuit, input) => circuits.change(circuit, input),
    probe: (circuit, input) => circuits.probe(circuit, input),
    ...(bells === undefined ? {} : { bells: (since) => Effect.map(bells(since), bellsOf) }),
    changes: push?.changes ?? Stream.empty,
    list: names.pipe(
      Stream.filter((name) => !isReserved(name)),
      Stream.mapError(({ cause, reason }) => new StorageError({ operation: "list", reason, cause }))
    ),
    history: (circuit, { limit = 20 } = {}) => circuits.history(circuit, limit)
  }
}

const bellsOf = ({ rung, ...bells }: DocumentBells): Bells => ({
  ...bells,
  rung: rung === "all" ? rung : rung.map(([circuit, { record }]) => {
    const { alert, generation } = snapshot(record, [], bells.now, Infinity)
    return { circuit, generation, ...(alert === undefined ? {} : { alert }) }
  })
})

/** A pure transition: the record after it, which is the given one if nothing changed, and the answer. */
type Transition<A> = (
  record: CircuitRecord | undefined,
  now: StorageMillis
) => readonly [record: CircuitRecord | undefined, answer: A]

/**
 * The operations of a storage that is made from documents, one circuit at a time.
 *
 * - Every operation reads and writes its document within one `modify`, and no other code writes a document.
 * - `modify` may run an operation again, so an operation has no effect but the document that it returns.
 * - A change is announced after it was written, by the instance that made it.
 */
class Circuits {
  readonly #modify: Modify
  readonly #push: DocumentOptions["push"]
  readonly #rings: boolean
  readonly #idleMillis: number

  constructor({ bells, modify, push }: Pick<DocumentOptions, "bells" | "modify" | "push">, idleMillis: number) {
    this.#modify = modify
    this.#push = push
    this.#rings = bells !== undefined
    this.#idleMillis = idleMillis
  }

  report(
    circuit: string,
    input: Report
  ): Effect.Effect<{ readonly reported: Reported; readonly snapshot: Snapshot }, StorageError> {
    return this.#transition("sync", circuit, (stored, now) => {
      const { record, reported } = report(stored, input, now, this.#idleMillis)
      return [record, { reported }]
    }, { withins: input.withins })
  }

  change(circuit: string, input: Change): Effect.Effect<Changed, StorageError> {
    return this.#transition("change", circuit, (stored, now) => {
      const { committed, record } = change(stored, input, now, this.#idleMillis)
      return [record, { committed }]
    }, { why: historyWhy(input) }).pipe(
      Effect.filterOrFail(
        ({ committed }) => committed || input._tag !== "Operation",
        ({ snapshot }) => operationDenied(circuit, input, snapshot)
      )
    )
  }

  probe(circuit: string, input: Probe): Effect.Effect<Probed, StorageError> {
    return this.#transition("probe", circuit, (stored, now) => {
      if (input._tag === "Ask") {
        const { granted, record } = ask(stored, input, now, this.#idleMillis)
        return [record, { granted }]
      }
      const { record, settled } = settle(stored, input, now, this.#idleMillis)
      return [record, { granted: settled }]
    })
  }

  history(circuit: string, limit: number): Effect.Effect<ReadonlyArray<HistoryEntry>, StorageError> {
    return this.#run("history", circuit, (document) => [
      document?.history.slice(0, Math.max(0, limit)) ?? [],
      document
    ])
  }

  /** Runs a transition, writes what it changed, and announces a new generation. `why` is for the history. */
  #transition<A extends object>(
    operation: string,
    circuit: string,
    transition: Transition<A>,
    { why, withins = [] }: { readonly why?: Why; readonly withins?: ReadonlyArray<number> } = {}
  ): Effect.Effect<A & { readonly snapshot: Snapshot }, StorageError> {
    return this.#run(operation, circuit, (document, now) => {
      const before = document?.record
      const [record, answer] = transition(before, now)
      const view = { ...answer, snapshot: snapshot(record, withins, now, this.#idleMillis) }
      if (record === undefined || record === before) return [{ view, rings: false }, document]
      const isChange = record.generation !== (before?.generation ?? 0)
      const rings = isChange || beginsAlert(before, record)
      const kept = withRecord(document, record, this.#idleMillis)
      const next = this.#rings && rings ? { ...kept, rungAt: now } : kept
      return [
        { view, rings },
        isChange ? withHistory(next, historyEntry(before, record, why, now)) : next
      ]
    }).pipe(
      Effect.tap(({ rings, view }) => rings ? this.#announce(circuit, view.snapshot) : Effect.void),
      Effect.map(({ view }) => view)
    )
  }

  /** Runs `f` on the circuit's document. What `f` throws fails with `Invalid`, and writes nothing. */
  #run<A>(
    operation: string,
    circuit: string,
    f: (document: Document | undefined, now: StorageMillis) => readonly [answer: A, document: Document | undefined]
  ): Effect.Effect<A, StorageError> {
    const failed = ({ cause, reason }: Pick<StorageError, "cause" | "reason">) =>
      new StorageError({ operation, circuit, reason, cause })
    if (!circuit.isWellFormed()) {
      return Effect.fail(failed({ reason: "Invalid", cause: "the circuit's name is not well-formed Unicode" }))
    }
    return this.#modify(circuit, (stored, now): readonly [Result.Result<A, StorageError>, Document | undefined] => {
      try {
        const document = unexpired(stored, now, this.#idleMillis)
        const [answer, next] = f(document, now)
        return [Result.succeed(answer), next === document ? stored : next]
      } catch (cause) {
        return [Result.fail(failed({ reason: "Invalid", cause })), stored]
      }
    }).pipe(Effect.mapError(failed), Effect.flatMap(Effect.fromResult))
  }

  #announce(circuit: string, snapshot: Snapshot): Effect.Effect<void> {
    const { alert, generation } = snapshot
    // A snapshot that comes with an alert has totals over the reporter's own spans of time alone.
    const announcement = alert === undefined ? { generation, snapshot } : { generation, alert }
    return this.#push === undefined ? Effect.void : Effect.ignore(
      this.#push.announce({ _tag: "Changed", circuit, ...announcement }),
      { log: "Unhandled" }
    )
  }
}

const withRecord = (document: Document | undefined, record: CircuitRecord, idle: number): Document => {
  const until = expiresAt(record, idle)
  return {
    ...document,
    record,
    history: document?.history ?? [],
    expiresAt: until === Infinity ? undefined : until
  }
}

const withHistory = (document: Document, entry: HistoryEntry): Document => ({
  ...document,
  history: [entry, ...document.history].slice(0, MOST_HISTORY)
})

/** A document that may be deleted is read as none: else an answer would depend on whether it was deleted yet. */
const unexpired = (document: Document | undefined, now: StorageMillis, idle: number): Document | undefined =>
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

const Document: Schema.Codec<Document> = Schema.Struct({
  record: Schema.Struct({
    format: Count,
    generation: Count,
    state: Schema.Union([
      Schema.TaggedStruct("Closed", {}),
      Schema.TaggedStruct("Open", { until: Time }),
      Schema.TaggedStruct("HalfOpen", {
        leases: Schema.Array(Schema.Struct({ ...Named, until: Time })),
        successes: Count,
        failures: Schema.optional(Count),
        probesFrom: Schema.optional(Time)
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
      slow: Count,
      shed: Schema.optional(Count)
    })),
    streak: Count,
    seen: Schema.Array(Schema.Struct({
      ...Named,
      kind: Schema.Literals(["report", "ask", "operation"]),
      at: Time
    })),
    alert: Schema.optional(Schema.Struct({ calledAt: Time, until: Time })),
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
  expiresAt: Schema.optional(Time),
  rungAt: Schema.optional(Time)
})

const checkDocument = checkerOf(Document)
const readDocument = readerOf(Document)

const invalid = (operation: string) => (cause: unknown) =>
  new StorageError({ operation, reason: "Invalid", cause: cause instanceof Error ? cause.message : cause })

/**
 * Decodes a document from its text. Fields that this version does not know are kept. A text that is not a document
 * fails with `Invalid`; the cause names the field and its value.
 *
 * **Gotchas**
 *
 * A corrupt document must not be treated as an absent one: that would close an open circuit. Every operation on its
 * circuit fails until the document is repaired or deleted.
 *
 * @category codecs
 * @since 0.1.0
 */
export const decodeDocument = (text: string): Effect.Effect<Document, StorageError> =>
  Effect.try({
    try: () => readDocument(text),
    catch: invalid("decodeDocument")
  })

/**
 * Encodes a document as text. A document that could not be decoded again fails with `Invalid`, so that it is never
 * written.
 *
 * @category codecs
 * @since 0.1.0
 */
export const encodeDocument = (document: Document): Effect.Effect<string, StorageError> =>
  Effect.try({
    try: () => {
      checkDocument(document)
      return JSON.stringify(document)
    },
    catch: invalid("encodeDocument")
  })
