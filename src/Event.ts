/**
 * Snapshots of a circuit, and the events that it publishes.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"

/**
 * An operator's override of a circuit's state. `ForcedOpen` rejects every call. `Disabled` admits every call and
 * records none. `MetricsOnly` admits and records every call, and reports when the circuit would have opened.
 *
 * @category models
 * @since 0.1.0
 */
export type OverrideMode = "ForcedOpen" | "Disabled" | "MetricsOnly"

/**
 * Counts over the life of this instance. Only `consecutiveFailures` starts again at a change of state. Times are Unix
 * milliseconds; `lastSuccessTime` is accurate to one tick of the breaker (at most 1 second). Durations are
 * milliseconds, and present only under a slow-call policy, because only that reads the clock for every call.
 *
 * @category models
 * @since 0.1.0
 */
export interface Statistics {
  readonly success: number
  readonly failure: number
  readonly ignored: number
  /** Failures by the breaker's own timeout. They are counted as failures, too. */
  readonly timeout: number
  /** Successes and failures that were slow by a slow-call policy. */
  readonly slow: number
  readonly rejected: number
  readonly consecutiveFailures: number
  readonly consecutiveSuccesses: number
  readonly timesOpened: number
  readonly lastSuccessTime?: number | undefined
  readonly lastSuccessDuration?: number | undefined
  readonly lastFailureTime?: number | undefined
  readonly lastFailureDuration?: number | undefined
}

/**
 * A window of a trip policy: its calls, and their rates in `[0, 1]`.
 *
 * @category models
 * @since 0.1.0
 */
export interface WindowSnapshot {
  readonly window: { readonly within: Duration.Duration } | { readonly lastCalls: number }
  readonly calls: number
  readonly failures: number
  readonly slow: number
  readonly failureRate: number
  readonly slowCallRate: number
}

/**
 * The fleet's view of a circuit, from the last answer of the storage. It lacks later outcomes, and outcomes that other
 * instances have not reported yet.
 *
 * @category models
 * @since 0.1.0
 */
export interface FleetSnapshot {
  readonly backend: string
  /** Whether the storage answers. While it does not, the instance decides on its own evidence. */
  readonly reachable: boolean
  /**
   * Whether changes of others arrive at once, and for how long that has been so. While `active` is `false` they arrive an
   * interval later, with the answer to a report. Absent where the storage does not push.
   */
  readonly subscription?: { readonly active: boolean; readonly for: Duration.Duration } | undefined
  /** Grows with every change; 0 if there was none. */
  readonly generation: number
  readonly state: Snapshot["state"]
  /** Time until the fleet's circuit takes a probe; absent unless it is open. */
  readonly remaining?: Duration.Duration | undefined
  /** Why the state last changed. */
  readonly why?: string | undefined
  /** The evidence of the last change as plain JSON: the totals of the fleet, or the instance that tripped. */
  readonly evidence?: unknown
  /** How far a closed circuit is from tripping on pooled evidence; absent under `evidence: "any"`. */
  readonly whyNot?: string | undefined
  /**
   * The fingerprint of the policy by which the circuit last changed, where it is another than this instance's: a deploy is under
   * way, or the instances have drifted apart.
   */
  readonly drift?: string | undefined
  readonly consecutiveFailures: number
  readonly windows: ReadonlyArray<WindowSnapshot>
  readonly statistics: Pick<
    Statistics,
    "success" | "failure" | "ignored" | "timeout" | "slow" | "rejected" | "timesOpened"
  >
  /** How old this view is; absent until the storage has answered for the first time. */
  readonly age?: Duration.Duration | undefined
  /** How long the last change took to become known to this instance; absent if it has heard of none since its first answer. */
  readonly lag?: Duration.Duration | undefined
  /** Outcomes of this instance that the storage has not acknowledged yet. They are sent with the next report. */
  readonly waiting: number
  /** Outcomes of this instance that were given up. Whether the storage has counted them is not known. */
  readonly lost: number
}

/**
 * The state of a circuit at one moment. Taking a snapshot changes nothing: a circuit whose open time is over reads as
 * `Open` with no time remaining, until the next call.
 *
 * @category models
 * @since 0.1.0
 */
