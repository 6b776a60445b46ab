/**
 * Batches of reports: one transaction for up to 100 circuits, one statement for reads.
 *
 * A batch locks its stripes, reads its circuits, counts the reports in memory and writes the result. Reports whose rows
 * do not exist yet, or whose circuit has expired, are counted by another attempt, once their rows are made or deleted.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { SqlError } from "effect/sql/SqlError"
import { widthFor } from "../core/Buckets.ts"
import { type CircuitReport, StorageError, type Synced } from "../Storage/Storage.ts"
import type { Database } from "./Database.ts"
import { illFormed } from "./DatabaseErrors.ts"
import { lockStripes } from "./Locks.ts"
import { keyOf } from "./NameColumns.ts"
import { type Answer, isRead, type KeyedReport, ReportBatch } from "./ReportBatch.ts"
import type { Run } from "./Run.ts"
import { stripeOf } from "./Stripes.ts"
import { transaction } from "./Transaction.ts"
import { readView, type Span, type StoredCircuit } from "./View.ts"
import { createCircuits, forgetCircuit, writeCounted } from "./Write.ts"

/** Circuits of one transaction. */
const MOST_CIRCUITS = 100

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

/** Counts the reports that can be counted, and says of each other one why it cannot be yet. */
const attempt = (
  database: Database,
  reports: ReadonlyArray<KeyedReport>
): Effect.Effect<ReadonlyArray<Answered | "missing" | "expired">, SqlError | StorageError> =>
  Effect.gen(function*() {
    const written = reports.filter((report) => !isRead(report))
    const locked = written.length === 0
      ? []
      : yield* lockStripes(database, written.map(({ key, stripe }) => ({ key, index: stripe })))
    const view = yield* readView(database, keysOf(reports), {
      spans: spansOf(reports),
      seen: { kind: "report", messages: written }
    })
    const circuits = new Map<string, StoredCircuit>()
    const failures = new Map<string, StorageError>()
    for (const key of keysOf(reports)) {
      const circuit = yield* Effect.result(view.circuit(key))
      if (Result.isSuccess(circuit)) circuits.set(key, circuit.success)
      else failures.set(key, circuit.failure)
    }
    const batch = new ReportBatch({ view, circuits, locked, idleMillis: database.idleMillis })
    const answers = reports.map((report): Answered | "missing" | "expired" => {
      const failure = failures.get(report.key)
      if (failure !== undefined) return Result.fail(failure)
      const answer = batch.enter(report)
      return typeof answer === "string" ? answer : Result.succeed(answer)
    })
    yield* writeCounted(database, batch.counted())
    return answers
  })

/** Counts all of the reports: those that an attempt cannot count come again when their rows are made or deleted. */
const countAll = (
  database: Database,
  reports: ReadonlyArray<KeyedReport>
): Effect.Effect<ReadonlyArray<Answered>, SqlError | StorageError> =>
  Effect.gen(function*() {
    const counted = attempt(database, reports)
    const answers = yield* reports.every(isRead) ? counted : transaction(database, counted)
    const missing = reports.filter((_, index) => answers[index] === "missing")
    const expired = reports.filter((_, index) => answers[index] === "expired")
    const uncounted = [...missing, ...expired]
    if (uncounted.length === 0) return answers as ReadonlyArray<Answered>
    for (const key of new Set(expired.map(({ key }) => key))) {
      yield* transaction(database, forgetCircuit(database, key))
    }
    if (missing.length > 0) {
      const names = [...new Set(missing.map(({ circuit }) => circuit))]
      yield* transaction(database, createCircuits(database, names))
    }
    const later = yield* countAll(database, uncounted)
    const laterOf = new Map(uncounted.map((report, index) => [report, later[index]!]))
    return answers.map((answer, index) => typeof answer === "string" ? laterOf.get(reports[index]!)! : answer)
  })

/**
 * Where a batch fails although the database can be reached, each report is tried alone, so that only the bad ones fail.
 */
const syncBatch = (
  database: Database,
  run: Run,
  reports: ReadonlyArray<KeyedReport>
): Effect.Effect<ReadonlyArray<Answered>, StorageError> =>
  run("sync", reports.length === 1 ? reports[0]!.circuit : undefined, countAll(database, reports)).pipe(
    Effect.catchIf(
      ({ reason }) => reports.length > 1 && reason !== "Unavailable",
      () =>
        Effect.forEach(reports, (report) =>
          Effect.result(
            Effect.flatMap(syncBatch(database, run, [report]), ([answer]) => Effect.fromResult(answer!))
          ))
    )
  )

/**
 * Counts reports in batches, and answers for each in the order given. Fails where the first batch could not be reached.
 */
export const sync = (
  database: Database,
  run: Run,
  reports: ReadonlyArray<CircuitReport>
): Effect.Effect<ReadonlyArray<Synced>, StorageError> =>
  Effect.gen(function*() {
    const answers = new Map<CircuitReport, Answered>()
    const wellFormed = reports.filter((report) => report.circuit.isWellFormed())
    for (let i = 0; i < wellFormed.length; i += MOST_CIRCUITS) {
      const batch = wellFormed.slice(i, i + MOST_CIRCUITS)
      const keyed = batch.map((report) => ({
        ...report,
        key: keyOf(report.circuit),
        stripe: stripeOf(report.instance, database.dialect.stripes)
      }))
      const answered = yield* syncBatch(database, run, keyed).pipe(
        // Earlier batches have been counted, so their answers must not be lost.
        Effect.catchIf(() => i > 0, (error) => Effect.succeed(batch.map(() => Result.fail(error))))
      )
      for (const [index, report] of batch.entries()) answers.set(report, answered[index]!)
    }
    return reports.map((report): Synced => ({
      circuit: report.circuit,
      result: Result.mapError(
        answers.get(report) ?? Result.fail(illFormed("sync", report.circuit)),
        ({ cause, reason }) => new StorageError({ operation: "sync", circuit: report.circuit, reason, cause })
      )
    }))
  })
