/**
 * The requests of one circuit but for its reports: changes, operators' acts and probes. It also knows whether the storage answers
 * for this circuit.
 *
 * **Invariants**
 *
 * - `#inFlight` counts these requests. `whenNone` waits for it to be 0.
 * - `#failuresInARow` counts failures of any kind, of reports too, until a valid answer.
 */
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Changed, Probed, StorageError } from "../../Storage/Storage.ts"
import { isSnapshot } from "../Answers.ts"
import { FAILURES_UNTIL_UNREACHABLE } from "../Bounds.ts"
import { messages } from "../Messages.ts"
import { failure } from "../StorageErrors.ts"
import type { FailureLine } from "./Connection.ts"
import type { Local } from "./Fleet.ts"
import type { Membership } from "./Membership.ts"

export class Exchange {
  readonly #local: Local
  readonly #membership: Membership
  #inFlight = 0
  readonly #waiting: Array<() => void> = []
  #failuresInARow = 0
  /** The failures of this circuit's own that were logged, made when there is one. */
  #logged: Set<FailureLine> | undefined = undefined

  constructor(local: Local, membership: Membership) {
    this.#local = local
    this.#membership = membership
  }

  /** Whether the storage does not answer for this circuit, so that it decides alone. */
  get isAway(): boolean {
    return this.#failuresInARow >= FAILURES_UNTIL_UNREACHABLE || this.#membership.connection.isAway ||
      this.#membership.hasLeft
  }

  get isBusy(): boolean {
    return this.#inFlight > 0
  }

  /** Calls back once no request of these is in flight. */
  whenNone(f: () => void): void {
    if (this.isBusy) this.#waiting.push(f)
    else f()
  }

  /** Sends a request. `answered` gets a valid answer, or `undefined` where there is none. */
  send<A extends Changed | Probed>(
    operation: string,
    request: () => Effect.Effect<A, StorageError>,
    answered: (answer: A | undefined) => void
  ): void {
    this.#inFlight++
    this.#membership.connection.send({ operation, circuit: this.#local.name }, request, (result) => {
      this.#inFlight--
      const checked = this.checked(operation, result)
      if (Result.isSuccess(checked)) {
        this.noteAnswer()
        answered(checked.success)
      } else {
        this.noteFailure(messages.persistFailed, checked.failure)
        answered(undefined)
      }
      if (!this.isBusy) { for (const f of this.#waiting.splice(0)) f() }
    })
  }

  /** The result, with an answer of the wrong shape as a failure. */
  checked<A extends Changed | Probed>(
    operation: string,
    result: Result.Result<A, StorageError>
  ): Result.Result<A, StorageError> {
    return Result.isSuccess(result) && !isSnapshot(result.success?.snapshot)
      ? Result.fail(this.failure(operation, "Invalid", result.success))
      : result
  }

  failure(operation: string, reason: StorageError["reason"], cause: unknown): StorageError {
    return failure({ operation, circuit: this.#local.name }, reason, cause)
  }

  noteAnswer(): void {
    this.#failuresInARow = 0
    this.#logged = undefined
  }

  noteFailure(line: FailureLine, error: StorageError): void {
    const { connection, hasLeft, log } = this.#membership
    this.#failuresInARow++
    if (hasLeft) return
    const actual = error.reason === "Invalid" ? messages.decodeFailed : line
    connection.logFailure(log, actual, this.#local.name, error, () => this.#logged ??= new Set())
  }
}
