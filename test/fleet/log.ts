/**
 * What the processes of a fleet write down as it happens, a line of JSON each, so that one that is killed leaves it behind.
 * Times are milliseconds of the host's monotonic clock, which they have in common and nobody can set; `asOf` is the server's.
 */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs"

export type State = "Closed" | "Open" | "HalfOpen"

/** A circuit as a storage answered it. */
export interface Seen {
  readonly circuit: string
  readonly generation: number
  readonly state: State
  readonly why?: string | undefined
  readonly asOf: number
}

/** A circuit as a process saw it when a call came in. */
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
  /** How many milliseconds its wall clock is ahead of the host's. */
  readonly skew: number
}

export interface Call {
  readonly is: "call"
  readonly at: number
  /** When it had been begun: by then it was decided on, if that needed nothing that takes time. */
  readonly begunAt: number
  readonly circuit: string
  readonly before: View
  /** Whether the circuit was never called before in this process. */
  readonly isFirst: boolean
  /** Whether it was decided on without waiting for anything. */
  readonly atOnce: boolean
  readonly startedAt?: number | undefined
  readonly endedAt: number
  /** `ok`, `failed` as its dependency did, `rejected` by the breaker, or whatever else became of it. */
  readonly ended: string
}

export interface Request {
  readonly circuit: string
  readonly generation: number
  /** Its kind: `Report`, `Trip`, `PutBack`, `Operation`, `Ask`, `Settle`. */
  readonly what: string
  /** Of a lease that it requests or settles. */
  readonly lease?: string | undefined
  readonly duration?: number | undefined
  readonly probes?: number | undefined
  /** Calls that succeeded, failed and were rejected, of a report. */
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
  /** Of what was sent. */
  readonly id: number
  /** Of each request in its order; nothing where it failed. */
  readonly seen: ReadonlyArray<Seen | null>
  /** Whether a change was made, a lease granted or settled. */
  readonly done?: boolean | undefined
  /** Why it failed, where all of it did. */
  readonly error?: string | undefined
}

/** The process was kept from running for so many milliseconds in all between two times. */
export interface Late {
  readonly is: "late"
  readonly since: number
  readonly at: number
  readonly by: number
}

export type Entry = Started | Call | Sent | Answered | Late

export const now = (): number => Number(process.hrtime.bigint()) / 1e6

/** The wall clock's time when the monotonic one stood at 0. A pause between the two readings makes it too small, so the largest. */
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

/** Of a process that was killed, the last line may have been cut. */
export const readLog = (file: string): ReadonlyArray<Entry> =>
  readFileSync(file, "utf8").split("\n").slice(0, -1).map((line) => JSON.parse(line) as Entry)
