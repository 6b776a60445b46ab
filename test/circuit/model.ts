/**
 * A naive model of one circuit, as its documentation describes it: a list of everything that happened, with times.
 * Every question is answered from the whole list. It is slow, and short enough to be checked by reading.
 *
 * Times are whole milliseconds and thresholds whole percents, so that all counting is in integers.
 */
import type { Refusal, Settlement } from "../../src/core/Permit.ts"
import type { Plan } from "../../src/core/Plan.ts"
import type { Override, State as AnyState } from "../../src/core/State.ts"
import type { RuleWindow, TripRule } from "../../src/core/TripRule.ts"

type State = AnyState["_tag"]

export interface Outcome {
  readonly at: number
  readonly failed: boolean
  readonly slow: boolean
}

/**
 * A span of time is cut into 60 parts, counted from time zero: a call is in the window while its part is among the last
 * 60.
 */
const partOf = (at: number, span: number): bigint => BigInt(at) * 60n / BigInt(span)

export const within = (outcomes: ReadonlyArray<Outcome>, window: RuleWindow, now: number): ReadonlyArray<Outcome> =>
  window._tag === "LastCalls"
    ? outcomes.slice(-window.calls)
    : outcomes.filter(({ at }) => partOf(now, window.duration) - partOf(at, window.duration) < 60n)

export const totalsOf = (outcomes: ReadonlyArray<Outcome>) => ({
  success: outcomes.filter(({ failed }) => !failed).length,
  failure: outcomes.filter(({ failed }) => failed).length,
  slow: outcomes.filter(({ slow }) => slow).length
})

export const streakOf = (outcomes: ReadonlyArray<Outcome>): number =>
  outcomes.length - 1 - outcomes.findLastIndex(({ failed }) => !failed)

/** Whether a rule trips on these outcomes, the last of which has just been recorded. */
export const holds = (rule: TripRule, outcomes: ReadonlyArray<Outcome>, now: number): boolean => {
  switch (rule._tag) {
    case "ConsecutiveFailures":
      return streakOf(outcomes) >= rule.failures
    case "Failures":
      return totalsOf(within(outcomes, rule.window, now)).failure >= rule.count
    case "FailureRate":
    case "SlowCallRate": {
      const seen = within(outcomes, rule.window, now)
      const { failure, slow } = totalsOf(seen)
      const bad = rule._tag === "FailureRate" ? failure : slow
      return seen.length >= rule.minimumCalls && bad > 0 && bad * 100 >= Math.round(rule.threshold * 100) * seen.length
    }
    case "Any":
      return rule.policies.some((policy) => holds(policy, outcomes, now))
    case "All":
      return rule.policies.every((policy) => holds(policy, outcomes, now))
  }
}

type Kind = "Call" | "Probe" | "MetricsOnly" | "Unrecorded"
type Cause = "tripped" | "would trip" | "probe failed" | "recovered" | "open time over" | "forced" | "reset"

interface Admitted {
  readonly _tag: "Admitted"
  readonly at: number
  readonly kind: Kind
}
interface Ended extends Settlement {
  readonly _tag: "Ended"
  readonly at: number
  /** The index of its admission in the list. */
  readonly call: number
}
interface Became {
  readonly _tag: "Became"
  readonly at: number
  readonly state: State
  readonly cause: Cause
  readonly openFor: number
}
interface Overridden {
  readonly _tag: "Overridden"
  readonly override: Override | undefined
}
/** A call during the ramp. */
interface Ramped {
  readonly _tag: "Ramped"
  readonly at: number
  readonly admitted: boolean
}
type Fact = Admitted | Ended | Became | Overridden | Ramped

export class Model {
  readonly plan: Plan
  readonly facts: Array<Fact> = []

  constructor(plan: Plan) {
    this.plan = plan
  }

