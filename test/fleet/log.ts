/**
 * The logs of a fleet's processes. A process writes each entry at once, as a line of JSON, so a killed process leaves
 * its log behind. Times are milliseconds of the host's monotonic clock, which all processes share and no one can set.
 * Only `asOf` is a time of the server's clock.
 */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs"

export type State = "Closed" | "Open" | "HalfOpen"

/** A circuit in a storage's answer. */
export interface Seen {
  readonly circuit: string
  readonly generation: number
  readonly state: State
  readonly why?: string | undefined
  readonly asOf: number
}

/** A circuit in a process's snapshot, just before a call. */
export interface View {
  readonly state: State
  readonly retryAfter?: number | undefined
  readonly generation: number
  /** Whether the storage answered. */
  readonly reachable: boolean
}

export interface Started {
  readonly is: "started"
  readonly at: number
  /** How many milliseconds the process's wall clock is ahead of the host's. */
  readonly skew: number
}

export interface Call {
  readonly is: "call"
  readonly at: number
  /**
   * When the call's fiber had been started. By then the breaker has decided on the call, unless the decision has to
   * wait.
   */
  readonly begunAt: number
  readonly circuit: string
  readonly before: View
  /** Whether no earlier call of the circuit had ended in this process. */
  readonly isFirst: boolean
  /** Whether the breaker decided on the call without waiting. */
  readonly atOnce: boolean
  readonly startedAt?: number | undefined
  readonly endedAt: number
  /** `ok`, `failed` like its dependency, `rejected` by the breaker, or the text of any other end. */
  readonly ended: string
}

export interface Request {
  readonly circuit: string
  readonly generation: number
  /**
   * The kind: `Report`, `Trip`, `PutBack`, `Operation`, `Ask`, or `Settle` with its outcome, such as `SettleSuccess`.
   */
  readonly what: string
  /** The lease that the request asks for or settles. */
  readonly lease?: string | undefined
  readonly duration?: number | undefined
  readonly probes?: number | undefined
  /** The successes, failures and rejections of a report. */
  readonly counts?: Counts | undefined
  readonly sequence?: number | undefined
}

export interface Counts {
  readonly success: number
  readonly failure: number
  readonly rejected: number
}

export interface Sent {
  readonly is: "sent"
  readonly at: number
  readonly id: number
  readonly requests: ReadonlyArray<Request>
}

export interface Answered {
  readonly is: "answered"
  readonly at: number
  /** The id of the `Sent` entry. */
  readonly id: number
  /** The answers in the order of the requests; `null` for a request that failed. */
  readonly seen: ReadonlyArray<Seen | null>
  /** Whether a change was made, a lease granted or settled. */
  readonly done?: boolean | undefined
  /** The error, if the requests failed as a whole. */
  readonly error?: string | undefined
}

/** A poll of what has changed was answered, or failed. */
export interface Polled {
  readonly is: "polled"
  readonly at: number
  readonly failed: boolean
}

/** The process was kept from running for `by` milliseconds in all between `since` and `at`. */
export interface Late {
  readonly is: "late"
  readonly since: number
  readonly at: number
  readonly by: number
}

export type Entry = Started | Call | Sent | Answered | Polled | Late

export const now = (): number => Number(process.hrtime.bigint()) / 1e6

/**
 * The wall clock's time when the monotonic clock stood at 0. It is the largest of several results, because a pause
 * between the two readings makes a result too small.
 */
export const epochMillis = (): number => Math.max(...Array.from({ length: 20 }, () => Date.now() - now()))

export class Log {
  readonly #file: number

  constructor(file: string) {
    this.#file = openSync(file, "a")
  }

  write(entry: Entry): void {
    writeSync(this.#file, `${JSON.stringify(entry)}\n`)
  }

  close(): void {
    closeSync(this.#file)
  }
}

/** Drops the text after the last newline, because a killed process may not have finished its last line. */
export const readLog = (file: string): ReadonlyArray<Entry> =>
  readFileSync(file, "utf8").split("\n").slice(0, -1).map((line) => JSON.parse(line) as Entry)
