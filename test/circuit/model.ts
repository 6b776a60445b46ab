/**
 * A naive model of one circuit, as its documentation describes it: a list of everything that happened, with times.
 * Every question is answered from the whole list. It is slow, and short enough to be checked by reading.
 *
 * The fleet adds facts, too: a view that was adopted, a later state of that view, and an outcome that the circuit
 * judged because the storage did not answer. The messages to the fleet follow from each fact and from those before it.
 *
 * Times are whole milliseconds and thresholds whole percents, so that all counting is in integers.
 */
import type { Refusal, Settlement } from "../../src/core/Permit.ts"
import type { Plan } from "../../src/core/Plan.ts"
import type { LeaseName } from "../../src/core/Record.ts"
import type { FleetState, FleetView, OpenedBy, Override, State as AnyState } from "../../src/core/State.ts"
import { type RuleWindow, sameWindow, type TripRule, trips } from "../../src/core/TripRule.ts"
import { OVERDUE } from "../../src/internal/Circuit.ts"
import type { Counted, Leave } from "../../src/internal/fleet/Fleet.ts"
import type { Message } from "./support.ts"

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
export const holds = (
  rule: TripRule,
  outcomes: ReadonlyArray<Outcome>,
  now: number,
  seenBy: (window: RuleWindow) => ReadonlyArray<Outcome> = (window) => within(outcomes, window, now)
): boolean => {
  switch (rule._tag) {
    case "ConsecutiveFailures":
      return streakOf(outcomes) >= rule.failures
    case "Failures":
      return totalsOf(seenBy(rule.window)).failure >= rule.count
    case "FailureRate":
    case "SlowCallRate": {
      const seen = seenBy(rule.window)
      const { failure, slow } = totalsOf(seen)
      const bad = rule._tag === "FailureRate" ? failure : slow
      return seen.length >= rule.minimumCalls && bad > 0 && bad * 100 >= Math.round(rule.threshold * 100) * seen.length
    }
    case "Any":
      return rule.policies.some((policy) => holds(policy, outcomes, now, seenBy))
    case "All":
      return rule.policies.every((policy) => holds(policy, outcomes, now, seenBy))
  }
}

/** `Probe` has a permit of the circuit's own, `LeasedProbe` one under a lease of the fleet. */
type Kind = "Call" | "Probe" | "LeasedProbe" | "MetricsOnly" | "Unrecorded"
type Cause = "tripped" | "would trip" | "probe failed" | "recovered" | "open time over" | "forced" | "reset"

interface Admitted {
  readonly _tag: "Admitted"
  readonly at: number
  readonly kind: Kind
  /** Until when a probe of the circuit's own holds its place. */
  readonly until: number
  readonly lease: LeaseName | undefined
}
/** A call that was refused and counted as such. */
interface Rejected {
  readonly _tag: "Rejected"
}
interface Ended extends Settlement {
  readonly _tag: "Ended"
  readonly at: number
  /** The index of its admission in the list. */
  readonly call: number
}
/** A change of the circuit's own. */
interface Became {
  readonly _tag: "Became"
  readonly at: number
  readonly state: State
  readonly cause: Cause
  readonly reason: string
  readonly openFor: number
}
/** The fleet's newer state took the place of the circuit's. */
interface Adopted {
  readonly _tag: "Adopted"
  readonly at: number
  readonly state: State
  readonly reason: string | undefined
  readonly view: FleetView
}
/** The fleet's state that was adopted has other times or other counts of its probes. */
interface Refreshed {
  readonly _tag: "Refreshed"
  readonly state: FleetState
}
/** The circuit judged a leased probe by itself. */
interface JudgedAlone {
  readonly _tag: "JudgedAlone"
  readonly at: number
  readonly outcome: Settlement["outcome"]
  readonly hintMillis: number
}
interface Overridden {
  readonly _tag: "Overridden"
  readonly at: number
  readonly override: Override | undefined
}
/** A call during the ramp. `share` is in parts of `WHOLE`. */
interface Ramped {
  readonly _tag: "Ramped"
  readonly share: number
  readonly admitted: boolean
}
/** Another policy was put in force. */
interface Reconfigured {
  readonly _tag: "Reconfigured"
  readonly at: number
  readonly plan: Plan
}
type Fact =
  | Admitted
  | Rejected
  | Ended
  | Became
  | Adopted
  | Refreshed
  | JudgedAlone
  | Overridden
  | Ramped
  | Reconfigured

