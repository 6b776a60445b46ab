/**
 * Batches of reports: one transaction for up to 100 circuits, one statement for reads.
 *
 * A batch locks its stripes, reads its circuits, counts the reports in memory and writes the result. Reports whose rows
 * do not exist yet, or whose circuit has expired, are counted by another attempt, once their rows are made or deleted.
 * So are reports whose stripe another transaction holds. Alerts that the reports call for begin once they are counted.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { SqlError } from "effect/sql/SqlError"
import { widthFor } from "../core/Buckets.ts"
import { failIfUnreachable, isInvalid } from "../internal/StorageErrors.ts"
import { type CircuitReport, StorageError, type Synced } from "../Storage/Storage.ts"
import type { Announcer } from "./Announcements.ts"
import { type Call, callAll } from "./Bells.ts"
import type { Database } from "./Database.ts"
import { illFormed, storageErrorOf, vanished } from "./DatabaseErrors.ts"
import { lockStripes } from "./Locks.ts"
import type { Members } from "./Members.ts"
import { keyOf } from "./NameColumns.ts"
import { type Answer, isRead, type KeyedReport, ReportBatch } from "./ReportBatch.ts"
import type { Run } from "./Run.ts"
import { stripeOf } from "./Stripes.ts"
import { transaction } from "./Transaction.ts"
import { readView, type Span, type StoredCircuit } from "./View.ts"
import { createCircuits, forgetExpired, writeCounted } from "./Write.ts"

/** Circuits of one transaction. */
const MOST_CIRCUITS = 100

/** What one storage knows beside its database. */
export interface SyncOptions {
  readonly announcer: Announcer
  readonly members: Members
}

/** A storage's database, and what it knows beside. */
type Context = Database & SyncOptions

type Answered = Result.Result<Answer, StorageError>

/** Sorted, and each once. */
const keysOf = (reports: ReadonlyArray<{ readonly key: string }>): ReadonlyArray<string> =>
  [...new Set(reports.map(({ key }) => key))].toSorted()

/** The windows that the reports' policies look back over, by the width of their buckets. */
const spansOf = (reports: ReadonlyArray<KeyedReport>): ReadonlyArray<Span> => {
  const windows = reports.flatMap(({ key, withins }) => withins.map((within) => ({ key, within })))
  return [...Map.groupBy(windows, ({ within }) => widthFor(within))].map(([widthMillis, group]) => ({
    widthMillis,
    longestMillis: Math.max(...group.map(({ within }) => within)),
    keys: keysOf(group)
  }))
}

/**
 * Counts the reports that can be counted, and says of each other one why it cannot be yet. Without `waits`, a stripe that
 * another one holds is taken for `missing`.
 */
const attempt = (
  database: Context,
  reports: ReadonlyArray<KeyedReport>,
  waits: boolean
): Effect.Effect<
  { readonly answers: ReadonlyArray<Answered | "missing" | "expired">; readonly calls: ReadonlyArray<Call> },
  SqlError | StorageError
> =>
  Effect.gen(function*() {
    const { idleMillis, members } = database
    const written = reports.filter((report) => !isRead(report))
    const locked = written.length === 0
      ? []
      : yield* lockStripes(database, written.map(({ key, stripe }) => ({ key, index: stripe })), waits)
    const keys = keysOf(reports)
    const view = yield* readView(database, keys, {
      spans: spansOf(reports),
      seen: { kind: "report", messages: written },
      membersOf: members.unknown(keys)
    })
    members.counted(view.members, view.nowMillis)
    const circuits = new Map<string, StoredCircuit>()
    const failures = new Map<string, StorageError>()
    for (const key of keys) {
      const circuit = yield* Effect.result(view.circuit(key))
      if (Result.isSuccess(circuit)) circuits.set(key, circuit.success)
      else failures.set(key, circuit.failure)
    }
    const batch = new ReportBatch({ view, circuits, locked, members, idleMillis })
    const answers = reports.map((report): Answered | "missing" | "expired" => {
      const failure = failures.get(report.key)
      if (failure !== undefined) return Result.fail(failure)
      const answer = batch.enter(report)
      return typeof answer === "string" ? answer : Result.succeed(answer)
    })
    yield* writeCounted(database, batch.counted())
    return { answers, calls: batch.calls }
  })

type Answers = Map<KeyedReport, Answered>

/** Attempts for one batch. Rows may have to be deleted, then made; others that do the same may come between. */
const MOST_ATTEMPTS = 5

/**
 * Counts all of the reports, and adds their answers: those that an attempt cannot count come again when their rows are
 * made or deleted. The first attempt does not wait for stripes that others hold, so that one that is held for long costs
 * no other report of the batch.
 */
