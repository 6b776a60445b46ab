/**
 * The clock that deadlines and ages are measured by, and sleeps by it. Setting the wall clock does not move it.
 *
 * A sleep of Effect's live clock keeps a process alive until it is over. So by that clock, this library sleeps on timers of its
 * own, which do so only while a call waits. By any other clock it sleeps as that clock does.
 *
 * A test framework that fakes timers replaces `setTimeout`, and leaves the monotonic clock as it is. So what a call waits for uses
 * the timer functions of the moment, and everything else those that were there when this module was loaded: it goes on in real
 * time, neither seen by `runAllTimers` nor lost when the framework puts the real functions back.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { LocalMillis } from "../core/Time.ts"

/** Monotonic milliseconds, with fractions. */
export const monotonicMillis = (clock: Clock.Clock): LocalMillis => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/** Monotonic milliseconds by the clock of the running fiber. */
export const monotonicNow: Effect.Effect<LocalMillis> = Clock.clockWith((clock) =>
  Effect.sync(() => monotonicMillis(clock))
)

/** The clock of a program that provides none. */
export const liveClock: Clock.Clock = Context.get(Context.empty(), Clock.Clock)

// -----------------------------------------------------------------------------
// timers
// -----------------------------------------------------------------------------

/** A browser's timer is a number, which keeps nothing alive. */
type Timer = { readonly ref?: () => unknown; readonly unref?: () => unknown } | undefined

interface Timers {
  readonly setTimeout: (f: () => void, millis: number) => Timer
  readonly clearTimeout: (timer: Timer) => void
}

const current = globalThis as unknown as Timers
const { clearTimeout, setTimeout } = current

/** A timer for longer than this would be due at once. */
const LONGEST_TIMER_MILLIS = 2 ** 31 - 1

/** Whether timers were replaced since this module was loaded, which are then not driven by the monotonic clock. */
export const hasFakeTimers = (clock: Clock.Clock): boolean => clock === liveClock && current.setTimeout !== setTimeout

/** Runs `f` by the timers of the moment. Returns how to cancel it. */
export const afterFakeMillis = (millis: number, f: () => void): () => void => {
  const timer = current.setTimeout(f, Math.min(millis, LONGEST_TIMER_MILLIS))
  return () => current.clearTimeout(timer)
}

const afterRealMillis = (millis: number, f: () => void): () => void => {
  const timer = setTimeout(f, millis)
  return () => clearTimeout(timer)
}

/** How often a clock is looked at to see whether it moves. */
const LOOKS = 10

/**
 * Runs `f` once this clock has not moved for `millis` of real time, as a test's clock that nobody moves. The live clock always moves,
 * so by that it runs `f` after `millis`. Returns how to cancel it.
 */
export const whenStill = (clock: Clock.Clock, millis: number, f: () => void): () => void => {
  let seen = monotonicMillis(clock)
  let looks = 0
  const look = (): void => {
    const now = monotonicMillis(clock)
    looks = now === seen || clock === liveClock ? looks + 1 : 0
    seen = now
    if (looks === LOOKS) f()
    else cancel = afterRealMillis(millis / LOOKS, look)
  }
  let cancel = afterRealMillis(millis / LOOKS, look)
  return () => cancel()
}

// -----------------------------------------------------------------------------
// sleeps
// -----------------------------------------------------------------------------

/** Sleeps, one at a time, that keep the process alive only while they are told to. */
export class Sleeper {
  readonly #clock: Clock.Clock
  #timer: Timer = undefined
  #keepsAlive = false

  constructor(clock: Clock.Clock) {
    this.#clock = clock
  }

  /** Whether the sleep that is under way, and those that follow, keep the process alive. */
  keepAlive(keepsAlive: boolean): void {
    this.#keepsAlive = keepsAlive
    if (keepsAlive) this.#timer?.ref?.()
    else this.#timer?.unref?.()
  }

  sleep(millis: number): Effect.Effect<void> {
    if (this.#clock !== liveClock) return this.#clock.sleep(Duration.millis(millis))
    return Effect.callback<void>((resume) => {
      const rest = millis > LONGEST_TIMER_MILLIS ? this.sleep(millis - LONGEST_TIMER_MILLIS) : Effect.void
      const timer = this.#timer = setTimeout(() => resume(rest), Math.min(millis, LONGEST_TIMER_MILLIS))
      this.keepAlive(this.#keepsAlive)
      return Effect.sync(() => clearTimeout(timer))
    })
  }
}

/** A sleep that does not keep the process alive. */
export const sleepInBackground = (clock: Clock.Clock, millis: number): Effect.Effect<void> =>
  new Sleeper(clock).sleep(millis)

/** The same by the clock of the running fiber. */
export const backgroundSleep = (duration: Duration.Input): Effect.Effect<void> =>
  Clock.clockWith((clock) => sleepInBackground(clock, Duration.toMillis(Duration.fromInputUnsafe(duration))))