/** A share of one, in a unit that the tenths of all ramps' lengths divide. */
const WHOLE = 20_000

/** The conditions under which a call is admitted or refused. */
export interface Conditions {
  readonly metricsOnly: boolean
  /** The fleet's answer: whether the circuit may let a probe through. */
  readonly leave: Leave
  /** The lease that waits for a call. */
  readonly lease: LeaseName | undefined
  /** Whether the call is admitted if a ramp's shares add up to exactly one more. */
  readonly tied: boolean
}

export class Model {
  readonly facts: Array<Fact>
  readonly #first: Plan

  constructor(plan: Plan, facts: Array<Fact> = []) {
    this.#first = plan
    this.facts = facts
  }

  /** The policy in force. */
  get plan(): Plan {
    return this.#all("Reconfigured").at(-1)?.plan ?? this.#first
  }

  #all<Tag extends Fact["_tag"]>(...tags: ReadonlyArray<Tag>): ReadonlyArray<Extract<Fact, { readonly _tag: Tag }>> {
    return this.facts.filter((fact): fact is Extract<Fact, { readonly _tag: Tag }> =>
      tags.some((tag) => tag === fact._tag)
    )
  }

  #lastIndex(is: (fact: Fact) => boolean): number {
    return this.facts.findLastIndex(is)
  }

  /** The model before the fact at this index. */
  #before(index: number): Model {
    return new Model(this.#first, this.facts.slice(0, index))
  }

  // -----------------------------------------------------------------------------
  // the state
  // -----------------------------------------------------------------------------

  /** The index of the change that began the present state. A trip that was only reported (metrics-only) began none. */
  #changeIndex(): number {
    return this.#lastIndex((fact) => fact._tag === "Adopted" || fact._tag === "Became" && fact.cause !== "would trip")
  }

  #change(): Became | Adopted | undefined {
    return this.facts[this.#changeIndex()] as Became | Adopted | undefined
  }

  get state(): State {
    return this.#change()?.state ?? "Closed"
  }

  get epoch(): number {
    return 1 + this.facts.filter(beginsEpoch).length
  }

  get reason(): string | undefined {
    return this.#all("Became", "Adopted").at(-1)?.reason
  }

  /** On whose evidence the circuit opened last: `instance` if it did not open since a reset. */
  get openedBy(): OpenedBy {
    const fact = this.#all("Became", "Adopted")
      .findLast((fact) => fact._tag === "Adopted" || fact.state === "Open" || fact.cause === "reset")
    return fact?._tag === "Adopted" ? fact.view.openedBy : "instance"
  }

  since(): number | undefined {
    const change = this.#change()
    if (change?._tag !== "Adopted") return change?.at
    return change.view.since === -Infinity ? undefined : change.view.since
  }

  /** Every change of state, and every trip that was only reported: the circuit's own, and the fleet's. */
  get transitions(): ReadonlyArray<readonly [State, State]> {
    let from: State = "Closed"
    let reason: string | undefined
    return this.#all("Became", "Adopted").flatMap((fact) => {
      const transition = [from, fact.state] as const
      const isReport = fact._tag === "Became"
        ? fact.cause === "would trip"
        : fact.state === "Closed" && fact.view.override?.mode === "MetricsOnly" && fact.reason !== reason
      from = fact.state
      reason = fact.reason
      return transition[0] !== from || isReport ? [transition] : []
    })
  }

  /** Whether a call that ends at this point of the list ends in another epoch than its admission's. */
  #isLate(call: number, end = this.facts.length): boolean {
    return this.facts.slice(call, end).some(beginsEpoch)
  }

  #isEnded(call: number): boolean {
    return this.#all("Ended").some((ended) => ended.call === call)
  }

  #admission(call: number): Admitted {
    return this.facts[call] as Admitted
  }

  /** The calls that were admitted and ended in the present epoch. */
  #ended(kinds: ReadonlyArray<Kind>): ReadonlyArray<Ended> {
    const begin = this.#lastIndex(beginsEpoch)
    return this.#all("Ended").filter(({ call }) => call > begin && kinds.includes(this.#admission(call).kind))
  }

  evidence(): ReadonlyArray<Outcome & { readonly index: number }> {
    if (this.state !== "Closed") return []
    return this.#ended(["Call", "MetricsOnly"])
      .filter(({ outcome }) => outcome !== "Ignored")
      .map((fact) => ({
        at: fact.at,
        slow: fact.slow,
        failed: fact.outcome === "Failure",
        index: this.facts.indexOf(fact)
      }))
  }

  /** What a window of the rule has seen: nothing from before the policy that brought it in, and no slow calls by another duration. */
  seenBy(window: RuleWindow, now: number): ReadonlyArray<Outcome> {
    const since = this.#lastChange((before) => !before.windows.some((other) => sameWindow(other, window)))
    const slowSince = this.#lastChange((before, plan) => before.slowerThanMillis !== plan.slowerThanMillis)
    const outcomes = this.evidence().filter(({ index }) => index > since)
    return within(
      outcomes.map((outcome) => outcome.index > slowSince ? outcome : { ...outcome, slow: false }),
      window,
      now
    )
  }

  /** The index of the last change of the policy for which this holds; -1 where there is none. */
  #lastChange(holds: (before: Plan, plan: Plan) => boolean): number {
    return this.#lastIndex((fact) =>
      fact._tag === "Reconfigured" && holds(this.#before(this.facts.indexOf(fact)).plan, fact.plan)
    )
  }

  /** When the longest hint of the evidence is over. */
  hintUntil(): number {
    if (this.state !== "Closed") return 0
    return this.#latestHint(this.#ended(["Call", "MetricsOnly"]).filter(({ outcome }) => outcome === "Failure"))
  }

  #latestHint(failures: ReadonlyArray<{ readonly at: number; readonly hintMillis: number }>): number {
    return Math.max(
      0,
      ...failures.filter(({ hintMillis }) => hintMillis > 0)
        .map(({ at, hintMillis }) => at + Math.min(hintMillis, this.plan.maxOpenForMillis))
    )
  }

  openings(now: number): number {
    let count = 0
    let state: State = "Closed"
    let openFor = 0
    let forgottenAt = -Infinity
    const forget = (at: number) => {
      if (state === "Closed" && at >= forgottenAt) count = 0
    }
    for (const change of this.#all("Became", "Adopted")) {
      forget(change.at)
      if (change._tag === "Adopted") {
        count = change.view.openings
        openFor = change.view.openForMillis
        forgottenAt = change.view.since + openFor
      } else if (change.state === "Open") {
        count++
        openFor = change.openFor
      } else if (change.cause === "recovered") forgottenAt = change.at + openFor
      else if (change.cause === "reset") count = 0
      state = change.state
    }
    forget(now)
    return count
  }

  /** The override that was set or adopted last, even if its time is over, until a call removes it. */
  #overrideSet(): Override | undefined {
    const fact = this.#all("Overridden", "Adopted").at(-1)
    return fact?._tag === "Adopted" ? fact.view.override : fact?.override
  }

  override(now: number): Override | undefined {
    const override = this.#overrideSet()
    return override !== undefined && now < override.until ? override : undefined
  }

  /**
   * The end of the ramp. An adoption by a circuit that was Closed neither begins nor ends a ramp, unless nothing was known before. The
   * fleet's ramp begins when the fleet closed. A ramp that is under way takes the length of a new policy; none begins by it.
   */
  rampUntil(): number {
    const last = this.#lastIndex((fact) => fact._tag === "Reconfigured")
    const changeIndex = this.#changeIndex()
    if (last > changeIndex) {
      const { at, plan: { rampMillis } } = this.facts[last] as Reconfigured
      const before = this.#before(last)
      const until = before.rampUntil()
      if (at >= until || rampMillis === before.plan.rampMillis) return until
      return rampMillis > 0 ? until - before.plan.rampMillis + rampMillis : -Infinity
    }
    const change = this.#change()
    const isClosing = change?._tag === "Adopted" ? change.state === "Closed" : change?.cause === "recovered"
    if (change === undefined || !isClosing) return -Infinity
    const before = this.#before(changeIndex)
    const { rampMillis } = this.plan
    const begunAt = change._tag === "Adopted" ? change.view.since : change.at
    const begun = rampMillis > 0 ? begunAt + rampMillis : -Infinity
    if (change._tag !== "Adopted") return begun
    const joins = before.state !== "Closed" || (before.since() === undefined && change.view.openForMillis > 0)
    const until = joins ? begun : before.rampUntil()
    return until > change.at ? until : -Infinity
  }

  /** The running probes with a permit of the circuit's own. They run on when they no longer hold a place. */
  probes(): ReadonlyArray<{ readonly call: number; readonly until: number }> {
    const begin = this.#lastIndex(beginsEpoch)
    return this.facts.flatMap((fact, call) =>
      call > begin && fact._tag === "Admitted" && fact.kind === "Probe" && !this.#isEnded(call)
        ? [{ call, until: fact.until }]
        : []
    )
  }

  /** Those of them that hold a place. */
  places(now: number): ReadonlyArray<{ readonly call: number; readonly until: number }> {
    return this.probes().filter(({ until }) => now < until)
  }

  /** How many of this round's probes ended so, each in its own epoch: an override in between does not undo them. */
  #probesEnded(outcome: "Success" | "Failure"): number {
    const begin = this.#changeIndex()
    return this.facts.reduce((count, fact, i) => {
      if (i < begin) return count
      if (fact._tag === "Adopted") return endedOf(fact.view.state, outcome)
      if (fact._tag === "Refreshed") return endedOf(fact.state, outcome)
      const isOne = fact._tag === "JudgedAlone" && fact.outcome === outcome ||
        fact._tag === "Ended" && judgedOf(fact) === outcome && this.#admission(fact.call).kind === "Probe" &&
          !this.#isLate(fact.call, i)
      return count + (isOne ? 1 : 0)
    }, 0)
  }

  /** When the longest hint of this round's probes that did not succeed is over, as far as is known. */
  probesFrom(): number {
    const begin = this.#changeIndex()
    const hinted = (hintMillis: number, at: number) => this.#latestHint([{ at, hintMillis }])
    return this.facts.reduce((from, fact, i) => {
      if (i < begin) return from
      if (fact._tag === "Adopted") return probesFromOf(fact.view.state)
      if (fact._tag === "Refreshed") return probesFromOf(fact.state)
      const isHint = fact._tag === "JudgedAlone" && fact.outcome !== "Success" ||
        fact._tag === "Ended" && judgedOf(fact) !== "Success" && this.#admission(fact.call).kind === "Probe" &&
          !this.#isLate(fact.call, i)
      return isHint ? Math.max(from, hinted(fact.hintMillis, fact.at)) : from
    }, 0)
  }

  /** The fleet's last known state, unless the circuit has left it by a change or a probe of its own. */
  #fleetState(): FleetState | undefined {
    const change = this.#change()
    const since = this.facts.slice(this.#changeIndex())
    if (change?._tag !== "Adopted" || since.some((fact) => fact._tag === "Admitted" && fact.kind === "Probe")) {
      return undefined
    }
    return since.findLast((fact) => fact._tag === "Refreshed")?.state ?? change.view.state
  }

  openUntil(): number {
    const fleet = this.#fleetState()
    if (fleet?._tag === "Open") return fleet.until
    const { at, openFor } = this.#change() as Became
    return at + openFor
  }

  // -----------------------------------------------------------------------------
  // answers
  // -----------------------------------------------------------------------------

  retryAt(now: number): number | undefined {
    if (this.override(now) !== undefined) return undefined
    switch (this.state) {
      case "Open":
        return this.openUntil()
      case "HalfOpen": {
        const fleet = this.#fleetState()
        const from = Math.max(now, this.probesFrom())
        if (fleet?._tag === "HalfOpen") return Math.max(from, fleet.freeAt)
        const places = this.places(now).map(({ until }) => until)
        const free = places.length - this.plan.probes
        return free < 0 ? from : Math.max(from, places.toSorted((a, b) => a - b)[free]!)
      }
      case "Closed":
        return now < this.rampUntil() ? this.rampUntil() : undefined
    }
  }

  refuses(now: number, leave: Leave): Refusal | undefined {
    const override = this.override(now)
    if (override !== undefined) return override.mode === "ForcedOpen" ? "ForcedOpen" : undefined
    if (this.state === "Closed") return undefined
    if (this.state === "Open" && now < this.openUntil()) return "Open"
    if (leave === "Denied") return this.state
    if (this.state === "HalfOpen" && now < this.probesFrom()) return "HalfOpen"
    if (this.state === "Open" || leave === "Granted" || leave === "Ask") return undefined
    const most = leave === "Alone" ? 1 : this.plan.probes
    return this.places(now).length >= most ? "HalfOpen" : undefined
  }

  /** All counts. */
  counted(): Counted {
    const ended = this.#all("Ended").filter(({ call }) => this.#admission(call).kind !== "Unrecorded")
    const of = (outcome: Settlement["outcome"]) => ended.filter((call) => call.outcome === outcome)
    return {
      success: of("Success").length,
      failure: of("Failure").length,
      ignored: of("Ignored").length,
      slow: ended.filter(({ outcome, slow }) => outcome !== "Ignored" && slow).length,
      timeout: ended.filter(({ timeout }) => timeout).length,
      rejected: this.#all("Rejected").length,
      shed: 0,
      streak: streakOf(this.evidence()),
      hintUntil: this.hintUntil(),
      lastSuccessAt: of("Success").at(-1)?.at ?? NaN,
      lastFailureAt: of("Failure").at(-1)?.at ?? NaN,
      lastSuccessMillis: this.#tookMillis(of("Success")),
      lastFailureMillis: this.#tookMillis(of("Failure"))
    }
  }

  /** How long the last of these calls took that was measured, since the policy last stopped measuring. */
  #tookMillis(ended: ReadonlyArray<Ended>): number | undefined {
    const since = this.#lastChange((before, plan) =>
      before.slowerThanMillis !== undefined && plan.slowerThanMillis === undefined
    )
    const last = ended.findLast((fact) =>
      this.facts.indexOf(fact) > since && this.#before(fact.call).plan.slowerThanMillis !== undefined
    )
    return last === undefined ? undefined : last.at - this.#admission(last.call).at
  }

  /** The successes since the last failure. */
  inARow(): number {
    const counted = this.#all("Ended").filter(({ call, outcome }) =>
      this.#admission(call).kind !== "Unrecorded" && outcome !== "Ignored"
    )
    return counted.length - 1 - counted.findLastIndex(({ outcome }) => outcome === "Failure")
  }

  view(now: number) {
    return {
      state: this.state,
      since: this.since(),
      reason: this.reason,
      openedBy: this.openedBy,
      retryAt: this.retryAt(now),
      openings: this.openings(now),
      override: this.override(now),
      timesOpened: this.transitions.filter(([, to]) => to === "Open").length,
      windows: this.plan.windows.map((of) => ({ of, ...totalsOf(this.seenBy(of, now)) }))
    }
  }

  lossAt(now: number): number {
    if (this.override(now) !== undefined) return Infinity
    if (this.state === "Open") return now >= this.retryAt(now)! ? OVERDUE : Infinity
    if (this.state === "HalfOpen" || this.openings(now) > 0 || now < this.rampUntil()) return Infinity
    const inWindows = this.plan.windows.map((window) => {
      const { failure, slow } = totalsOf(this.seenBy(window, now))
      return failure + slow
    })
    return Math.max(streakOf(this.evidence()), ...inWindows)
  }

  // -----------------------------------------------------------------------------
  // messages to the fleet
  // -----------------------------------------------------------------------------

  /** The messages about the facts from this index on. */
  sent(since: number): ReadonlyArray<Message> {
    return this.facts.slice(since).flatMap((fact, i) => this.#before(since + i).#messagesOf(fact))
  }

  /** The messages about a fact that follows this list. The fleet gets none about its own state. */
  #messagesOf(fact: Fact): ReadonlyArray<Message> {
    switch (fact._tag) {
      case "Overridden":
        return [["epochEnded", this.counted(), fact.at]]
      case "Became": {
        const hasTripped = fact.cause === "tripped" || fact.cause === "would trip"
        return [["epochEnded", this.counted(), fact.at], ...when(hasTripped, ["tripped", fact.reason, fact.at])]
      }
      case "Ended":
        return this.#messagesOfEnd(fact)
      default:
        return []
    }
  }

  #messagesOfEnd({ at, call, hintMillis, outcome, slow, timeout }: Ended): ReadonlyArray<Message> {
    const { kind, lease } = this.#admission(call)
    if (kind === "Unrecorded") return []
    const failed = outcome === "Failure"
    const isLate = this.#isLate(call)
    const isProbe = kind === "Probe" || kind === "LeasedProbe"
    // Its caller alone chose metrics-only, so the call must not open the circuit for the fleet.
    const isMeasured = kind === "MetricsOnly" && this.#overrideSet() === undefined
    const isNoEvidence = outcome !== "Ignored" && (isLate || isProbe || isMeasured)
    const streak = streakOf(this.evidence())
    const endsStreak = outcome === "Success" && !isLate && !isProbe && streak > 0
    const judged = isLate ? "Ignored" : outcome === "Success" && slow ? "Failure" : outcome
    return [
      ...when(failed, ["failed"]),
      ...when(isNoEvidence, ["notEvidence", failed, slow]),
      ...when(lease !== undefined, [
        "probeEnded",
        lease,
        { outcome: judged, slow, timeout, hintMillis: isLate ? 0 : hintMillis },
        at
      ]),
      ...when(endsStreak, ["streakEnded", streak, this.counted().success])
    ]
  }

  // -----------------------------------------------------------------------------
  // acts
  // -----------------------------------------------------------------------------

  /** The admitted call, or the refusal. */
  admit(
    now: number,
    { lease, leave, metricsOnly, tied }: Conditions
  ): { readonly call: number; readonly kind: Kind } | Refusal | "Ask" {
    const override = this.override(now)
    if (override === undefined && this.#overrideSet() !== undefined) this.setOverride(now, undefined)
    if (override?.mode === "ForcedOpen" && !metricsOnly) return "ForcedOpen"
    if (override?.mode === "Disabled") return this.#admitted(now, "Unrecorded")
    if (override !== undefined || metricsOnly) return this.#admitted(now, "MetricsOnly")
    const refusal = this.refuses(now, leave)
    if (refusal !== undefined) return refusal
    if (lease !== undefined) return this.#admitted(now, "LeasedProbe", Infinity, lease)
    if (this.state === "Closed") return this.#ramp(now, tied) ? this.#admitted(now, "Call") : "Ramp"
    if (leave === "Granted" || leave === "Ask") return "Ask"
    if (this.state === "Open") this.#become(now, "HalfOpen", "open time over", "the open time is over")
    return this.#admitted(now, "Probe", now + this.plan.leaseMillis)
  }

  #admitted(at: number, kind: Kind, until = Infinity, lease?: LeaseName) {
    return { call: this.facts.push({ _tag: "Admitted", at, kind, until, lease }) - 1, kind }
  }

  /**
   * Whether the ramp admits a call. Every call adds its share, a rejected one too, and the ramp admits as many calls as
   * the sum has wholes. An adoption begins a new sum.
   */
  #ramp(now: number, tied: boolean): boolean {
    if (now >= this.rampUntil()) return true
    const { rampMillis } = this.plan
    const begin = this.rampUntil() - rampMillis
    const ramped = this.facts.slice(this.#changeIndex()).filter((fact) => fact._tag === "Ramped")
    const share = Math.max(rampMillis, 10 * (now - begin)) * (WHOLE / (10 * rampMillis))
    const credit = ramped.reduce((sum, fact) => sum + fact.share - (fact.admitted ? WHOLE : 0), share)
    const admitted = credit === WHOLE ? tied : credit > WHOLE
    this.facts.push({ _tag: "Ramped", share, admitted })
    return admitted
  }

  settle(call: number, now: number, settlement: Settlement): void {
    if (this.#isEnded(call)) return
    const { kind } = this.#admission(call)
    const { outcome } = settlement
    const late = this.#isLate(call)
    this.facts.push({ ...settlement, _tag: "Ended", at: now, call })
    if (late) return
    if (this.state === "HalfOpen" && kind === "Probe") {
      this.#judgeProbe(now, judgedOf(settlement), settlement.hintMillis)
    } else if (this.state === "Closed" && (kind === "Call" || kind === "MetricsOnly") && outcome !== "Ignored") {
      const evidence = this.evidence()
      if (!holds(this.plan.rule, evidence, now, (window) => this.seenBy(window, now))) return
      const totals = (of: RuleWindow) => totalsOf(this.seenBy(of, now))
      const reason = trips(this.plan.rule, { streak: streakOf(evidence), totals })!
      if (kind === "MetricsOnly") this.#become(now, "Closed", "would trip", `${reason} (metrics only)`)
      else this.#open(now, "tripped", reason, this.hintUntil())
    }
  }

  #judgeProbe(at: number, outcome: Settlement["outcome"], hintMillis: number): void {
    const { failures, successes } = this.plan
    const sample = failures + successes - 1
    const [succeeded, failed] = [this.#probesEnded("Success"), this.#probesEnded("Failure")]
    if (outcome === "Failure" && failed >= failures) {
      const hintUntil = Math.max(this.#latestHint([{ at, hintMillis }]), this.probesFrom())
      const reason = failures === 1 ? "a probe failed" : `${failed} of ${sample} probes failed`
      this.#open(at, "probe failed", reason, hintUntil)
    } else if (outcome === "Success" && succeeded >= successes) {
      this.#become(at, "Closed", "recovered", `${succeeded} of ${sample} probes succeeded`)
    }
  }

  #open(now: number, cause: Cause, reason: string, hintUntil: number): void {
    const openFor = this.plan.openForMillis(this.openings(now) + 1)
    this.#become(now, "Open", cause, reason, Math.max(now + openFor, hintUntil) - now)
  }

  #become(at: number, state: State, cause: Cause, reason: string, openFor = 0): void {
    this.facts.push({ _tag: "Became", at, state, cause, reason, openFor })
  }

  reject(): void {
    this.facts.push({ _tag: "Rejected" })
  }

  reconfigure(at: number, plan: Plan): void {
    this.facts.push({ _tag: "Reconfigured", at, plan })
  }

  setOverride(at: number, override: Override | undefined): void {
    this.facts.push({ _tag: "Overridden", at, override })
  }

  reset(now: number): void {
    this.#become(now, "Closed", "reset", "reset")
  }

  forceHalfOpen(now: number): void {
    this.#become(now, "HalfOpen", "forced", "forced half-open")
  }

  /** Returns the counts of the epoch that ends. */
  adopt(view: FleetView, at: number): Counted {
    const ended = this.counted()
    this.facts.push({ _tag: "Adopted", at, state: view.state._tag, reason: view.reason, view })
    return ended
  }

  /** Times that differ by less than a tenth of a second count as the same. */
  refresh(state: FleetState): void {
    const known = this.#fleetState()
    const differ = (a: number, b: number) => Math.abs(a - b) >= 100
    const hasMoved = known?._tag === "Open" && state._tag === "Open"
      ? differ(known.until, state.until)
      : known?._tag === "HalfOpen" && state._tag === "HalfOpen" &&
        (this.#probesEnded("Success") !== state.successes || this.#probesEnded("Failure") !== state.failures ||
          differ(known.freeAt, state.freeAt) ||
          differ(this.probesFrom(), state.probesFrom))
    if (hasMoved) this.facts.push({ _tag: "Refreshed", state })
  }

  judgeAlone(outcome: Settlement["outcome"], hintMillis: number, at: number): void {
    if (this.state !== "HalfOpen") return
    this.facts.push({ _tag: "JudgedAlone", at, outcome, hintMillis })
    this.#judgeProbe(at, outcome, hintMillis)
  }
}

const beginsEpoch = ({ _tag }: Fact): boolean => _tag === "Became" || _tag === "Adopted" || _tag === "Overridden"

const probesFromOf = (state: FleetState): number => state._tag === "HalfOpen" ? state.probesFrom : 0

const endedOf = (state: FleetState, outcome: "Success" | "Failure"): number =>
  state._tag !== "HalfOpen" ? 0 : outcome === "Success" ? state.successes : state.failures

/** A probe that was slow has failed. */
const judgedOf = ({ outcome, slow }: Pick<Settlement, "outcome" | "slow">): Settlement["outcome"] =>
  outcome === "Success" && slow ? "Failure" : outcome

const when = (condition: boolean, message: Message): ReadonlyArray<Message> => condition ? [message] : []
