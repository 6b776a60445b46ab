/** One request to a chain: each storage in turn gets the circuits that have no answer yet. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { failure, isInvalid } from "../../internal/StorageErrors.ts"
import { type Storage, StorageError } from "../../Storage/Storage.ts"
import type { NoAnswer } from "../FusedStorage.ts"
import type { Copies } from "./Copies.ts"
import type { ChainEvents } from "./Events.ts"
import type { Hops } from "./Hops.ts"
import type { WayBack } from "./WayBack.ts"

export type Answers<A> = ReadonlyArray<Result.Result<A, StorageError>>

export interface ChainRequest<A> {
  readonly operation: string
  readonly circuits: ReadonlyArray<string>
  /** Sends some of the circuits, by their indices, to a storage. Answers in the same order. */
  readonly send: (storage: Storage, indices: ReadonlyArray<number>) => Effect.Effect<Answers<A>, StorageError>
  /** Whether calls are to be counted: then a storage must have counted its pending reports before. */
  readonly counts: boolean
  /** Whether an error is the answer of the chain, although it is not `Invalid`. */
  readonly isFinal: (error: StorageError) => boolean
  /**
   * Called for each answer, with the place of the storage, and with whether the first storage was sent the request,
   * too.
   */
  readonly answered: (index: number, answer: A, place: number, sentToFirst: boolean) => void
}

export interface ChainParts {
  readonly hops: Hops
  readonly copies: Copies
  readonly events: ChainEvents
  readonly wayBack: WayBack
}

const reportsPending = (operation: string): StorageError =>
  failure({ operation }, "Unavailable", "the storage has not counted earlier reports of the circuit yet")

/** The answers to a request so far. */
class Progress<A> {
  readonly request: ChainRequest<A>
  readonly #answers: Array<Result.Result<A, StorageError> | undefined>
  /** The error of each storage that left circuits without an answer. */
  readonly #errors: Array<StorageError> = []
  #sentToFirst = false

  constructor(request: ChainRequest<A>) {
    this.request = request
    this.#answers = request.circuits.map(() => undefined)
  }

  /** Whether an error leaves it to another storage to answer. `Invalid` is an answer about the circuit. */
  readonly isOpen = (error: StorageError): boolean => !isInvalid(error) && !this.request.isFinal(error)

  /** The indices of the circuits without an answer. */
  get open(): ReadonlyArray<number> {
    return this.#answers.flatMap((answer, index) =>
      answer === undefined || (Result.isFailure(answer) && this.isOpen(answer.failure)) ? [index] : []
    )
  }

  /** Takes over what one storage answered, and returns why circuits are still open, if some are. */
  take(
    place: number,
    sent: ReadonlyArray<number>,
    result: Result.Result<Answers<A>, NoAnswer>
  ): NoAnswer | undefined {
    const wasSent = Result.isSuccess(result) || result.failure.wasSent
    if (place === 0) this.#sentToFirst = wasSent
    if (Result.isSuccess(result)) {
      for (const [i, index] of sent.entries()) {
        const answer = result.success[i]!
        this.#answers[index] = answer
        if (Result.isSuccess(answer)) {
          this.request.answered(index, answer.success, place, place > 0 && this.#sentToFirst)
        }
      }
    }
    const [first] = this.open
    if (first === undefined) return undefined
    const answer = this.#answers[first]
    const error = Result.isFailure(result)
      ? result.failure.error
      : answer !== undefined && Result.isFailure(answer)
      ? answer.failure
      : reportsPending(this.request.operation)
    this.#errors.push(error)
    return { wasSent, error }
  }

  /** Fails if no circuit has an answer. */
  result(names: string): Effect.Effect<Answers<A>, StorageError> {
    const { circuits } = this.request
    const error = this.#error(names)
    return error !== undefined && this.open.length === circuits.length
      ? Effect.fail(error)
      : Effect.succeed(this.#answers.map((answer) => answer ?? Result.fail(error!)))
  }

  /** The error of the last storage, with those before it. */
  #error(names: string): StorageError | undefined {
    const last = this.#errors.at(-1)
    return last === undefined || this.#errors.length === 1 ? last : new StorageError({
      operation: this.request.operation,
      reason: last.reason,
      cause: new AggregateError(this.#errors, `none of ${names} answered`)
    })
  }
}

/** Prepares the storage at a place, and sends it the circuits without an answer. */
const sendTo = <A>(
  { copies, events, hops, wayBack }: ChainParts,
  progress: Progress<A>,
  place: number,
  left: () => number
): Effect.Effect<NoAnswer | undefined, StorageError> =>
  Effect.gen(function*() {
    const { request } = progress
    const { circuits, counts, operation } = request
    const failed = yield* wayBack.prepare(progress.open.map((index) => circuits[index]!), place, counts, left())
    const pending = counts ? copies.pendingAt(place) : undefined
    const ready = progress.open.filter((index) => pending?.has(circuits[index]!) !== true)
    const result: Result.Result<Answers<A>, NoAnswer> = failed !== undefined
      ? Result.fail({ wasSent: true, error: failed })
      : ready.length === 0
      ? Result.fail({ wasSent: false, error: reportsPending(operation) })
      : yield* Effect.result(
        hops.at(place).attempt(
          operation,
          hops.deadlineAt(place, left()),
          (storage) => request.send(storage, ready),
          progress.isOpen
        )
      )
    if (Result.isSuccess(result)) events.answered(place)
    else if (!progress.isOpen(result.failure.error)) return yield* Effect.fail(result.failure.error)
    return progress.take(place, ready, result)
  })

/** Sends a request to one storage after the other until all circuits have an answer. */
export const answer = <A>(parts: ChainParts, request: ChainRequest<A>): Effect.Effect<Answers<A>, StorageError> =>
  Effect.gen(function*() {
    const { events, hops } = parts
    const progress = new Progress(request)
    const start = hops.now()
    const left = (): number => Math.max(1, hops.budgetMillis - (hops.now() - start))
    for (const place of hops.storages.keys()) {
      const noAnswer = yield* sendTo(parts, progress, place, left)
      if (noAnswer === undefined) break
      if (place + 1 < hops.storages.length) yield* events.fellBack(request.operation, place, hops, noAnswer)
    }
    return yield* progress.result(hops.names)
  })