export interface Snapshot {
  readonly circuit: string
  readonly state: "Closed" | "Open" | "HalfOpen"
  /** Whether this instance rejects calls on its own evidence. */
  readonly isolated: boolean
  /** How long the state has lasted; absent if it never changed. */
  readonly elapsed?: Duration.Duration | undefined
  /** After how long a rejected call may be retried. */
  readonly retryAfter?: Duration.Duration | undefined
  /** Consecutive openings, by which a schedule of `openFor` chooses its delay. */
  readonly openings: number
  /** Why the state last changed. */
  readonly why?: string | undefined
  /** How far a closed circuit is from tripping on this instance's own evidence. */
  readonly whyNot?: string | undefined
  /**
   * How close a closed circuit is to opening, as a share of the threshold that is closest: from 0 to 1, on this instance's own
   * evidence or on the fleet's, whichever is closer (`whyNot`, `fleet.whyNot`). 0 while it is not closed.
   */
  readonly approach: number
  /** The share of the calls that a closed circuit sheds, by the policy's `throttle`: from 0 to its `max`. */
  readonly shed: number
  /**
   * Whose evidence makes this instance reject calls, or `override` for an operator's; absent while calls are admitted.
   */
  readonly openedBy?: "instance" | "fleet" | "override" | undefined
  readonly override?: {
    readonly mode: OverrideMode
    readonly reason: string
    readonly actor: string
    readonly expiresIn?: Duration.Duration | undefined
  } | undefined
  /**
   * Calls of this instance that are under way, those too that have timed out and not ended. More of them than
   * `maxConcurrent` means that calls ignore their timeout. Under `Disabled` calls are not counted. A call that was
   * interrupted at the very moment at which it began may stay counted, unless the policy has a `timeout`, a
   * `maxConcurrent`, a slow-call policy or a `classify`.
   */
  readonly concurrent: number
  /** The policy's. Under `metricsOnly` this instance rejects no call, except by an operator's `ForcedOpen`. */
  readonly enforcement: "enforce" | "metricsOnly"
  readonly statistics: Statistics
  readonly windows: ReadonlyArray<WindowSnapshot>
  /** The fleet's view; absent while this instance knows nothing of the fleet. */
  readonly fleet?: FleetSnapshot | undefined
}

const Counts = {
  success: Schema.Finite,
  failure: Schema.Finite,
  ignored: Schema.Finite,
  timeout: Schema.Finite,
  slow: Schema.Finite,
  rejected: Schema.Finite,
  timesOpened: Schema.Finite
}

const State = Schema.Literals(["Closed", "Open", "HalfOpen"])

const Windows = Schema.Array(Schema.Struct({
  window: Schema.Union([
    Schema.Struct({ within: Schema.DurationFromMillis }),
    Schema.Struct({ lastCalls: Schema.Finite })
  ]),
  calls: Schema.Finite,
  failures: Schema.Finite,
  slow: Schema.Finite,
  failureRate: Schema.Finite,
  slowCallRate: Schema.Finite
}))

const FleetSnapshotSchema = Schema.Struct({
  backend: Schema.String,
  reachable: Schema.Boolean,
  subscription: Schema.optional(Schema.Struct({ active: Schema.Boolean, for: Schema.DurationFromMillis })),
  generation: Schema.Finite,
  state: State,
  remaining: Schema.optional(Schema.DurationFromMillis),
  why: Schema.optional(Schema.String),
  evidence: Schema.optional(Schema.Json),
  whyNot: Schema.optional(Schema.String),
  drift: Schema.optional(Schema.String),
  consecutiveFailures: Schema.Finite,
  windows: Windows,
  statistics: Schema.Struct(Counts),
  age: Schema.optional(Schema.DurationFromMillis),
  lag: Schema.optional(Schema.DurationFromMillis),
  waiting: Schema.Finite,
  lost: Schema.Finite
})

/**
 * The schema of a snapshot: one form for health and admin routes, dashboards and whatever else shows a circuit. In JSON each
 * duration is a number of milliseconds, and what is not known is absent.
 *
 * **Gotchas**
 *
 * It has the texts of operators (`override.reason`, `why`) and the evidence of the fleet, so it is for colleagues and not for clients.
 *
 * **Example** (A snapshot as JSON)
 *
 * ```ts import.meta.vitest
 * import { Effect, Schema } from "effect"
 * import { Breaker, Storage, Trip } from "effect-breaker"
 *
 * const program = Effect.gen(function*() {
 *   const payments = yield* Breaker.make("payments", { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" })
 *   yield* Effect.ignore(payments.wrap(Effect.fail("declined")))
 *   return Schema.encodeSync(Breaker.Snapshot)(yield* payments.snapshot)
 * }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive))
 *
 * const json = JSON.stringify(await Effect.runPromise(program))
 * Schema.decodeUnknownSync(Breaker.Snapshot)(JSON.parse(json)).why // => "1 consecutive failures"
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const Snapshot: Schema.Codec<Snapshot, unknown> = Schema.Struct({
  circuit: Schema.String,
  state: State,
  isolated: Schema.Boolean,
  elapsed: Schema.optional(Schema.DurationFromMillis),
  retryAfter: Schema.optional(Schema.DurationFromMillis),
  openings: Schema.Finite,
  why: Schema.optional(Schema.String),
  whyNot: Schema.optional(Schema.String),
  approach: Schema.Finite,
  shed: Schema.Finite,
  openedBy: Schema.optional(Schema.Literals(["instance", "fleet", "override"])),
  override: Schema.optional(Schema.Struct({
    mode: Schema.Literals(["ForcedOpen", "Disabled", "MetricsOnly"]),
    reason: Schema.String,
    actor: Schema.String,
    expiresIn: Schema.optional(Schema.DurationFromMillis)
  })),
  concurrent: Schema.Finite,
  enforcement: Schema.Literals(["enforce", "metricsOnly"]),
  statistics: Schema.Struct({
    ...Counts,
    consecutiveFailures: Schema.Finite,
    consecutiveSuccesses: Schema.Finite,
    lastSuccessTime: Schema.optional(Schema.Finite),
    lastSuccessDuration: Schema.optional(Schema.Finite),
    lastFailureTime: Schema.optional(Schema.Finite),
    lastFailureDuration: Schema.optional(Schema.Finite)
  }),
  windows: Windows,
  fleet: Schema.optional(FleetSnapshotSchema)
})

/**
 * A field of a policy that was changed, and its value before and now, as text: `openFor` from `60 s` to `10 s`. Defaults that follow
 * from a field are named, too.
 *
 * @category models
 * @since 0.1.0
 */
