/**
 * Requests with a deadline after which nobody waits for them, whatever the storage does.
 *
 * A request that is interrupted, at its deadline or by its caller, and still runs is abandoned. Abandoned requests are
 * bounded: a storage that ignores interruption would collect more and more of them.
 *
 * Invariants
 *
 * - `ended` is called once, or never where the caller cancels first.
 * - `#abandoned` is the number of fibers that were interrupted here and have not ended.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type { StorageError } from "../Storage/Storage.ts"
import { monotonicMillis } from "./Clock.ts"
import type { Deadlines } from "./Deadlines.ts"
import type { Fork } from "./Fork.ts"
import { deadlineExceeded, errorOf, failure, type RequestName } from "./StorageErrors.ts"

/** With so many abandoned requests, the next one is made only after a pause. */
export const MOST_ABANDONED = 16
/**
 * The pause doubles with each further abandoned request, so that a storage whose old requests never end is still tried.
 */
const FIRST_PAUSE_MILLIS = 1000

/** A queue that requests of one length share, which costs each a list node, or milliseconds, which cost a timer. */
export type Deadline = Deadlines | number

type Cancel = () => void

const nothingToCancel: Cancel = () => {}

export class Requests {
  readonly #clock: Clock.Clock
  readonly #fork: Fork
  #abandoned = 0
  #nextAttemptAt = -Infinity

  /** `fork` runs the requests and their timers. */
  constructor(clock: Clock.Clock, fork: Fork) {
    this.#clock = clock
    this.#fork = fork
  }

  /** Requests that were interrupted and still run. */
  get abandoned(): number {
    return this.#abandoned
  }

  /** Whether there are too many abandoned requests to make another one now. */
  get isExhausted(): boolean {
    return this.#abandoned >= MOST_ABANDONED && monotonicMillis(this.#clock) < this.#nextAttemptAt
  }

  /**
   * Starts an effect and calls `ended` with its exit, or with `undefined` at the deadline. If the effect ends
   * synchronously, so does this call: `ended` is called before it returns. Returns how to cancel it: it is interrupted,
   * and `ended` is not called.
   */
  run<A, E>(
    effect: Effect.Effect<A, E>,
    deadline: Deadline,
    ended: (exit: Exit.Exit<A, E> | undefined) => void
  ): Cancel {
    const fiber = this.#fork(effect)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) {
      ended(exit)
      return nothingToCancel
    }
    let isOver = false
    const abandon = (): void => {
      isOver = true
      this.#abandoned++
      const pause = FIRST_PAUSE_MILLIS * 2 ** Math.max(0, this.#abandoned - MOST_ABANDONED)
      this.#nextAttemptAt = monotonicMillis(this.#clock) + pause
      fiber.interruptUnsafe()
    }
    const disarm = this.#arm(deadline, () => {
      abandon()
      ended(undefined)
    })
    fiber.addObserver((exit) => {
      if (isOver) {
        this.#abandoned--
        return
      }
      isOver = true
      disarm()
      ended(exit)
    })
    return () => {
      if (isOver) return
      disarm()
      abandon()
    }
  }

  #arm(deadline: Deadline, due: () => void): Cancel {
    if (typeof deadline === "number") {
      const timer = this.#fork(Effect.andThen(this.#clock.sleep(Duration.millis(deadline)), Effect.sync(due)))
      return () => timer.interruptUnsafe()
    }
    const entry = deadline.add(due)
    return () => deadline.remove(entry)
  }

  /**
   * The same for a request to a storage, with each way to fail as a `StorageError`. While there are too many abandoned
   * requests it fails without being sent.
   */
  send<A>(
    name: RequestName,
    request: () => Effect.Effect<A, StorageError>,
    deadline: Deadline,
    ended: (result: Result.Result<A, StorageError>) => void
  ): Cancel {
    if (this.isExhausted) {
      ended(Result.fail(failure(name, "Unavailable", `${this.#abandoned} requests were interrupted and still run`)))
      return nothingToCancel
    }
    const millis = typeof deadline === "number" ? deadline : deadline.millis
    return this.run(Effect.suspend(request), deadline, (exit) =>
      ended(
        exit === undefined
          ? Result.fail(deadlineExceeded(name, millis))
          : exit._tag === "Success"
          ? Result.succeed(exit.value)
          : Result.fail(errorOf(name, exit.cause))
      ))
  }

  /** The same as an effect, which cancels the request when it is interrupted. */
  effect<A>(
    name: RequestName,
    request: () => Effect.Effect<A, StorageError>,
    deadline: Deadline
  ): Effect.Effect<A, StorageError> {
    return Effect.callback((resume) => {
      const cancel = this.send(name, request, deadline, (result) => resume(Effect.fromResult(result)))
      return Effect.sync(cancel)
    })
  }
}
