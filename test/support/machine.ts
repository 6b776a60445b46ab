/**
 * Measures how late this machine is, so that tests can allow for it. A test must not fail because other programs keep
 * the processors busy:
 *
 * - A wait ends with an event. It gives up after a number of checks (`until`, `eventually`), not after a time.
 * - A bound on a duration counts only the time in which this process could run (`onTimeMillis`, `Lateness`).
 * - A law about real time is checked again if it failed while the machine was late, or with a deadline (`retryWhenLate`).
 * - Vitest's time limits only end tests that hang (`HANG_MILLIS`).
 */
import { Cause, Effect, Exit } from "effect"
import { setTimeout as sleep } from "node:timers/promises"

/** Real seconds per second of processor time: 1 on an idle machine, about 5 if eight others share two processors. */
const slowness = (): number => {
  const [start, cpu] = [performance.now(), process.cpuUsage()]
  let used = 0
  while (used < 50_000) {
    const { system, user } = process.cpuUsage(cpu)
    used = system + user
  }
  return Math.max(1, (performance.now() - start) * 1000 / used)
}

export const SLOWNESS = slowness()

/** A duration that suits an idle machine, times the slowness that was measured at the start. */
export const scaledMillis = (millis: number): number => Math.ceil(millis * SLOWNESS)

/** A test or a hook that takes longer than this hangs. The slowest takes a minute on an idle machine. */
export const HANG_MILLIS = scaledMillis(600_000)

// -----------------------------------------------------------------------------
// lateness
// -----------------------------------------------------------------------------

const TICK_MILLIS = 10
/** How late a tick of a timer may be on an idle machine. */
const USUAL_MILLIS = 2

/**
 * Measures how long this process was kept from running, as the sum of the delays of a timer's ticks. It grows when
 * other processes have the processors, when this process is stopped, and when its own code does not yield.
 */
export class Lateness {
  #tickedAt = performance.now()
  #late = 0
  readonly #timer: NodeJS.Timeout

  constructor(onLate: (by: number) => void = () => {}) {
    this.#timer = setInterval(() => {
      const late = this.#overdue()
      this.#tickedAt = performance.now()
      if (late === 0) return
      this.#late += late
      onLate(late)
    }, TICK_MILLIS).unref()
  }

  #overdue(): number {
    const late = performance.now() - this.#tickedAt - TICK_MILLIS
    return late > USUAL_MILLIS ? late : 0
  }

  /** The sum of all delays, including that of the tick that is due now. */
  get millis(): number {
    return this.#late + this.#overdue()
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

const lateness = new Lateness()

/** A stopwatch for the time in which this process could run. */
export const onTimeMillis = (): () => number => {
  const [start, late] = [performance.now(), lateness.millis]
  return () => performance.now() - start - (lateness.millis - late)
}

/** If the machine was later than this, a law about real time may fail for that reason alone. */
const LATE_MILLIS = 20
const MOST_TRIES = 10

/** Whether a storage missed a deadline: its own thread or server was kept from running, and perhaps not this process. */
const isDeadline = ({ reasons }: Cause.Cause<unknown>): boolean =>
  reasons.some((reason) => Cause.isFailReason(reason) && String(reason.error).includes("Storage deadline on "))

/** Repeats a check that failed while the machine was late, or with a deadline. A check that fails on time fails. */
export const retryWhenLate = <A, E, R>(check: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const attempt = (tries: number): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      const late = lateness.millis
      return Effect.catchCause(check, (cause) =>
        tries < MOST_TRIES && (lateness.millis - late > LATE_MILLIS || isDeadline(cause))
          ? attempt(tries + 1)
          : Effect.failCause(cause))
    })
  return attempt(1)
}

// -----------------------------------------------------------------------------
// waits
// -----------------------------------------------------------------------------

/** About a minute on an idle machine. On a slow machine each check takes longer, so the wait is longer, too. */
const MOST_LOOKS = 3000
const PAUSE_MILLIS = 20

/** Waits until `isSo` is true. Fails if the event is no longer possible. A check that throws counts as false. */
export const until = async (
  event: string,
  isSo: () => Promise<boolean> | boolean,
  isPossible: () => boolean = () => true
): Promise<void> => {
  let reason: unknown
  for (let looks = 0; looks < MOST_LOOKS && isPossible(); looks++) {
    try {
      if (await isSo()) return
      reason = undefined
    } catch (error) {
      reason = error
    }
    await sleep(PAUSE_MILLIS)
  }
  throw new Error(`it did not happen that ${event}`, { cause: reason })
}

/** `until` for effects. A check that fails counts as false. */
export const eventually = <E, R>(event: string, isSo: Effect.Effect<boolean, E, R>): Effect.Effect<void, never, R> =>
  Effect.gen(function*() {
    let seen: Exit.Exit<boolean, E> | undefined
    for (let looks = 0; looks < MOST_LOOKS; looks++) {
      seen = yield* Effect.exit(isSo)
      if (Exit.isSuccess(seen) && seen.value) return
      yield* Effect.sleep(PAUSE_MILLIS)
    }
    const why = seen !== undefined && Exit.isFailure(seen) ? `: ${String(Cause.squash(seen.cause))}` : ""
    return yield* Effect.die(new Error(`it did not happen that ${event}${why}`, { cause: seen }))
  })