export interface PolicyChange {
  readonly field: string
  readonly from: string
  readonly to: string
}

/**
 * The policy of a breaker was changed while it runs (`reconfigure`). It is published on each instance whose policy changed, after the
 * change. A keyed breaker publishes one for all of its circuits, under its own name and without a snapshot.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reconfigured {
  readonly _tag: "Reconfigured"
  readonly circuit: string
  readonly changed: ReadonlyArray<PolicyChange>
  readonly snapshot?: Snapshot | undefined
}

/**
 * An event of a circuit. Each carries a snapshot of its moment; a transition carries the snapshot from *before* the
 * change, with the counts that caused it. A success is no event, but the snapshots count it.
 *
 * - `Transition`: the state changed, or would have changed (from `Closed` to `Closed`: under `MetricsOnly`, or beyond `neverOpenMoreThan`).
 * - `Approaching`: a closed circuit came as close to opening as the policy's `approachAt`. `share` is the snapshot's `approach`, and
 *   `whyNot` says of what. Published once for each approach: again after a change of state, or after `share` was more than 0.1
 *   below `approachAt`. A circuit that opens with its next failure without having come this close is a `Transition` alone.
 * - `Throttling`: a closed circuit sheds calls, by the policy's `throttle`. It is published when the share reaches 0.05, and with a
 *   `share` of 0 when no more calls are shed. The snapshot's `shed` has the share of any moment.
 * - `Failure`: a call was counted as failed. `Timeout`: the same, by the breaker's own timeout. `error` is the call's own error as it
 *   is, with all that it holds: choose what of it you log or send.
 * - `Rejected`: a call was not run; `by` is the tag of its error.
 * - `Override`: an operator's override was set, was cleared or expired. `expired` is published with the first call after its time,
 *   admitted or rejected, or with the first change of the circuit, because reading a circuit changes nothing.
 * - `Capacity`: a keyed breaker had no free place for a new key. `circuit` is the breaker's name, and `action` what it does from now
 *   on: `evicts` the circuit that is missed the least, lets the new keys share one circuit (`shares`), or lets their calls run
 *   unguarded (`passes`). Published once for each action.
 * - `Reconfigured`: the policy was changed while the breaker runs.
 * - `Lost`: `count` events before this one were dropped, because the listener was too slow.
 *
 * @category models
 * @since 0.1.0
 */
export type Event =
  | {
    readonly _tag: "Transition"
    readonly circuit: string
    readonly from: Snapshot["state"]
    readonly to: Snapshot["state"]
    readonly reason: string
    readonly snapshot: Snapshot
  }
  | {
    readonly _tag: "Approaching"
    readonly circuit: string
    readonly share: number
    readonly whyNot: string
    readonly snapshot: Snapshot
  }
  | { readonly _tag: "Throttling"; readonly circuit: string; readonly share: number; readonly snapshot: Snapshot }
  | {
    readonly _tag: "Failure" | "Timeout"
    readonly circuit: string
    readonly error: unknown
    readonly snapshot: Snapshot
  }
  | {
    readonly _tag: "Rejected"
    readonly circuit: string
    readonly by: "BreakerOpenError" | "BulkheadFullError"
    readonly snapshot: Snapshot
  }
  | {
    readonly _tag: "Override"
    readonly circuit: string
    readonly change: "set" | "cleared" | "expired"
    readonly mode: OverrideMode
    readonly reason: string
    readonly actor: string
    readonly snapshot: Snapshot
  }
  | {
    readonly _tag: "Capacity"
    readonly circuit: string
    readonly capacity: number
    readonly action: "evicts" | "shares" | "passes"
  }
  | Reconfigured
  | { readonly _tag: "Lost"; readonly count: number }
