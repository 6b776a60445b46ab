/**
 * One storage of a combination, behind its fuses: each request ends within its own deadline, and a storage that is known
 * to fail looks or writes is skipped for them, except for one probe now and then.
 *
 * Invariant: a request that was answered in part leaves the rest without an answer, and nothing more. The part that
 * failed is not taken for the whole storage, nor the part that was answered.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { isEmpty } from "../core/Delta.ts"
import { shown } from "../internal/Check.ts"
import { monotonicMillis } from "../internal/Clock.ts"
import type { Fork } from "../internal/Fork.ts"
import { Requests } from "../internal/Request.ts"
import { failure, isAnswer } from "../internal/StorageErrors.ts"
import type { Bells, CircuitReport, HistoryEntry, Snapshot, Storage, StorageError, Synced } from "../Storage/Storage.ts"
import { FAILURES, type FuseChange, Fuses, type Kind, type Outcome, type Permit } from "./Fuse.ts"

/** A probe of the fuse lapses this long after its deadline. */
const PROBE_GRACE_MILLIS = 1000

/** The part of a storage that reconciling uses, each request with a deadline. */
export type TimedStorage = Pick<Storage, "backend" | "idleTimeToLive" | "sync" | "change">

/** An item without an answer. One that was sent may have been applied. */
export interface NoAnswer {
  readonly wasSent: boolean
  readonly error: StorageError
}

/** A request about one or several items, such as the reports of a batch. Some may be answered, and others not. */
export interface FusedRequest<A> {
  readonly operation: string
  /** The kind of each item's request. */
  readonly kinds: ReadonlyArray<Kind>
  /** Sends the items with these indices, and returns their answers in this order. */
  readonly send: (
    storage: Storage,
    indices: ReadonlyArray<number>
  ) => Effect.Effect<ReadonlyArray<Result.Result<A, StorageError>>, StorageError>
  /** Whether an error counts against the storage: it is an answer where it does not. */
  readonly isFailure: (error: StorageError) => boolean
}

type ItemResult<A> = Result.Result<A, NoAnswer>

export interface Settings {
  readonly storage: Storage
  /** Whether requests are sent even while the fuses are open, because no other storage follows. */
  readonly isLast: boolean
  readonly clock: Clock.Clock
  /** Runs the requests. */
  readonly fork: Fork
  /** The longest deadline of a request. */
  readonly longestMillis: number
  /** Called after the storage has changed between used and skipped. */
  readonly changed: (change: FuseChange, storage: FusedStorage) => void
}

export class FusedStorage {
  readonly storage: Storage
  readonly #settings: Settings
  readonly #fuses: Fuses
  readonly #requests: Requests
  readonly #lastFailures = new Map<Kind, StorageError>()
  #lastFailure: StorageError | undefined = undefined

  constructor(settings: Settings) {
    this.storage = settings.storage
    this.#settings = settings
    this.#fuses = new Fuses(settings.longestMillis + PROBE_GRACE_MILLIS)
    this.#requests = new Requests(settings.clock, settings.fork)
  }

  get isDown(): boolean {
    return this.#fuses.isDown
  }

  get areWritesDown(): boolean {
    return this.#fuses.areWritesDown
  }

  /** The last error that counted against the storage. */
  get lastFailure(): StorageError | undefined {
    return this.#lastFailure
  }

