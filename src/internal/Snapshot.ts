/** A circuit as `Breaker.snapshot` and events show it. Taking one moves nothing. */
import * as Duration from "effect/Duration"
import type { Plan } from "../core/Plan.ts"
import { openingsAt, overrideAt, retryAt, type State } from "../core/State.ts"
import type { LocalMillis } from "../core/Time.ts"
import { approach, type Evidence, type RuleWindow, standing, type Totals } from "../core/TripRule.ts"
import type { Snapshot, WindowSnapshot } from "../Event.ts"
import type { Counted, Fleet } from "./fleet/Fleet.ts"

/** The fields of a circuit that a snapshot is made of. */
interface Source extends Evidence {
  readonly name: string
  readonly current: State
  readonly shared: Plan & {
    readonly enforcement: Snapshot["enforcement"]
    readonly clock: { readonly currentTimeMillisUnsafe: () => number }
  }
  readonly fleet: Fleet | undefined
  readonly inFlight: number
  readonly counted: () => Counted
  /** How many calls had succeeded when the last one failed. */
  readonly successAtFailure: number
  readonly totalsAt: (now: LocalMillis) => ReadonlyArray<{ readonly of: RuleWindow } & Totals>
  readonly shedShare: (now: LocalMillis) => number
}

export const snapshotOf = (circuit: Source, now: LocalMillis): Snapshot => {
  const { current: state, shared } = circuit
  // Reading the windows moves them to `now`, for `whyNot`, too.
  const windows = circuit.totalsAt(now)
  const wall = shared.clock.currentTimeMillisUnsafe() - now
  const unixMillis = (at: LocalMillis): number | undefined => Number.isNaN(at) ? undefined : Math.round(wall + at)
  const until = (at: LocalMillis): Duration.Duration => Duration.millis(Math.max(0, at - now))
  const override = overrideAt(state, now)
  const comesBack = retryAt(shared, state, now)
  const isClosed = state._tag === "Closed"
  return {
    circuit: circuit.name,
    state: state._tag,
    isolated: !isClosed && state.openedBy === "instance",
    elapsed: state.since === -Infinity ? undefined : Duration.millis(now - state.since),
    retryAfter: comesBack === undefined ? undefined : until(comesBack),
    openings: openingsAt(state, now),
    why: state.reason,
    whyNot: isClosed ? standing(shared.rule, circuit) : undefined,
    approach: approachOf(circuit),
    shed: circuit.shedShare(now),
    openedBy: override?.mode === "ForcedOpen" ? "override" : isClosed ? undefined : state.openedBy,
    override: override === undefined ? undefined : {
      mode: override.mode,
      reason: override.reason,
      actor: override.actor,
      expiresIn: override.until === Infinity ? undefined : until(override.until)
    },
    concurrent: circuit.inFlight,
    enforcement: shared.enforcement,
    statistics: statisticsOf(circuit, unixMillis),
    windows: windows.map(({ of, ...totals }) => windowSnapshot(of, totals)),
    fleet: circuit.fleet?.fleetSnapshot(now)
  }
}

/** How close the circuit is to opening, on windows that were read at the time for which it is asked. */
export const approachOf = (circuit: Pick<Source, "current" | "fleet" | "shared" | "streak" | "totals">): number =>
  circuit.current._tag === "Closed"
    ? Math.max(approach(circuit.shared.rule, circuit), circuit.fleet?.approach ?? 0)
    : 0

const statisticsOf = (
  circuit: Source,
  unixMillis: (at: LocalMillis) => number | undefined
): Snapshot["statistics"] => {
  const counted = circuit.counted()
  return {
    success: counted.success,
    failure: counted.failure,
    ignored: counted.ignored,
    timeout: counted.timeout,
    slow: counted.slow,
    rejected: counted.rejected,
    consecutiveFailures: counted.streak,
    consecutiveSuccesses: counted.success - circuit.successAtFailure,
    timesOpened: circuit.current.timesOpened,
    lastSuccessTime: unixMillis(counted.lastSuccessAt),
    lastSuccessDuration: counted.lastSuccessMillis,
    lastFailureTime: unixMillis(counted.lastFailureAt),
    lastFailureDuration: counted.lastFailureMillis
  }
}

export const windowSnapshot = (of: RuleWindow, { failure, slow, success }: Totals): WindowSnapshot => {
  const calls = success + failure
  return {
    window: of._tag === "Within" ? { within: Duration.millis(of.duration) } : { lastCalls: of.calls },
    calls,
    failures: failure,
    slow,
    failureRate: calls === 0 ? 0 : failure / calls,
    slowCallRate: calls === 0 ? 0 : slow / calls
  }
}
