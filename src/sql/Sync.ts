/**
 * Batches of reports: one transaction for up to 100 circuits, one statement for reads.
 *
 * A batch locks its stripes, reads its circuits, counts the reports in memory and writes the result. In Postgres it locks nothing
 * before it writes. Reports whose rows do not exist yet, or whose circuit has expired, are counted by another attempt, once their
 * rows are made or deleted. So are reports whose stripe another transaction holds. Alerts that the reports call for begin once they
 * are counted.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { SqlError } from "effect/sql/SqlError"
import { failIfUnreachable, isInvalid } from "../internal/StorageErrors.ts"
import { type CircuitReport, StorageError, type Synced } from "../Storage/Storage.ts"
import type { Announcer } from "./Announcements.ts"
import { type Call, callAll } from "./Bells.ts"
import type { Contended } from "./Contended.ts"
import type { Database } from "./Database.ts"
import { illFormed, storageErrorOf, vanished } from "./DatabaseErrors.ts"
import { lockStripes, type StripeRow } from "./Locks.ts"
import type { Members } from "./Members.ts"
import { keyOf } from "./NameColumns.ts"
import { type Answer, isRead, type KeyedReport, ReportBatch } from "./ReportBatch.ts"
import type { Run } from "./Run.ts"
import { stripeOf } from "./Stripes.ts"
import { isConflict, transaction } from "./Transaction.ts"
import { readView, type StoredCircuit, type View } from "./View.ts"
import { createCircuits, forgetExpired, writeCounted, writeUnlocked } from "./Write.ts"

/** Circuits of one transaction. */
const MOST_CIRCUITS = 100

/** The state of one storage in this process, beside its database. */
export interface SyncOptions {
  readonly announcer: Announcer
  readonly members: Members
  readonly contended: Contended
}

/** A storage's database, and what it knows beside. */
type Context = Database & SyncOptions

type Answered = Result.Result<Answer, StorageError>

/** Sorted, and each once. */
const keysOf = (reports: ReadonlyArray<{ readonly key: string }>): ReadonlyArray<string> =>
  [...new Set(reports.map(({ key }) => key))].toSorted()

/** Why a report is not counted yet: its rows are missing, or to be deleted, or another transaction has them. */
type Uncounted = "missing" | "expired" | "held"

interface Attempt {
  readonly answers: ReadonlyArray<Answered | Uncounted>
  readonly calls: ReadonlyArray<Call>
}

/** How reports get their stripes. */
interface Claim {
  /** Stripes are locked before they are read. Otherwise they are held only while they are written, which needs Postgres. */
  readonly locks: boolean
  /** Reports wait for stripes that another transaction holds. Otherwise these reports are left for the next attempt. */
  readonly waits: boolean
  /** The database adds a report on this circuit to what others have reported since it was read. */
  readonly adds: (key: string) => boolean
}

/** The stripes that may be written where none is locked: those with rows, of circuits with one report in the batch. */
const unlocked = (written: ReadonlyArray<KeyedReport>, { token }: View): ReadonlyArray<StripeRow> =>
  [...Map.groupBy(written, ({ key }) => key)].flatMap(([key, reports]) => {
    const index = reports[0]!.stripe
    return reports.length === 1 && token({ key, index }) !== undefined ? [{ key, index }] : []
  })

