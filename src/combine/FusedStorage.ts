/**
 * One storage of a combination, behind a fuse: each request ends within its own deadline, and a storage that is known
 * to fail is skipped, except for one probe now and then.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { monotonicMillis } from "../internal/Clock.ts"
import type { Fork } from "../internal/Fork.ts"
import { Requests } from "../internal/Request.ts"
import { failure, isInvalid } from "../internal/StorageErrors.ts"
import { type Snapshot, type Storage, type StorageError, type Synced } from "../Storage/Storage.ts"
import { FAILURES, type FuseChange, type Outcome, type Permit, StorageFuse } from "./Fuse.ts"

/** A probe of the fuse lapses this long after its deadline. */
const PROBE_GRACE_MILLIS = 1000

/** The part of a storage that reconciling uses, each request with a deadline. */
export type TimedStorage = Pick<Storage, "backend" | "idleTimeToLive" | "sync" | "change">

/** A request without an answer. One that was sent may have been applied. */
export interface NoAnswer {
  readonly wasSent: boolean
  readonly error: StorageError
}

export interface Settings {
  readonly storage: Storage
  /** Whether requests are sent even while the fuse is open, because no other storage follows. */
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
  readonly #fuse: StorageFuse
  readonly #requests: Requests
  #lastFailure: StorageError | undefined = undefined

  constructor(settings: Settings) {
    this.storage = settings.storage
    this.#settings = settings
    this.#fuse = new StorageFuse(settings.longestMillis + PROBE_GRACE_MILLIS)
    this.#requests = new Requests(settings.clock, settings.fork)
  }

  get isDown(): boolean {
    return this.#fuse.isDown
  }

  /** The error of the last request that ended; `undefined` if that was answered. */
  get lastFailure(): StorageError | undefined {
    return this.#lastFailure
  }

  /** Monotonic milliseconds. */
  now(): number {
    return monotonicMillis(this.#settings.clock)
  }

  /** The storage with this deadline for each request. */
  within(millis: number): TimedStorage {
    const request = <A>(operation: string, send: (storage: Storage) => Effect.Effect<A, StorageError>) =>
      Effect.mapError(this.attempt(operation, millis, send, (error) => !isInvalid(error)), ({ error }) => error)
    return {
      backend: this.storage.backend,
      idleTimeToLive: this.storage.idleTimeToLive,
      sync: (reports) =>
        request("sync", (storage) => Effect.map(storage.sync(reports), (synced) => checkAll(synced, reports.length))),
      change: (circuit, change) =>
        request("change", (storage) => Effect.map(storage.change(circuit, change), checkSnapshot))
    }
  }

  /**
   * Sends a request, unless the storage is skipped. `isFailure` says whether an error counts against the storage: it is
   * an answer where it does not.
   */
  attempt<A>(
    operation: string,
    millis: number,
    send: (storage: Storage) => Effect.Effect<A, StorageError>,
    isFailure: (error: StorageError) => boolean
  ): Effect.Effect<A, NoAnswer> {
    return Effect.suspend(() => {
      const permit = this.#fuse.admit(this.now())
      if (permit === undefined && !this.#settings.isLast) {
        return notSent(operation, `skipped after ${FAILURES} consecutive failures`)
      }
      if (this.#requests.isExhausted) {
        this.#settle(permit, "Failure")
        return notSent(operation, `${this.#requests.abandoned} requests were interrupted and still run`)
      }
      return Effect.callback<A, NoAnswer>((resume) => {
        let isOver = false
        const cancel = this.#requests.send({ operation }, () => send(this.storage), millis, (result) => {
          isOver = true
          const error = Result.isFailure(result) && isFailure(result.failure) ? result.failure : undefined
          this.#lastFailure = error
          this.#settle(permit, error === undefined ? "Success" : "Failure")
          resume(Effect.fromResult(Result.mapError(result, (error) => ({ wasSent: true, error }))))
        })
        return Effect.sync(() => {
          if (!isOver) this.#settle(permit, "Ignored")
          cancel()
        })
      })
    })
  }

  /** The last storage is requested without a permit while it is down, so a success resets its fuse. */
  #settle(permit: Permit | undefined, outcome: Outcome): void {
    const change = permit !== undefined
      ? this.#fuse.settle(permit, outcome, this.now())
      : outcome === "Success"
      ? this.#fuse.reset()
      : undefined
    if (change !== undefined) this.#settings.changed(change, this)
  }
}

/** The log fields of a storage that is skipped from now on. */
export const skippedFields = (forMillis: number, { lastFailure }: FusedStorage) => ({
  for: Duration.format(Duration.millis(forMillis)),
  cause: lastFailure
})

const notSent = (operation: string, cause: string): Effect.Effect<never, NoAnswer> =>
  Effect.fail({ wasSent: false, error: failure({ operation }, "Unavailable", cause) })

/** Throws unless the answer has a snapshot. */
export const checkSnapshot = <A extends { readonly snapshot: Snapshot }>(answer: A): A => {
  if (Number.isFinite(answer.snapshot.generation)) return answer
  throw new TypeError(`the answer has generation ${answer.snapshot.generation}, expected a number`)
}

/** Throws unless there is an answer for each report. */
export const checkAll = (answers: ReadonlyArray<Synced>, reports: number): ReadonlyArray<Synced> => {
  if (answers.length !== reports) throw new TypeError(`${answers.length} answers to ${reports} reports`)
  for (const { result } of answers) if (Result.isSuccess(result)) checkSnapshot(result.success)
  return answers
}
