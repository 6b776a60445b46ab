/**
 * Replays recorded calls through a breaker under another policy: the breaker that runs in production, on a clock that follows the
 * recording.
 *
 * **Invariants**
 *
 * - The clock never goes back. Whatever is due by a time runs before the next call of that time.
 * - A call is settled once: at its end, or at the policy's `timeout` if that comes first.
 */
import type * as Clock from "effect/Clock"
import * as ClockService from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import { make } from "../../Breaker.ts"
import type { Breaker } from "../../Breaker.ts"
import type { Snapshot } from "../../Event.ts"
import type { Permit } from "../../Guard.ts"
import { failure, ignored, type Outcome, success } from "../../Outcome.ts"
import type { Data } from "../../Policy.ts"
import { layer as registryLayer, Registry } from "../../Registry.ts"
import { layer as nullStorageLayer } from "../../Storage/Null.ts"
import { Storage } from "../../Storage/Storage.ts"
import type { Trip } from "../../Trip.ts"

/** A call as it was recorded. Times are Unix milliseconds. */
export interface Call {
  readonly startedAt: number
  readonly endedAt: number
  readonly outcome: "success" | "failure" | "ignored"
  /** Slow by the policy that it was recorded under, where its duration was not recorded. */
  readonly isSlow: boolean
}

export interface Segment {
  readonly state: Snapshot["state"]
  readonly from: number
  readonly to: number
}

export interface Opening {
  readonly at: number
  readonly reason: string
  /** Until it closed or, at the end of the recording, `null`. */
  readonly closedAt: number | null
}

export interface Replayed {
  readonly policy: string
  readonly calls: number
  readonly rejected: number
  /** Calls that failed when they were recorded and would have been rejected. */
  readonly failuresSpared: number
  /** Calls that succeeded when they were recorded and would have been rejected. */
  readonly successesRejected: number
  /** Calls that failed, or would have been cut short by the policy's timeout. */
  readonly failures: number
  readonly openings: ReadonlyArray<Opening>
  readonly notClosedMillis: number
  readonly segments: ReadonlyArray<Segment>
}

// -----------------------------------------------------------------------------
// the clock
// -----------------------------------------------------------------------------

interface Sleeper {
  readonly at: number
  readonly wake: () => void
}

/** A clock that stands where the recording is. */
class RecordingClock implements Clock.Clock {
  #now: number
  readonly #sleepers = new Set<Sleeper>()

  constructor(now: number) {
    this.#now = now
  }

  readonly #nanos = (): bigint => BigInt(Math.round(this.#now * 1e6))