  #all<Tag extends Fact["_tag"]>(tag: Tag): ReadonlyArray<Extract<Fact, { readonly _tag: Tag }>> {
    return this.facts.filter((fact): fact is Extract<Fact, { readonly _tag: Tag }> => fact._tag === tag)
  }

  #lastIndex(is: (fact: Fact) => boolean): number {
    return this.facts.findLastIndex(is)
  }

  /** The change that began the present state. A trip that was only reported (metrics-only) changes no state. */
  #change(): Became | undefined {
    return this.#all("Became").findLast(({ cause }) => cause !== "would trip")
  }

  get state(): State {
    return this.#change()?.state ?? "Closed"
  }

  get epoch(): number {
    return 1 + this.facts.filter(beginsEpoch).length
  }

  /** Every change of state, and every trip that was only reported. */
  get transitions(): ReadonlyArray<readonly [State, State]> {
    let from: State = "Closed"
    return this.#all("Became").flatMap(({ cause, state }) => {
      const transition = [from, state] as const
      from = state
      return transition[0] !== state || cause === "would trip" ? [transition] : []
    })
  }

  /** Whether a call that ends at this point of the list ends in another epoch than its admission's. */
  #isLate(call: number, end = this.facts.length): boolean {
    return this.facts.slice(call, end).some(beginsEpoch)
  }

  #isEnded(call: number): boolean {
    return this.#all("Ended").some((ended) => ended.call === call)
  }

  /** The calls that were admitted and ended in the present epoch. */
  #ended(kinds: ReadonlyArray<Kind>): ReadonlyArray<Ended> {
    const begin = this.#lastIndex(beginsEpoch)
    return this.#all("Ended").filter(({ call }) => call > begin && kinds.includes(this.#admission(call).kind))
  }

  /** The successes of this round's probes, each in its own epoch: an override in between does not undo them. */
  #succeeded(): number {
    const begin = this.#lastIndex(({ _tag }) => _tag === "Became")
    return this.facts.filter((fact, i) =>
      i > begin && fact._tag === "Ended" && fact.outcome === "Success" &&
      this.#admission(fact.call).kind === "Probe" && !this.#isLate(fact.call, i)
    ).length
  }

  #admission(call: number): Admitted {
    return this.facts[call] as Admitted
  }

  evidence(): ReadonlyArray<Outcome> {
    if (this.state !== "Closed") return []
    return this.#ended(["Call", "MetricsOnly"])
      .filter(({ outcome }) => outcome !== "Ignored")
      .map(({ at, outcome, slow }) => ({ at, slow, failed: outcome === "Failure" }))
  }

  openings(now: number): number {
    let count = 0
    let state: State = "Closed"
    let openFor = 0
    let forgottenAt = -Infinity
    const forget = (at: number) => {
      if (state === "Closed" && at >= forgottenAt) count = 0
    }
    for (const change of this.#all("Became")) {
      forget(change.at)
      if (change.state === "Open") {
        count++
        openFor = change.openFor
      } else if (change.cause === "recovered") forgottenAt = change.at + openFor
      else if (change.cause === "reset") count = 0
      state = change.state
    }
    forget(now)
    return count
  }

  override(now: number): Override | undefined {
    const override = this.#all("Overridden").at(-1)?.override
    return override !== undefined && now < override.until ? override : undefined
  }

  /** The end of the ramp. */
  rampUntil(): number {
    const change = this.#change()
    return change?.cause === "recovered" && this.plan.rampMillis > 0 ? change.at + this.plan.rampMillis : -Infinity
  }

  /** The ends of the leases of running probes. */
  leases(): ReadonlyArray<{ readonly call: number; readonly until: number }> {
    const begin = this.#lastIndex(beginsEpoch)
    return this.facts.flatMap((fact, call) =>
      call > begin && fact._tag === "Admitted" && fact.kind === "Probe" && !this.#isEnded(call)
        ? [{ call, until: fact.at + this.plan.leaseMillis }]
        : []
    )
  }

  openUntil(): number {
    const { at, openFor } = this.#change()!
    return at + openFor
  }

  retryAt(now: number): number | undefined {
    if (this.override(now) !== undefined) return undefined
    switch (this.state) {
      case "Open":
        return this.openUntil()
      case "HalfOpen": {
        const leases = this.leases().map(({ until }) => until)
        return leases.length < this.plan.probes ? now : leases.toSorted((a, b) => a - b)[0]
      }
      case "Closed":
        return now < this.rampUntil() ? this.rampUntil() : undefined
    }
  }

  refuses(now: number): Refusal | undefined {
    const override = this.override(now)
    if (override !== undefined) return override.mode === "ForcedOpen" ? "ForcedOpen" : undefined
    if (this.state === "Open") return now < this.openUntil() ? "Open" : undefined
    const leases = this.leases()
    return this.state === "HalfOpen" && leases.length >= this.plan.probes && leases.every(({ until }) => until > now)
      ? "HalfOpen"
      : undefined
  }

  lifetime() {
    const ended = this.#all("Ended").filter(({ call }) => this.#admission(call).kind !== "Unrecorded")
    const of = (outcome: Settlement["outcome"]) => ended.filter((call) => call.outcome === outcome)
    const counted = ended.filter(({ outcome }) => outcome !== "Ignored")
    return {
      success: of("Success").length,
      failure: of("Failure").length,
      ignored: of("Ignored").length,
      slow: counted.filter(({ slow }) => slow).length,
      timeout: ended.filter(({ timeout }) => timeout).length,
      lastSuccessAt: of("Success").at(-1)?.at ?? NaN,
      lastFailureAt: of("Failure").at(-1)?.at ?? NaN,
      durations: this.plan.slowerThanMillis === undefined || counted.length === 0
        ? undefined
        : { success: this.#tookOf(of("Success").at(-1)), failure: this.#tookOf(of("Failure").at(-1)) },
      inARow: counted.length - 1 - counted.findLastIndex(({ outcome }) => outcome === "Failure"),
      streak: streakOf(this.evidence())
    }
  }

  #tookOf(ended: Ended | undefined): number | undefined {
    return ended === undefined ? undefined : ended.at - this.#admission(ended.call).at
  }

  view(now: number) {
    return {
      state: this.state,
      since: this.#change()?.at,
      retryAt: this.retryAt(now),
      openings: this.openings(now),
      override: this.override(now),
      timesOpened: this.#all("Became").filter(({ state }) => state === "Open").length,
      windows: this.plan.windows.map((of) => ({ of, ...totalsOf(within(this.evidence(), of, now)) }))
    }
  }

  isCalm(now: number): boolean {
    return this.state === "Closed" && this.openings(now) === 0 && this.override(now) === undefined &&
      streakOf(this.evidence()) === 0 &&
      this.plan.windows.every((window) =>
        within(this.evidence(), window, now).every((call) => !call.failed && !call.slow)
      )
  }

  /** The admitted call, or the refusal. `tied` decides if a ramp's shares add up to exactly one more call. */
  admit(now: number, metricsOnly: boolean, tied: boolean): { readonly call: number; readonly kind: Kind } | Refusal {
    const override = this.override(now)
    if (override === undefined && this.#all("Overridden").at(-1)?.override !== undefined) this.setOverride(undefined)
    if (override?.mode === "ForcedOpen" && !metricsOnly) return "ForcedOpen"
    if (override?.mode === "Disabled") return this.#admitted(now, "Unrecorded")
    if (override !== undefined || metricsOnly) return this.#admitted(now, "MetricsOnly")
    if (this.state === "Open" && now < this.openUntil()) return "Open"
    if (this.state === "Closed") return this.#ramp(now, tied) ? this.#admitted(now, "Call") : "Ramp"
    if (this.state === "Open") this.#become(now, "HalfOpen", "open time over")
    const lapsed = this.leases().find(({ until }) => until <= now)
    if (lapsed !== undefined) {
      this.settle(lapsed.call, now, { outcome: "Failure", slow: false, timeout: false, hintMillis: 0 })
      return "Open"
    }
    return this.leases().length < this.plan.probes ? this.#admitted(now, "Probe") : "HalfOpen"
  }

  #admitted(at: number, kind: Kind) {
    return { call: this.facts.push({ _tag: "Admitted", at, kind }) - 1, kind }
  }

  /**
   * The sum of the shares of all calls, including the rejected ones, in tenths of the ramp's length: so many are
   * admitted.
   */
  #ramp(now: number, tied: boolean): boolean {
    if (now >= this.rampUntil()) return true
    const begin = this.rampUntil() - this.plan.rampMillis
    const recovered = this.#lastIndex((fact) => fact._tag === "Became" && fact.cause === "recovered")
    const ramped = this.facts.slice(recovered).filter((fact): fact is Ramped => fact._tag === "Ramped")
    const share = (at: number) => Math.max(this.plan.rampMillis, 10 * (at - begin))
    const owed = [...ramped.map(({ at }) => at), now].reduce((sum, at) => sum + share(at), 0) -
      10 * this.plan.rampMillis * ramped.filter((fact) => fact.admitted).length
    const admitted = owed === 10 * this.plan.rampMillis ? tied : owed > 10 * this.plan.rampMillis
    this.facts.push({ _tag: "Ramped", at: now, admitted })
    return admitted
  }

  settle(call: number, now: number, settlement: Settlement): void {
    if (this.#isEnded(call)) return
    const { at, kind } = this.#admission(call)
    const late = this.#isLate(call)
    const lapsed = kind === "Probe" && !late && now >= at + this.plan.leaseMillis
    const outcome = lapsed ? "Failure" : settlement.outcome
    this.facts.push({ ...settlement, _tag: "Ended", at: now, call, outcome })
    if (late) return
    if (this.state === "HalfOpen" && kind === "Probe") {
      if (outcome === "Failure" || (outcome === "Success" && settlement.slow)) this.#open(now, "probe failed")
      else if (this.#succeeded() >= this.plan.successes) this.#become(now, "Closed", "recovered")
    } else if (this.state === "Closed" && kind !== "Unrecorded" && outcome !== "Ignored") {
      if (!holds(this.plan.rule, this.evidence(), now)) return
      if (kind === "MetricsOnly") this.#become(now, "Closed", "would trip")
      else this.#open(now, "tripped")
    }
  }

  #open(now: number, cause: Cause): void {
    const hints = this.#ended(this.state === "HalfOpen" ? ["Probe"] : ["Call", "MetricsOnly"])
      .filter(({ hintMillis, outcome }) => outcome === "Failure" && hintMillis > 0)
      .map(({ at, hintMillis }) => at + Math.min(hintMillis, this.plan.maxOpenForMillis))
    const openFor = this.plan.openForMillis(this.openings(now) + 1)
    this.#become(now, "Open", cause, Math.max(now + openFor, ...hints) - now)
  }

  #become(at: number, state: State, cause: Cause, openFor = 0): void {
    this.facts.push({ _tag: "Became", at, state, cause, openFor })
  }

  setOverride(override: Override | undefined): void {
    this.facts.push({ _tag: "Overridden", override })
  }

  reset(now: number): void {
    this.#become(now, "Closed", "reset")
  }

  forceHalfOpen(now: number): void {
    this.#become(now, "HalfOpen", "forced")
  }
}

const beginsEpoch = ({ _tag }: Fact): boolean => _tag === "Became" || _tag === "Overridden"