const countAll = (
  database: Context,
  reports: ReadonlyArray<KeyedReport>,
  answers: Answers,
  attempts = 1
): Effect.Effect<void, SqlError | StorageError> =>
  Effect.gen(function*() {
    const waits = attempts > 1 || reports.length === 1
    const counted = attempt(database, reports, waits)
    const { answers: found, calls: [call, ...calls] } = yield* reports.every(isRead)
      ? counted
      : transaction(database, counted)
    if (call !== undefined) yield* callAll(database, database.announcer, [call, ...calls])
    for (const [index, report] of reports.entries()) {
      const answer = found[index]!
      if (typeof answer !== "string") answers.set(report, answer)
    }
    const missing = reports.filter((_, index) => found[index] === "missing")
    const expired = reports.filter((_, index) => found[index] === "expired")
    const uncounted = [...missing, ...expired]
    if (uncounted.length === 0) return
    if (attempts === MOST_ATTEMPTS) {
      for (const report of uncounted) {
        answers.set(report, Result.fail(vanished(database.tables.counts, report.circuit, attempts)))
      }
      return
    }
    yield* makeRows(database, waits ? missing : [], expired)
    yield* countAll(database, uncounted, answers, attempts + 1)
  })

/** Deletes the rows of expired circuits, and makes those of missing ones. */
const makeRows = (
  database: Database,
  missing: ReadonlyArray<KeyedReport>,
  expired: ReadonlyArray<KeyedReport>
): Effect.Effect<void, SqlError | StorageError> =>
  Effect.gen(function*() {
    if (expired.length > 0) yield* transaction(database, forgetExpired(database, keysOf(expired)))
    if (missing.length === 0) return
    const names = [...new Set(missing.map(({ circuit }) => circuit))]
    yield* transaction(database, createCircuits(database, names))
  })

/** A batch that the database does not accept is counted report by report, so that only the bad ones fail. */
const countBatch = (
  database: Context,
  reports: ReadonlyArray<KeyedReport>,
  answers: Answers
): Effect.Effect<void, StorageError> =>
  countAll(database, reports, answers).pipe(
    Effect.mapError(storageErrorOf("sync")),
    Effect.catchIf(
      (error) => reports.length > 1 && isInvalid(error),
      () =>
        Effect.forEach(
          reports.filter((report) => !answers.has(report)),
          (report) => countAlone(database, report, answers),
          { discard: true }
        )
    )
  )

const countAlone = (database: Context, report: KeyedReport, answers: Answers): Effect.Effect<void> =>
  Effect.match(countBatch(database, [report], answers), {
    onSuccess: () => {},
    onFailure: (error) => {
      answers.set(report, Result.fail(error))
    }
  })

/**
 * Counts reports in batches, and answers for each in the order given. All of them have one deadline. Fails where none
 * could be reached.
 */
export const sync = (
  database: Context,
  run: Run,
  reports: ReadonlyArray<CircuitReport>
): Effect.Effect<ReadonlyArray<Synced>, StorageError> =>
  Effect.gen(function*() {
    const answers: Answers = new Map()
    const keyed = reports.map((report) => ({
      ...report,
      key: keyOf(report.circuit),
      stripe: stripeOf(report.instance, database.dialect.stripes)
    }))
    const wellFormed = keyed.filter(({ circuit }) => circuit.isWellFormed())
    const batches = Array.from(
      { length: Math.ceil(wellFormed.length / MOST_CIRCUITS) },
      (_, index) => wellFormed.slice(index * MOST_CIRCUITS, (index + 1) * MOST_CIRCUITS)
    )
    const counted = Effect.forEach(batches, (batch) => countBatch(database, batch, answers), { discard: true })
    if (wellFormed.length > 0) {
      yield* run("sync", wellFormed.length === 1 ? wellFormed[0]!.circuit : undefined, counted).pipe(
        // What has been counted so far must not be lost.
        Effect.catchIf(() => answers.size > 0, (error) =>
          Effect.sync(() => {
            for (const report of wellFormed) if (!answers.has(report)) answers.set(report, Result.fail(error))
          }))
      )
    }
    const synced = keyed.map((report): Synced => ({
      circuit: report.circuit,
      result: Result.mapError(
        answers.get(report) ?? Result.fail(illFormed("sync", report.circuit)),
        ({ cause, reason }) => new StorageError({ operation: "sync", circuit: report.circuit, reason, cause })
      )
    }))
    yield* failIfUnreachable(synced)
    return synced
  })