  currentTimeMillisUnsafe(): number {
    return Math.floor(this.#now)
  }
  readonly currentTimeMillis = Effect.sync(() => this.currentTimeMillisUnsafe())
  currentTimeNanosUnsafe(): bigint {
    return this.#nanos()
  }
  readonly currentTimeNanos = Effect.sync(this.#nanos)
  monotonicTimeNanosUnsafe(): bigint {
    return this.#nanos()
  }
  readonly monotonicTimeNanos = Effect.sync(this.#nanos)

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const sleeper = { at: this.#now + Duration.toMillis(duration), wake: () => resume(Effect.void) }
      this.#sleepers.add(sleeper)
      return Effect.sync(() => this.#sleepers.delete(sleeper))
    })
  }

  /** Moves to a time, and lets those run that slept until then. */
  moveTo(time: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#now = Math.max(this.#now, time)
      const due = [...this.#sleepers].filter(({ at }) => at <= this.#now)
      if (due.length === 0) return Effect.void
      for (const sleeper of due) {
        this.#sleepers.delete(sleeper)
        sleeper.wake()
      }
      return Effect.yieldNow
    })
  }
}

// -----------------------------------------------------------------------------
// the replay
// -----------------------------------------------------------------------------

/** How long a call has to last to be slow by any rule of the policy; 0 where none looks. */
const slowMillis = (trip: Trip | undefined): number => {
  switch (trip?._tag) {
    case "SlowCallRate":
      return Duration.toMillis(Duration.fromInputUnsafe(trip.slowerThan))
    case "Any":
    case "All":
      return Math.max(...trip.policies.map(slowMillis))
    default:
      return 0
  }
}

interface Running {
  readonly endsAt: number
  readonly outcome: Outcome
  readonly permit: Permit
  readonly scope: Scope.Closeable
}

const OUTCOMES = { success, failure: failure(), ignored } as const

/** The policy fields that a replay uses. Those that concern a fleet have no effect on one instance. */
const ownPart = (
  { consistency: _, evidence: __, onStorageError: ___, reports: ____, syncEvery: _____, ...policy }: Data
): Data => policy

/**
 * Replays the calls, which are sorted by their start, until `end` or a later end of one of them. Throws a `RangeError` for a
 * policy that makes no sense.
 */
export const replay = (
  policy: { readonly name: string; readonly data: Data },
  calls: ReadonlyArray<Call>,
  end: number
): Effect.Effect<Replayed> => {
  const clock = new RecordingClock(calls[0]?.startedAt ?? 0)
  return Effect.scoped(Effect.gen(function*() {
    const context = yield* Layer.build(Layer.merge(nullStorageLayer, registryLayer))
    const breaker = yield* make("what-if", ownPart(policy.data)).pipe(
      Effect.provideService(Storage, Context.get(context, Storage)),
      Effect.provideService(Registry, Context.get(context, Registry))
    )
    return yield* run(policy, breaker, clock, calls, end)
  })).pipe(
    Effect.provideService(ClockService.Clock, clock),
    // Its changes of state are what is shown, and not news of now.
    Effect.provide(Logger.layer([]))
  )
}

const run = (
  { data, name }: { readonly name: string; readonly data: Data },
  breaker: Breaker<unknown>,
  clock: RecordingClock,
  calls: ReadonlyArray<Call>,
  end: number
): Effect.Effect<Replayed> =>
  Effect.gen(function*() {
    const running: Array<Running> = []
    const track = new Track(calls[0]?.startedAt ?? 0)
    const slow = slowMillis(data.trip)
    const timeout = data.timeout === undefined ? Infinity : Duration.toMillis(Duration.fromInputUnsafe(data.timeout))
    const counts = { rejected: 0, failuresSpared: 0, successesRejected: 0, failures: 0 }
    const look = Effect.flatMap(breaker.state, (state) =>
      state === track.state
        ? Effect.void
        : Effect.map(breaker.snapshot, ({ why }) => track.moved(state, clock.currentTimeMillisUnsafe(), why ?? "")))
    const settleUntil = (time: number) =>
      Effect.gen(function*() {
        while (running.length > 0 && running[0]!.endsAt <= time) {
          const { endsAt, outcome, permit, scope } = running.shift()!
          yield* clock.moveTo(endsAt)
          yield* permit.settle(outcome)
          yield* Scope.close(scope, Exit.void)
          yield* look
        }
      })

    for (const call of calls) {
      yield* settleUntil(call.startedAt)
      yield* clock.moveTo(call.startedAt)
      const scope = Scope.makeUnsafe()
      const taken = yield* Effect.exit(Effect.provideService(breaker.permit, Scope.Scope, scope))
      yield* look
      if (Exit.isFailure(taken)) {
        counts.rejected++
        if (call.outcome === "failure") counts.failuresSpared++
        if (call.outcome === "success") counts.successesRejected++
        continue
      }
      const lasted = Math.max(call.endedAt - call.startedAt, call.isSlow ? slow : 0)
      const isCut = lasted > timeout
      const outcome = isCut ? OUTCOMES.failure : OUTCOMES[call.outcome]
      if (isCut || call.outcome === "failure") counts.failures++
      const ended = { endsAt: call.startedAt + Math.min(lasted, timeout), outcome, permit: taken.value, scope }
      running.splice(placeOf(running, ended.endsAt), 0, ended)
    }
    yield* settleUntil(Infinity)
    yield* clock.moveTo(end)
    return { policy: name, calls: calls.length, ...counts, ...track.end(clock.currentTimeMillisUnsafe()) }
  })

/** Where a call that ends then belongs among those that run, after those that end at the same time. */
const placeOf = (running: ReadonlyArray<Running>, endsAt: number): number => {
  let [low, high] = [0, running.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (running[middle]!.endsAt <= endsAt) low = middle + 1
    else high = middle
  }
  return low
}

/** The states of a circuit in the course of a recording. */
class Track {
  state: Snapshot["state"] = "Closed"
  #since: number
  readonly #segments: Array<Segment> = []
  readonly #openings: Array<{ at: number; reason: string; closedAt: number | null }> = []

  constructor(begin: number) {
    this.#since = begin
  }

  moved(state: Snapshot["state"], at: number, reason: string): void {
    this.#segments.push({ state: this.state, from: this.#since, to: at })
    if (state === "Open") this.#openings.push({ at, reason, closedAt: null })
    // An opening that follows from a failed probe belongs to the same time without the dependency.
    if (state === "Closed") { for (const opening of this.#openings) opening.closedAt ??= at }
    this.state = state
    this.#since = at
  }

  end(at: number): Pick<Replayed, "notClosedMillis" | "openings" | "segments"> {
    const segments = [...this.#segments, { state: this.state, from: this.#since, to: at }]
      .filter(({ from, to }) => to > from)
    return {
      segments,
      openings: this.#openings,
      notClosedMillis: segments.reduce((sum, { from, state, to }) => state === "Closed" ? sum : sum + to - from, 0)
    }
  }
}
