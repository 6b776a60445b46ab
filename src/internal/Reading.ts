/**
 * The numbers of one circuit, or of several as if they were one, as metrics export them. Counts add up. Of each gauge that does
 * not add up, the worst circuit counts. Reading changes nothing but windows, which drop calls that are too old.
 */
import { type Override, overrideAt, retryAt, type State } from "../core/State.ts"
import type { LocalMillis } from "../core/Time.ts"
import type { RuleWindow } from "../core/TripRule.ts"
import type { Circuit } from "./Circuit.ts"
import { Counts, stateName } from "./Counts.ts"
import { approachOf } from "./Snapshot.ts"

/** The states as metrics name them, from the one that harms callers the least to the worst. */
export const STATES = ["closed", "metrics_only", "disabled", "half_open", "open", "forced_open"] as const

const overrides = { ForcedOpen: "forced_open", Disabled: "disabled", MetricsOnly: "metrics_only" } as const

const codes = { Closed: 0, HalfOpen: 1, Open: 2 } as const

/** The span of a window, as an attribute. */
export const windowLabel = (window: RuleWindow): string =>
  window._tag === "Within" ? `${window.duration / 1000}s` : `${window.calls} calls`

interface WindowSums {
  calls: number
  failures: number
  slow: number
}

/** The circuits that a reading is taken of. */
export interface Source {
  readonly shared: Circuit["shared"]
  readonly circuits: () => Iterable<Circuit>
  /** Whether calls run without the breaker, because enforcement is off. */
  readonly bypasses: boolean
}

export class Reading {
  readonly counts = new Counts()
  /** How many circuits are in each of `STATES`. */
  readonly states = STATES.map(() => 0)
  readonly windows = new Map<string, WindowSums>()
  circuits = 0
  concurrent = 0
  concurrentLimit = 0
  consecutiveFailures = 0
  retryAfterMillis = 0
  approach = 0
  shed = 0
  /** Of the circuit with the highest one: 0 closed, 1 half-open, 2 open. */
  stateCode = 0
  /** The state of that circuit before. */
  previous: State["_tag"] | undefined = undefined
  lagMillis = 0
  ageMillis = 0
  waiting = 0
  hasDrifted = false

  add({ bypasses, circuits, shared }: Source): void {
    const now = shared.ticker.exact()
    const sums = shared.windows.map((window) => this.#sumsOf(windowLabel(window)))
    for (const circuit of circuits()) {
      this.circuits++
      this.counts.addCircuit(circuit)
      this.#addState(circuit, bypasses, now)
      this.concurrent += circuit.inFlight
      this.concurrentLimit += shared.maxConcurrent ?? 0
      this.consecutiveFailures = Math.max(this.consecutiveFailures, circuit.streak)
      addWindows(sums, circuit, now)
      if (circuit.fleet !== undefined) this.#addFleet(circuit.fleet, now)
      // The windows have been moved to now.
      this.approach = Math.max(this.approach, approachOf(circuit))
      this.shed = Math.max(this.shed, circuit.shedShare(now))
    }
  }

  #sumsOf(label: string): WindowSums {
    let sums = this.windows.get(label)
    if (sums === undefined) this.windows.set(label, sums = { calls: 0, failures: 0, slow: 0 })
    return sums
  }

  #addState({ current: state, shared, tally }: Circuit, bypasses: boolean, now: LocalMillis): void {
    const override = overrideAt(state, now)
    // An override goes before the state beneath it, and so does a policy that only measures.
    const name = bypasses
      ? "disabled"
      : override !== undefined
      ? overrides[override.mode]
      : shared.enforcement === "metricsOnly"
      ? "metrics_only"
      : stateName(state._tag)
    this.states[STATES.indexOf(name)]!++
    const code = codes[state._tag]
    if (code > this.stateCode || this.circuits === 1) {
      this.stateCode = code
      this.previous = tally?.previous
    }
    this.retryAfterMillis = Math.max(this.retryAfterMillis, retryAfter(shared, state, override, now))
  }

  #addFleet(fleet: NonNullable<Circuit["fleet"]>, now: LocalMillis): void {
    this.lagMillis = Math.max(this.lagMillis, fleet.lagMillis ?? 0)
    this.ageMillis = Math.max(this.ageMillis, fleet.requestedAt === -Infinity ? 0 : now - fleet.requestedAt)
    this.waiting += fleet.waiting
    this.hasDrifted ||= fleet.drift !== undefined
  }
}

const addWindows = (sums: ReadonlyArray<WindowSums>, { windows }: Circuit, now: LocalMillis): void => {
  let window = windows
  for (const sum of sums) {
    if (window === undefined) return
    window.advance(now)
    sum.calls += window.success + window.failure
    sum.failures += window.failure
    sum.slow += window.slow
    window = window.next
  }
}

const retryAfter = (
  shared: Circuit["shared"],
  state: State,
  override: Override | undefined,
  now: LocalMillis
): number => {
  if (override === undefined) return Math.max(0, (retryAt(shared, state, now) ?? now) - now)
  return override.mode === "ForcedOpen" && override.until !== Infinity ? override.until - now : 0
}

/** The failures, or slow calls, in the circuit's window with the most of them, or the failures in a row. */
export const recentTrouble = (circuit: Circuit, now: LocalMillis): number => {
  let most = circuit.streak
  for (let { windows: window } = circuit; window !== undefined; window = window.next) {
    window.advance(now)
    most = Math.max(most, window.failure, window.slow)
  }
  return most
}

/** The windows by which a policy judges rates, of failures and of slow calls, each once. */
export const rateWindows = ({ rule }: Circuit["shared"]) => {
  type Rule = typeof rule
  const parts = (one: Rule): ReadonlyArray<Rule> => "policies" in one ? one.policies.flatMap(parts) : [one]
  const labels = (tag: "FailureRate" | "SlowCallRate") =>
    new Set(parts(rule).flatMap((one) => one._tag === tag && "window" in one ? [windowLabel(one.window)] : []))
  return { failure: labels("FailureRate"), slow: labels("SlowCallRate") }
}
