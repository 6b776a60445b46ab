/**
 * What can be read of a circuit, and what it tells as it happens.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"

/**
 * What an operator can put on top of a circuit's state: `ForcedOpen` rejects every call, `Disabled` lets every call through
 * unrecorded, `MetricsOnly` lets every call through, records it, and reports where the circuit would have opened.
 *
 * @category models
 * @since 0.1.0
 */
export type OverrideMode = "ForcedOpen" | "Disabled" | "MetricsOnly"

/**
 * Counts over the life of this instance, but for the consecutive failures, which a change of state begins anew. Times are
 * Unix milliseconds; the last success is as fine as the breaker's tick. Durations are milliseconds, and there under a slow-call
 * policy alone, which looks at the clock for every call.
 *
 * @category models
 * @since 0.1.0
 */
export interface Statistics {
  readonly success: number
  readonly failure: number
  readonly ignored: number
  /** Failures that were timeouts of the breaker's own. */
  readonly timeout: number
  /** Successes and failures that a slow-call policy calls slow. */
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
 * What a trip policy is looking at: the calls of one window, and their rates in [0, 1].
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
 * A circuit as the whole fleet knows it, by what the storage last said. What happened since, and what other instances have
 * not reported yet, is not in it.
 *
 * @category models
 * @since 0.1.0
 */
export interface FleetSnapshot {
  readonly backend: string
  /** Whether the storage answers. While it does not, the instance decides on what it sees itself. */
  readonly reachable: boolean
  /** Grows with every change; 0 where there was none. */
  readonly generation: number
  readonly state: Snapshot["state"]
  /** Of the open time. */
  readonly remaining?: Duration.Duration | undefined
  readonly why?: string | undefined
  /** What the last change was decided on, as plain JSON: the totals of the fleet, or which instance it was. */
  readonly evidence?: unknown
  /** How far a closed circuit is from opening on what all instances reported; absent where it opens with whoever trips. */
  readonly whyNot?: string | undefined
  readonly consecutiveFailures: number
  readonly windows: ReadonlyArray<WindowSnapshot>
  readonly statistics: Pick<
    Statistics,
    "success" | "failure" | "ignored" | "timeout" | "slow" | "rejected" | "timesOpened"
  >
  /** How old this view is; absent while the storage was never heard of. */
  readonly age?: Duration.Duration | undefined
  /** How long the last change took to be known here. */
  readonly lag?: Duration.Duration | undefined
  /** Outcomes of this instance that the storage has not acknowledged yet: they go with the next report, in one. */
  readonly waiting: number
  /** Outcomes of this instance that were given up: nobody can say whether the storage has counted them. */
  readonly lost: number
}

/**
 * A circuit as it stands. Taking one moves nothing: an open time that is over reads as `Open` with nothing left until a call
 * asks for admission.
 *
 * @category models
 * @since 0.1.0
 */
export interface Snapshot {
  readonly circuit: string
  readonly state: "Closed" | "Open" | "HalfOpen"
  /** Whether calls are kept back on this instance's own evidence. */
  readonly isolated: boolean
  /** How long it has been in this state; absent if it was never in another. */
  readonly elapsed?: Duration.Duration | undefined
  /** How long until a rejected call may come back. */
  readonly retryAfter?: Duration.Duration | undefined
  /** The consecutive openings that the open time counts. */
  readonly openings: number
  /** Why the state last changed. */
  readonly why?: string | undefined
  /** How far a closed circuit is from tripping on what this instance saw. */
  readonly whyNot?: string | undefined
  /** On whose evidence calls are kept back, or on an operator's word; absent while they are not. */
  readonly openedBy?: "instance" | "fleet" | "override" | undefined
  readonly override?: {
    readonly mode: OverrideMode
    readonly reason: string
    readonly actor: string
    readonly expiresIn?: Duration.Duration | undefined
  } | undefined
  readonly statistics: Statistics
  readonly windows: ReadonlyArray<WindowSnapshot>
  /** What is known of the fleet; absent where there was nothing to know yet. */
  readonly fleet?: FleetSnapshot | undefined
}

/**
 * Something that happened to a circuit. Each carries the snapshot of that moment; a transition's is the one *before* it, with
 * the counts that caused it. Successes are no events: `snapshot` counts them.
 *
 * - `Transition`: the state changed, or would have (`MetricsOnly`: from `Closed` to `Closed`).
 * - `Failure`: a call counted as failed; `Timeout`: one that did so by the breaker's own timeout.
 * - `Rejected`: a call was not run, with the tag of the error it got.
 * - `Override`: an operator's override was set, cleared or ran out.
 * - `Lost`: so many events were dropped before this one, because the listener was slow.
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
  | { readonly _tag: "Lost"; readonly count: number }
