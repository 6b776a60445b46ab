/**
 * Polls, for all circuits of a process on one storage, what was changed or called. While it works, a circuit with nothing to
 * tell needs no request of its own.
 *
 * **Invariants**
 *
 * - `#since` is a time of the storage's clock up to which all that rang has been told, less the time that a commit may be late.
 * - `gaps` grows whenever something may have rung that was not told. A view that was requested before is out of date.
 */
import * as Result from "effect/Result"
import { isSnapshotAlert } from "../../core/Record.ts"
import type { LocalMillis, StorageMillis } from "../../core/Time.ts"
import type { Bells, Storage, StorageError } from "../../Storage/Storage.ts"
import { REQUEST_DEADLINE_MILLIS } from "../Bounds.ts"
import { failure, type RequestName } from "../StorageErrors.ts"

type Poll = NonNullable<Storage["bells"]>

/** The connection that polls go through. */
interface Line {
  readonly now: () => LocalMillis
  readonly send: (
    name: RequestName,
    request: () => ReturnType<Poll>,
    ended: (result: Result.Result<Bells, StorageError>) => void
  ) => void
}

export type Rung = Exclude<Bells["rung"], "all">[number]

export class Bell {
  readonly #line: Line
  readonly #poll: Poll
  readonly #heard: (rung: Rung) => void
  readonly #missed: () => void
  /** Whether the last poll was answered. */
  isWorking = false
  gaps = 0
  /** When the last poll that was answered was sent. */
  confirmedAt: LocalMillis = -Infinity
  #isPolling = false
  #polledAt: LocalMillis = -Infinity
  #epoch: string | undefined = undefined
  #lastRungAt: StorageMillis = 0
  #now: StorageMillis | undefined = undefined

  /** `heard` is called with each circuit that rang, and `missed` where something may have rung that is not told. */
  constructor(line: Line, poll: Poll, heard: (rung: Rung) => void, missed: () => void) {
    this.#line = line
    this.#poll = poll
    this.#heard = heard
    this.#missed = missed
  }

  /** In each round: polls, unless another round has within this interval. */
  tick(intervalMillis: number): void {
    const now = this.#line.now()
    // Timers are not exact, and a poll too many costs less than one too few.
    if (this.#isPolling || now - this.#polledAt < 0.9 * intervalMillis) return
    this.#isPolling = true
    this.#polledAt = now
    // A change may be committed later than it was dated.
    const since = this.#now === undefined ? undefined : this.#now - REQUEST_DEADLINE_MILLIS
    this.#line.send({ operation: "bells" }, () => this.#poll(since), (result) => {
      this.#isPolling = false
      this.#answered(result, now)
    })
  }

  #answered(result: Result.Result<Bells, StorageError>, sentAt: LocalMillis): void {
    const bells = Result.isSuccess(result) && !isBells(result.success)
      ? Result.fail(failure({ operation: "bells" }, "Invalid", result.success))
      : result
    this.isWorking = Result.isSuccess(bells)
    if (Result.isFailure(bells)) return
    const { epoch, lastRungAt, now, rung } = bells.success
    // A storage whose clock was set back dates what rings before the time that is asked for.
    const wasSetBack = this.#now !== undefined && now < this.#now
    const isLost = epoch !== this.#epoch || lastRungAt < this.#lastRungAt
    const hasMissed = rung === "all" || isLost || wasSetBack
    if (hasMissed) this.gaps++
    this.#epoch = epoch
    this.#lastRungAt = lastRungAt
    this.#now = now
    this.confirmedAt = sentAt
    if (rung !== "all") { for (const one of rung) this.#heard(one) }
    if (hasMissed) this.#missed()
  }
}

/** A storage may answer anything, so the shape of an answer is checked. */
const isBells = (value: unknown): value is Bells => {
  const { epoch, lastRungAt, now, rung } = (value ?? {}) as Partial<Bells>
  return typeof epoch === "string" && typeof now === "number" && Number.isFinite(now) &&
    typeof lastRungAt === "number" &&
    (rung === "all" || (Array.isArray(rung) && rung.every(isRung)))
}

const isRung = (value: unknown): value is Rung => {
  const { alert, circuit, generation } = (value ?? {}) as Partial<Rung>
  return typeof circuit === "string" && typeof generation === "number" && generation >= 0 &&
    (alert === undefined || isSnapshotAlert(alert))
}