  /** Monotonic milliseconds. */
  now(): number {
    return monotonicMillis(this.#settings.clock)
  }

  /** The storage with this deadline for each request. `onNoAnswer` gets each circuit that it did not answer for. */
  within(millis: number, onNoAnswer: (circuit: string, noAnswer: NoAnswer) => void = () => {}): TimedStorage {
    const isFailure = (error: StorageError): boolean => !isAnswer(error)
    const results = <A>(request: Omit<FusedRequest<A>, "isFailure">, circuits: ReadonlyArray<string>) =>
      Effect.map(
        this.attempt({ ...request, isFailure }, millis),
        (results) =>
          results.map((result, i) =>
            Result.mapError(result, (noAnswer) => {
              if (isFailure(noAnswer.error)) onNoAnswer(circuits[i]!, noAnswer)
              return noAnswer.error
            })
          )
      )
    return {
      backend: this.storage.backend,
      idleTimeToLive: this.storage.idleTimeToLive,
      sync: (reports) =>
        Effect.flatMap(
          results(syncOf(reports), reports.map(({ circuit }) => circuit)),
          (results) => {
            const synced = results.map((result, i): Synced => ({ circuit: reports[i]!.circuit, result }))
            return Effect.as(failIfUnanswered(results, isFailure), synced)
          }
        ),
      change: (circuit, change) =>
        Effect.flatMap(
          results(oneOf("change", "write", (storage) => Effect.map(storage.change(circuit, change), checkSnapshot)), [
            circuit
          ]),
          ([result]) => Effect.fromResult(result!)
        )
    }
  }

  /** Sends the items of a request for which the storage is not skipped. Each item gets a result. */
  attempt<A>(request: FusedRequest<A>, millis: number): Effect.Effect<ReadonlyArray<ItemResult<A>>> {
    return Effect.suspend(() => {
      const { kinds, operation, send } = request
      const permits = this.#admit(new Set(kinds))
      const sent = kinds.flatMap((kind, i) => permits.has(kind) ? [i] : [])
      const results: Array<ItemResult<A>> = kinds.map((kind) => this.#skipped(operation, kind))
      if (sent.length === 0) return Effect.succeed(results)
      if (this.#requests.isExhausted) {
        for (const [kind, permit] of permits) this.#settle(kind, permit, "Failure")
        const still = notSent(operation, `${this.#requests.abandoned} requests were interrupted and still run`)
        return Effect.succeed(kinds.map(() => still))
      }
      return Effect.callback<ReadonlyArray<ItemResult<A>>>((resume) => {
        let isOver = false
        const cancel = this.#requests.send({ operation }, () => send(this.storage, sent), millis, (result) => {
          isOver = true
          for (const [i, index] of sent.entries()) {
            const own = Result.flatMap(result, (answers) => answers[i]!)
            results[index] = Result.mapError(own, (error) => ({ wasSent: true, error }))
          }
          this.#note(request, permits, results)
          resume(Effect.succeed(results))
        })
        return Effect.sync(() => {
          if (!isOver) { for (const [kind, permit] of permits) this.#settle(kind, permit, "Ignored") }
          cancel()
        })
      })
    })
  }

  /** The permits of the kinds that are admitted. The last storage is sent requests without a permit, too. */
  #admit(kinds: ReadonlySet<Kind>): ReadonlyMap<Kind, Permit | undefined> {
    const now = this.now()
    const permits = [...kinds].map((kind) => [kind, this.#fuses.admit(kind, now)] as const)
    return new Map(permits.filter(([, permit]) => permit !== undefined || this.#settings.isLast))
  }

  /** A storage that is skipped because it denies requests denies those that it is not sent, too. */
  #skipped(operation: string, kind: Kind): ItemResult<never> {
    const last = this.#lastFailures.get(kind)
    return last?.reason === "Denied"
      ? notSent(operation, last.cause, "Denied")
      : notSent(operation, `skipped after ${FAILURES} consecutive failures`)
  }

  /** A kind has failed where all of its items have: a storage that answers for some of them is not away. */
  #note<A>(
    { isFailure, kinds }: FusedRequest<A>,
    permits: ReadonlyMap<Kind, Permit | undefined>,
    results: ReadonlyArray<ItemResult<A>>
  ): void {
    for (const [kind, permit] of permits) {
      const failures = results.flatMap((result, i) =>
        kinds[i] !== kind
          ? []
          : Result.isFailure(result) && isFailure(result.failure.error)
          ? result.failure.error
          : undefined
      )
      const hasFailed = failures.every((error) => error !== undefined)
      if (hasFailed) {
        this.#lastFailure = failures[0]!
        this.#lastFailures.set(kind, failures[0]!)
      }
      this.#settle(kind, permit, hasFailed ? "Failure" : "Success")
    }
  }

  #settle(kind: Kind, permit: Permit | undefined, outcome: Outcome): void {
    const change = this.#fuses.settle(kind, permit, outcome, this.now())
    if (change !== undefined) this.#settings.changed(change, this)
  }
}

/** Whether a report writes: one without counts only looks. */
export const kindOf = ({ delta }: CircuitReport): Kind => isEmpty(delta) ? "look" : "write"

const syncOf = (reports: ReadonlyArray<CircuitReport>): Omit<FusedRequest<SyncAnswer>, "isFailure"> => ({
  operation: "sync",
  kinds: reports.map(kindOf),
  send: (storage, indices) => syncSome(storage, reports, indices)
})

type SyncAnswer = Result.Result.Success<Synced["result"]>

/** Sends the reports with these indices. */
export const syncSome = (
  storage: Storage,
  reports: ReadonlyArray<CircuitReport>,
  indices: ReadonlyArray<number>
): Effect.Effect<ReadonlyArray<Synced["result"]>, StorageError> =>
  Effect.map(
    storage.sync(indices.map((index) => reports[index]!)),
    (synced) => checkAll(synced, indices.length).map(({ result }) => result)
  )

/** A request about one circuit. */
export const oneOf = <A>(
  operation: string,
  kind: Kind,
  send: (storage: Storage) => Effect.Effect<A, StorageError>
): Omit<FusedRequest<A>, "isFailure"> => ({
  operation,
  kinds: [kind],
  send: (storage) => Effect.map(send(storage), (answer) => [Result.succeed(answer)])
})

const failIfUnanswered = (
  results: ReadonlyArray<Result.Result<unknown, StorageError>>,
  isFailure: (error: StorageError) => boolean
): Effect.Effect<void, StorageError> => {
  const [first] = results
  return first !== undefined && results.every((result) => Result.isFailure(result) && isFailure(result.failure))
    ? Effect.asVoid(Effect.fromResult(first))
    : Effect.void
}

/** The log fields of a storage that is skipped from now on. */
export const skippedFields = (forMillis: number, { lastFailure }: FusedStorage) => ({
  for: Duration.format(Duration.millis(forMillis)),
  cause: lastFailure
})

const notSent = (
  operation: string,
  cause: unknown,
  reason: StorageError["reason"] = "Unavailable"
): ItemResult<never> => Result.fail({ wasSent: false, error: failure({ operation }, reason, cause) })

/** Throws unless the answer has a snapshot. */
export const checkSnapshot = <A extends { readonly snapshot: Snapshot }>(answer: A): A => {
  if (Number.isFinite(answer.snapshot.generation)) return answer
  throw new TypeError(`the answer has generation ${answer.snapshot.generation}, expected a number`)
}

/** Throws unless the answer is a list. */
export const checkEntries = (entries: ReadonlyArray<HistoryEntry>): ReadonlyArray<HistoryEntry> => {
  if (Array.isArray(entries)) return entries
  throw new TypeError(`the answer is ${shown(entries)}, expected the entries of a history`)
}

/** Throws unless the answer names the data that rings. */
export const checkBells = (bells: Bells): Bells => {
  if (typeof bells.epoch === "string") return bells
  throw new TypeError(`the answer has epoch ${shown(bells.epoch)}, expected a text`)
}

/** Throws unless there is an answer for each report. */
export const checkAll = (answers: ReadonlyArray<Synced>, reports: number): ReadonlyArray<Synced> => {
  if (answers.length !== reports) throw new TypeError(`${answers.length} answers to ${reports} reports`)
  for (const { result } of answers) if (Result.isSuccess(result)) checkSnapshot(result.success)
  return answers
}
