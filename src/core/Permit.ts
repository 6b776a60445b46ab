/** Permits: each admission that is more than "let it through" gets one, and it settles once. */
import type { LeaseName } from "./Record.ts"
import type { LocalMillis } from "./Time.ts"

/** Why a call may not run now. */
export type Refusal = "Open" | "HalfOpen" | "ForcedOpen" | "Ramp" | "Throttled"

/** How a call ended. */
export interface Settlement {
  readonly outcome: "Success" | "Failure" | "Ignored"
  readonly slow: boolean
  /** Whether the breaker's own timeout ended it. */
  readonly timeout: boolean
  /** A `Retry-After`, 0 for none. */
  readonly hintMillis: number
  /** The error of a failure, for those who listen. */
  readonly error?: unknown
}

export class Permit {
  /** The epoch that admitted the call. In a later one its outcome is late: it changes the lifetime counts alone. */
  readonly epoch: number
  readonly startedAt: LocalMillis
  /** Whether the outcome decides if a half-open circuit closes. */
  readonly probe: boolean
  /** Until when a probe of the circuit's own holds its place; `Infinity` for all others. The probe may run on. */
  readonly until: LocalMillis
  /** A trip by this call is reported and not made. */
  readonly metricsOnly: boolean
  /** `false` under a `Disabled` override: nothing is counted. */
  readonly recorded: boolean
  /** The fleet's lease that a probe runs under. */
  readonly lease: LeaseName | undefined
  /** The call is slow if it takes this long; `undefined` where that is not measured. */
  readonly slowerThanMillis: number | undefined
  /** Whether it holds a place in the bulkhead. */
  place = false
  spent = false

  constructor(
    epoch: number,
    startedAt: LocalMillis,
    kind: { probe?: boolean; until?: LocalMillis; metricsOnly?: boolean; recorded?: boolean; lease?: LeaseName },
    slowerThanMillis?: number
  ) {
    this.epoch = epoch
    this.startedAt = startedAt
    this.probe = kind.probe ?? false
    this.until = kind.until ?? Infinity
    this.metricsOnly = kind.metricsOnly ?? false
    this.recorded = kind.recorded ?? true
    this.lease = kind.lease
    this.slowerThanMillis = slowerThanMillis
  }
}
