/**
 * How late this machine is, and what tests allow for it. A test must not fail because others keep the processors busy, so
 *
 * - a wait is for an event, and gives up after a number of looks (`until`, `eventually`), not after a time;
 * - a bound on a duration holds for the time in which this process could run (`onTimeMillis`, `Lateness`);
 * - a law that is about real time is checked again if it failed while the machine was late (`retryWhenLate`);
 * - the limits of Vitest only end what hangs (`HANG_MILLIS`).
 */
import { Effect, Exit } from "effect"
import { setTimeout as sleep } from "node:timers/promises"

/** For how long each processor second takes here: 1 on an idle machine, about 5 where eight others share two processors. */
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

/** A duration that suits an idle machine, made as much longer as this machine was slower at the start. */
export const scaledMillis = (millis: number): number => Math.ceil(millis * SLOWNESS)

/** After how long a test or a hook counts as one that hangs. The slowest takes a minute on an idle machine. */
export const HANG_MILLIS = scaledMillis(600_000)

// -----------------------------------------------------------------------------
// lateness
// -----------------------------------------------------------------------------

const TICK_MILLIS = 10
/** By so much each tick of a timer is late on an idle machine. */
const USUAL_MILLIS = 2

/**
 * For how long this process was kept from running: by how much the ticks of a timer came too late, in all. It grows where
 * others have the processors, where the process is stopped, and where its own code does not yield.
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

  /** In all, the tick that is due now included. */
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

/** So late a law about real time may fail for that alone. */
const LATE_MILLIS = 20
const MOST_TRIES = 10

/** Checks again what failed while the machine was late. What fails on time fails. */
export const retryWhenLate = <A, E, R>(check: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const attempt = (tries: number): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      const late = lateness.millis
      return Effect.catchCause(check, (cause) =>
        tries < MOST_TRIES && lateness.millis - late > LATE_MILLIS
          ? attempt(tries + 1)
          : Effect.failCause(cause))
    })
  return attempt(1)
}

// -----------------------------------------------------------------------------
// waits
// -----------------------------------------------------------------------------

/** A minute on an idle machine; as much longer as each look takes on a slow one. */
const MOST_LOOKS = 3000
const PAUSE_MILLIS = 20

/** Waits for an event, unless what it comes from has ended. A look that throws has not seen it. */
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

/** `until` for effects; a look that fails has not seen the event, either. */
export const eventually = <E, R>(event: string, isSo: Effect.Effect<boolean, E, R>): Effect.Effect<void, never, R> =>
  Effect.gen(function*() {
    let seen: Exit.Exit<boolean, E> | undefined
    for (let looks = 0; looks < MOST_LOOKS; looks++) {
      seen = yield* Effect.exit(isSo)
      if (Exit.isSuccess(seen) && seen.value) return
      yield* Effect.sleep(PAUSE_MILLIS)
    }
    return yield* Effect.die(new Error(`it did not happen that ${event}`, { cause: seen }))
  })