/** Counts the reports that can be counted, and says of each other one why it cannot be yet. */
const attempt = (
  database: Context,
  reports: ReadonlyArray<KeyedReport>,
  { adds, locks, waits }: Claim
): Effect.Effect<Attempt, SqlError | StorageError> =>
  Effect.gen(function*() {
    const { idleMillis, members } = database
    const written = reports.filter((report) => !isRead(report))
    const locked = written.length === 0 || !locks
      ? []
      : yield* lockStripes(database, written.map(({ key, stripe }) => ({ key, index: stripe })), waits)
    const keys = keysOf(reports)
    const view = yield* readView(database, keys, {
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
    const writable = locks ? locked : unlocked(written, view)
    const batch = new ReportBatch({ view, circuits, locked: writable, members, idleMillis })
    const answers = reports.map((report): Answered | Uncounted => {
      const failure = failures.get(report.key)
      if (failure !== undefined) return Result.fail(failure)
      const answer = batch.enter(report)
      if (answer !== "missing") return typeof answer === "string" ? answer : Result.succeed(answer)
      return view.token({ key: report.key, index: report.stripe }) === undefined ? answer : "held"
    })
    const counted = batch.counted()
    if (locks) {
      yield* writeCounted(database, counted)
      return { answers, calls: batch.calls }
    }
    const changed = new Set(counted.stripes.map(({ key }) => key))
    for (const { key } of yield* writeUnlocked(database, counted, view.token, { adds, waits })) changed.delete(key)
    return {
      answers: answers.map((answer, i) => changed.has(reports[i]!.key) ? "held" : answer),
      calls: batch.calls.filter(({ key }) => !changed.has(key))
    }
  })

type Answers = Map<KeyedReport, Answered>

/** Attempts for one batch. Rows may have to be deleted, then made; others that do the same may come between. */
const MOST_ATTEMPTS = 5

/** One attempt, as a transaction where it locks. Rows that changed under a stricter isolation than ours are held. */
const attemptAs = (
  database: Context,
  reports: ReadonlyArray<KeyedReport>,
  claim: Claim
): Effect.Effect<Attempt, SqlError | StorageError> => {
  const attempted = attempt(database, reports, claim)
  if (reports.every(isRead)) return attempted
  return claim.locks ? transaction(database, attempted) : Effect.catchIf(
    attempted,
    isConflict,
    () => Effect.succeed({ answers: reports.map(() => "held" as const), calls: [] })
  )
}

/** In Postgres two attempts lock nothing before they write: a lock costs three statements more. */
const claimOf = (
  { contended, dialect: { backend } }: Context,
  reports: ReadonlyArray<KeyedReport>,
  attempts: number
): Claim => ({
  locks: backend !== "postgres" || attempts > 2,
  waits: attempts > 1 || reports.length === 1,
  adds: (key) => attempts > 1 || contended.adds(key)
})

/**
 * Counts all of the reports, and adds their answers: those that an attempt cannot count come again when their rows are
 * made or deleted. The first attempt does not wait for stripes that others hold, so that one that is held for long costs
 * no other report of the batch. In Postgres it locks nothing while it reads and counts.
 */
const countAll = (
  database: Context,
  reports: ReadonlyArray<KeyedReport>,
  answers: Answers,
  attempts = 1
): Effect.Effect<void, SqlError | StorageError> =>
  Effect.gen(function*() {
    const claim = claimOf(database, reports, attempts)
    const { answers: found, calls: [call, ...calls] } = yield* attemptAs(database, reports, claim)
    if (call !== undefined) yield* callAll(database, database.announcer, [call, ...calls])
    for (const [index, report] of reports.entries()) {
      const answer = found[index]!
      if (typeof answer !== "string") answers.set(report, answer)
    }
    const [missing, expired, held] = (["missing", "expired", "held"] as const).map((why) =>
      reports.filter((_, index) => found[index] === why)
    ) as [Array<KeyedReport>, Array<KeyedReport>, Array<KeyedReport>]
    const uncounted = [...missing, ...expired, ...held]
    if (uncounted.length === 0) return
    if (!claim.locks) { for (const { key } of held) database.contended.found(key) }
    if (attempts === MOST_ATTEMPTS) {
      for (const report of uncounted) {
        answers.set(report, Result.fail(vanished(database.tables.counts, report.circuit, attempts)))
      }
      return
    }
    yield* makeRows(database, missing, expired)
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
        // The counts so far must not be lost.
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
