/** One request to a chain: each storage in turn gets the circuits that have no answer yet. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { failure, isInterruption, isInvalid } from "../../internal/StorageErrors.ts"
import { type Storage, StorageError } from "../../Storage/Storage.ts"
import type { Kind } from "../Fuse.ts"
import type { NoAnswer } from "../FusedStorage.ts"
import type { Copies } from "./Copies.ts"
import type { ChainEvents } from "./Events.ts"
import type { Hops } from "./Hops.ts"
import type { WayBack } from "./WayBack.ts"

export type Answers<A> = ReadonlyArray<Result.Result<A, StorageError>>

export interface ChainRequest<A> {
  readonly operation: string
  readonly circuits: ReadonlyArray<string>
  /** Whether the request looks at each circuit or writes to it. */
  readonly kinds: ReadonlyArray<Kind>
  /** Sends some of the circuits, by their indices, to a storage. Answers in the same order. */
  readonly send: (storage: Storage, indices: ReadonlyArray<number>) => Effect.Effect<Answers<A>, StorageError>
  /** Whether it asks for a decision: a change or a probe. */
  readonly decides: boolean
  /** Whether calls are to be counted: then a storage must have counted its pending reports before. */
  readonly counts: boolean
  /** Whether an error is the answer of the chain, although it is not `Invalid`. */
  readonly isFinal: (error: StorageError) => boolean
  /**
   * Called for each answer, with the place of the storage, and with whether the first storage was sent the circuit,
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

const reportsPending = (operation: string): NoAnswer => ({
  wasSent: false,
  error: failure({ operation }, "Unavailable", "the storage has not counted earlier reports of the circuit yet")
})

/** The answers to a request so far. */
class Progress<A> {
  readonly request: ChainRequest<A>
  readonly #answers: Array<Result.Result<A, NoAnswer> | undefined>
  /** The circuits that the first storage was sent. */
  readonly #sentToFirst = new Set<number>()
  /** An error of each storage that left circuits without an answer. */
  readonly #errors: Array<StorageError> = []

  constructor(request: ChainRequest<A>) {
    this.request = request
    this.#answers = request.circuits.map(() => undefined)
  }

  /** Whether another storage is asked after this error. Not after `Invalid`, which is an answer about the circuit. */
  readonly isOpen = (error: StorageError): boolean => !isInvalid(error) && !this.request.isFinal(error)

  /** The indices of the circuits without an answer. */
  get open(): ReadonlyArray<number> {
    return this.#answers.flatMap((answer, index) => this.#isAnswer(answer) ? [] : [index])
  }

  #isAnswer(result: Result.Result<A, NoAnswer> | undefined): boolean {
    return result !== undefined && (Result.isSuccess(result) || !this.isOpen(result.failure.error))
  }

  /** Takes over the result of one storage for a circuit, and returns whether it is an answer. */
  take(place: number, index: number, result: Result.Result<A, NoAnswer>): boolean {
    if (place === 0 && (Result.isSuccess(result) || result.failure.wasSent)) this.#sentToFirst.add(index)
    this.#answers[index] = result
    if (Result.isSuccess(result)) {
      this.request.answered(index, result.success, place, place > 0 && this.#sentToFirst.has(index))
    }
    return this.#isAnswer(result)
  }

  /** Ends the turn of one storage. Returns why it left circuits without an answer, if it did. */
  next(): { readonly kind: Kind; readonly noAnswer: NoAnswer } | undefined {
    const left = this.open.flatMap((index) => {
      const answer = this.#answers[index]
      return answer === undefined || Result.isSuccess(answer)
        ? []
        : [{ kind: this.request.kinds[index]!, noAnswer: answer.failure }]
    })
    const why = left.find(({ noAnswer }) => noAnswer.wasSent) ?? left[0]
    if (why !== undefined) this.#errors.push(why.noAnswer.error)
    return why
  }

  /** Fails if no circuit has an answer. */
  result(names: string): Effect.Effect<Answers<A>, StorageError> {
    const error = this.#error(names)
    return error !== undefined && this.open.length === this.request.circuits.length
      ? Effect.fail(error)
      : Effect.succeed(this.#answers.map((answer) => Result.mapError(answer!, ({ error }) => error)))
  }

  /** The error of the last storage, with those before it. */
  #error(names: string): StorageError | undefined {
    const last = this.#errors.at(-1)
    return last === undefined || this.#errors.every((error) => error === last || isInterruption(error))
      ? last
      : new StorageError({
        operation: this.request.operation,
        reason: last.reason,
        cause: new AggregateError(this.#errors, `none of ${names} answered`)
      })
  }
}

/** Prepares the storage at a place, and sends it the circuits without an answer. Returns why some still have none. */
const sendTo = <A>(
  { copies, events, hops, wayBack }: ChainParts,
  progress: Progress<A>,
  place: number,
  left: () => number
): Effect.Effect<ReturnType<Progress<A>["next"]>> =>
  Effect.gen(function*() {
    const { circuits, counts, kinds, operation, send } = progress.request
    const unready = yield* wayBack.prepare(progress.open.map((index) => circuits[index]!), place, counts, left())
    const pending = counts ? copies.pendingAt(place) : undefined
    const ready = progress.open.filter((index) => {
      const circuit = circuits[index]!
      const noAnswer = unready.get(circuit) ?? (pending?.has(circuit) === true ? reportsPending(operation) : undefined)
      if (noAnswer !== undefined) progress.take(place, index, Result.fail(noAnswer))
      return noAnswer === undefined
    })
    const results = yield* hops.at(place).attempt({
      operation,
      kinds: ready.map((index) => kinds[index]!),
      send: (storage, sent) => send(storage, sent.map((i) => ready[i]!)),
      isFailure: progress.isOpen
    }, hops.deadlineAt(place, left()))
    for (const [i, index] of ready.entries()) {
      if (progress.take(place, index, results[i]!)) events.answered(place, kinds[index]!)
    }
    return progress.next()
  })

/** Sends a request to one storage after the other until all circuits have an answer. */
export const answer = <A>(parts: ChainParts, request: ChainRequest<A>): Effect.Effect<Answers<A>, StorageError> =>
  Effect.gen(function*() {
    const { events, hops } = parts
    const progress = new Progress(request)
    const start = hops.now()
    const left = (): number => Math.max(1, hops.budgetMillis - (hops.now() - start))
    let place: number | undefined = 0
    while (place !== undefined) {
      const why = yield* sendTo(parts, progress, place, left)
      if (why === undefined) break
      const next = hops.after(place, request.decides)
      if (next !== undefined) yield* events.fellBack(request.operation, place, next, hops, why.kind, why.noAnswer)
      place = next
    }
    return yield* progress.result(hops.names)
  })
