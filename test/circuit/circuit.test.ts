import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { Permit, Settlement } from "../../src/core/Permit.ts"
import type { Plan } from "../../src/core/Plan.ts"
import {
  type FleetState,
  type FleetView,
  openingsAt,
  type Override,
  overrideAt,
  type OverrideMode,
  retryAt
} from "../../src/core/State.ts"
import { slowerThanOf, type TripRule, windowsOf } from "../../src/core/TripRule.ts"
import type { Circuit } from "../../src/internal/Circuit.ts"
import { GATE_IDLE, type Leave } from "../../src/internal/fleet/Fleet.ts"
import { Model } from "./model.ts"
import { circuitOf, FakeFleet, type Watched } from "./support.ts"

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const SPANS = [60, 100, 7, 1000]
const CALLS = [1, 3, 5]
const PERCENTS = [0, 7, 28, 50, 100]
const OPEN_FOR = 1000
const LEASE = 400
const RAMPS = [0, 1000, 2000]
/** In milliseconds. The sum of a hundred such waits is still an exact number of nanoseconds, the unit of the clock. */
const LONGEST_WAIT = 1e9

const Leaf = Schema.Struct({ kind: upTo(3), window: upTo(6), percent: upTo(4), count: upTo(3) })

const leaf = ({ count, kind, percent, window: of }: typeof Leaf.Type): TripRule => {
  const window = of < 4
    ? { _tag: "Within", duration: SPANS[of]! } as const
    : { _tag: "LastCalls", calls: CALLS[of - 4]! } as const
  const rate = { threshold: PERCENTS[percent]! / 100, minimumCalls: 1 + count, window }
  switch (kind) {
    case 0:
      return { _tag: "ConsecutiveFailures", failures: 1 + count }
    case 1:
      return { _tag: "Failures", count: 1 + count, window }
    case 2:
      return { _tag: "FailureRate", ...rate }
    default:
      return { _tag: "SlowCallRate", slowerThan: 100, ...rate }
  }
}

const Policy = Schema.Struct({
  leaves: Schema.Tuple([Leaf, Leaf, Leaf]),
  shape: upTo(4),
  probes: upTo(2),
  successes: upTo(2),
  failures: upTo(2),
  ramp: upTo(2),
  recovered: Schema.Boolean
})

const planOf = (
  { failures, leaves, probes, ramp, shape, successes }: typeof Policy.Type,
  openings: Array<number>
): Plan => {
  const [a, b, c] = leaves.map(leaf) as [TripRule, TripRule, TripRule]
  const rules: ReadonlyArray<TripRule> = [
    a,
    a,
    { _tag: "Any", policies: [a, b] },
    { _tag: "All", policies: [a, b] },
    { _tag: "Any", policies: [a, { _tag: "All", policies: [b, c] }] }
  ]
  const rule = rules[shape]!
  return {
    rule,
    windows: windowsOf(rule),
    throttle: undefined,
    openForMillis: (opening) => {
      openings.push(opening)
      return Math.min(OPEN_FOR * 2 ** (opening - 1), 4 * OPEN_FOR)
    },
    maxOpenForMillis: 5 * OPEN_FOR,
    slowerThanMillis: slowerThanOf(rule),
    probes: 1 + probes,
    successes: 1 + successes,
    failures: 1 + failures,
    leaseMillis: LEASE,
    rampMillis: RAMPS[ramp]!
  }
}

/** The steps that are calls, each repeated as often as it should be drawn. */
const CALL_OPS = [
  ...Array.from({ length: 16 }, () => "call" as const),
  ...Array.from({ length: 6 }, () => "begin" as const),
  ...Array.from({ length: 8 }, () => "end" as const),
  ...["shadow", "shadow", "reconfigure", "repeat"] as const
]
/** With a fleet, an operator's act is no step of its own, because the fleet sends it as a view to adopt. */
const OPS = {
  own: [...CALL_OPS, ...["override", "lift", "reset", "forceHalfOpen"] as const],
  fleet: [
    ...CALL_OPS,
    ...Array.from({ length: 5 }, () => "adopt" as const),
    ...Array.from({ length: 4 }, () => "refresh" as const),
    ...Array.from({ length: 3 }, () => "judgeAlone" as const)
  ]
}
const LEAVES: ReadonlyArray<Leave> = ["Own", "Own", "Own", "Alone", "Granted", "Granted", "Ask", "Denied"]

const Step = Schema.Struct({
  op: upTo(OPS.fleet.length - 1),
  wait: upTo(19),
  outcome: upTo(9),
  which: upTo(5),
  leave: upTo(LEAVES.length - 1),
  view: upTo(11)
})
type Step = typeof Step.Type

/** Everything that can be read of a circuit. */
const viewOf = ({ circuit }: Watched, now: number) => {
  const { current: state, shared } = circuit
  return {
    state: state._tag,
    since: state.since === -Infinity ? undefined : state.since,
    reason: state.reason,
    openedBy: circuit.current.openedBy,
    retryAt: retryAt(shared, state, now),
    openings: openingsAt(state, now),
    override: overrideAt(state, now),
    timesOpened: state.timesOpened,
    windows: circuit.totalsAt(now)
  }
}

const setOverride = (circuit: Circuit, { actor, mode, reason, until }: Override, now: number): void => {
  const remaining = until === Infinity ? undefined : until - now
  circuit.operate({ _tag: "Override", kind: mode, reason, actor, remaining }, { reason, actor }, now)
}
const clearOverride = (circuit: Circuit, now: number): void =>
  circuit.operate({ _tag: "ClearOverride" }, { reason: "cleared" }, now)
const reset = (circuit: Circuit, now: number): void => circuit.operate({ _tag: "Reset" }, { reason: "reset" }, now)
const forceHalfOpen = (circuit: Circuit, now: number): void =>
  circuit.operate({ _tag: "HalfOpen" }, { reason: "forced half-open" }, now)

/** A call in flight: admitted by a permit, or straight through an open gate as the hot path does it. */
interface Call {
  readonly permit: Permit | undefined
  readonly epoch: number
  readonly call: number
}

type Policies = readonly [typeof Policy.Type, typeof Policy.Type, typeof Policy.Type]

/** The circuit and the model side by side. */
class Pair {
  now = 0
  plan: Plan
  readonly watched: Watched
  readonly circuit: Circuit
  readonly model: Model
  readonly #policies: Policies
  #policy: typeof Policy.Type
  readonly fleet: FakeFleet | undefined
  readonly #openings: Array<number> = []
  readonly #modelOpenings: Array<number> = []
  readonly #calls: Array<Call> = []
  #sequence = 0
  /** The number of facts whose messages have been compared. */
  #compared = 0

  constructor(policies: Policies, fleet?: FakeFleet) {
    const [policy] = policies
    this.#policies = policies
    this.#policy = policy
    this.plan = planOf(policy, this.#openings)
    this.fleet = fleet
    this.watched = circuitOf(this.plan, () => this.now, fleet)
    this.circuit = this.watched.circuit
    this.model = new Model(planOf(policy, this.#modelOpenings))
    this.circuit.join()
    if (policy.recovered) this.recover()
  }

  /** Brings the circuit to the start of a ramp. */
  recover(): void {
    this.forceHalfOpen()
    while (this.model.state !== "Closed") this.call({ op: 0, wait: 0, outcome: 0, which: 1, leave: 0, view: 0 })
  }

  step(step: Step): void {
    this.now += this.wait(step)
    this.compare("waited")
    const ops = this.fleet === undefined ? OPS.own : OPS.fleet
    const op = ops[step.op % ops.length]!
    this[op](step)
    this.compare(op)
  }

  /** Sets the fleet's answer about the next probe, and the lease that waits for a call. */
  decide({ leave, view }: Step): void {
    const { fleet } = this
    if (fleet === undefined) return
    fleet.answer = LEAVES[leave]!
    fleet.takeBack()
    if (fleet.answer !== "Granted") return
    // `undefined`: the lease lapses before the call can take it.
    fleet.grant(view === 0 ? undefined : { instance: "i", sequence: this.#sequence++ })
  }

  wait({ wait, which }: Step): number {
    const { now, plan } = this
    const window = plan.windows[0]
    const span = window?._tag === "Within" ? window.duration : 1
    const until = (at: number | undefined) => at === undefined ? 0 : Math.max(0, at - now)
    const lapse = Math.min(...this.model.places(now).map((probe) => probe.until))
    const since = this.model.since()
    const waits = [
      0,
      0,
      0,
      0,
      1,
      Math.ceil(span / 60),
      span - 1,
      span,
      250,
      100 * span,
      until(this.model.retryAt(now)),
      until(this.model.retryAt(now)),
      until(this.model.retryAt(now)),
      Math.max(0, until(this.model.retryAt(now)) - 1),
      lapse === Infinity ? 0 : until(lapse),
      lapse === Infinity ? 0 : Math.max(0, until(lapse) - 1),
      until((since ?? now) + [1, 2, 4, 5][which % 4]! * OPEN_FOR),
      Math.max(0, until((since ?? now) + [1, 2, 4, 5][which % 4]! * OPEN_FOR) - 1),
      Math.min(until(this.model.override(now)?.until), LONGEST_WAIT),
      10 * OPEN_FOR
    ]
    return waits[wait]!
  }

  compare(what: string): void {
    const { circuit, fleet, model, now, watched: { transitions } } = this
    const before = [circuit.gate, circuit.epoch]
    assert.deepStrictEqual(viewOf(this.watched, now), model.view(now), what)
    assert.deepStrictEqual(circuit.counted(), model.counted(), what)
    assert.strictEqual(circuit.success - circuit.successAtFailure, model.inARow(), what)
    assert.strictEqual(circuit.epoch, model.epoch, what)
    assert.strictEqual(circuit.refusalAt(now), model.refuses(now, fleet?.answer ?? "Own"), what)
    // An open gate lets calls through without a check, so nothing may refuse one.
    if (circuit.isClosed()) {
      assert.deepStrictEqual(
        [model.state, model.override(now), model.retryAt(now)],
        ["Closed", undefined, undefined],
        what
      )
    }
    assert.strictEqual(circuit.lossAt(now), model.lossAt(now), what)
    assert.deepStrictEqual<unknown>(transitions, model.transitions, what)
    assert.deepStrictEqual(this.#openings, this.#modelOpenings, what)
    if (fleet !== undefined) assert.deepStrictEqual<unknown>(fleet.received.splice(0), model.sent(this.#compared), what)
    this.#compared = model.facts.length
    assert.deepStrictEqual([circuit.gate, circuit.epoch], before, `reading wrote: ${what}`)
  }

  begin(step: Step, metricsOnly = false): Call | undefined {
    this.decide(step)
    const { circuit, fleet, model, now } = this
    if (circuit.isShut(GATE_IDLE)) circuit.beforeCall()
    const refusal = circuit.refusalAt(now)
    const { epoch } = circuit
    const straight = !metricsOnly && circuit.gate === 0
    const leave = fleet?.answer ?? "Own"
    const lease = fleet?.lease
    const permit = straight ? undefined : circuit.admit(now, metricsOnly)
    const admitted = model.admit(now, { metricsOnly, leave, lease, tied: permit !== "Ramp" })
    if (typeof permit === "string" || typeof admitted === "string") {
      assert.strictEqual<unknown>(permit, admitted)
      if (typeof admitted === "string" && admitted !== "Ask") {
        circuit.reject(admitted, now)
        model.reject()
      }
      return undefined
    }
    if (!metricsOnly) assert.isUndefined(refusal)
    const kind = permit === undefined ? "Call" : kindOf(permit)
    assert.strictEqual(kind, admitted.kind)
    // Once an ordinary call is admitted, the gate is open to the next call, unless there is a ramp.
    if (kind === "Call") assert.strictEqual(circuit.isClosed(), now >= model.rampUntil())
    const call = { permit, epoch, call: admitted.call }
    this.#calls.unshift(call)
    return call
  }

  call(step: Step): void {
    const call = this.begin(step)
    if (call !== undefined) this.settle(call, step)
  }

  shadow(step: Step): void {
    const call = this.begin(step, true)
    if (call !== undefined && step.which < 4) this.settle(call, step)
  }

  /** Ends one of the last calls, which may have ended before. */
  end(step: Step): void {
    const call = this.#calls[step.which]
    if (call !== undefined) this.settle(call, step)
  }

  settle({ call, epoch, permit }: Call, { outcome, which }: Step): void {
    const { circuit, model, now } = this
    const settlement = this.settlementOf(outcome, which)
    if (permit !== undefined) {
      circuit.settle(permit, now, settlement)
      model.settle(call, now, settlement)
      return
    }
    // A call that went straight through has no permit that could stop a second end, so it ends once and is never slow.
    const at = this.#calls.findIndex((other) => other.call === call)
    this.#calls.splice(at, 1)
    const { hintMillis, outcome: ended } = settlement
    model.settle(call, now, { outcome: ended, hintMillis, slow: false, timeout: false })
    if (ended === "Ignored") circuit.ignored++
    else if (ended === "Success") circuit.succeeded(epoch, now)
    else circuit.failed(epoch, now, hintMillis, "no")
  }

  settlementOf(outcome: number, which: number): Settlement {
    return {
      outcome: outcome < 5 ? "Success" : outcome < 9 ? "Failure" : "Ignored",
      slow: this.plan.slowerThanMillis !== undefined && which % 2 === 0,
      timeout: outcome === 7,
      hintMillis: outcome >= 8 ? [1, 3000, 9000][which % 3]! : 0
    }
  }

  override({ outcome, which }: Step): void {
    const mode = (["ForcedOpen", "Disabled", "MetricsOnly"] satisfies Array<OverrideMode>)[which % 3]!
    const override = { mode, reason: "r", actor: "a", until: outcome < 7 ? this.now + 700 : Infinity }
    setOverride(this.circuit, override, this.now)
    this.model.setOverride(this.now, override)
  }

  lift(): void {
    clearOverride(this.circuit, this.now)
    if (this.model.override(this.now) !== undefined) this.model.setOverride(this.now, undefined)
  }

  reset(): void {
    reset(this.circuit, this.now)
    this.model.reset(this.now)
  }

  forceHalfOpen(): void {
    forceHalfOpen(this.circuit, this.now)
    this.model.forceHalfOpen(this.now)
  }

  adopt(step: Step): void {
    const view = this.viewOfFleet(step)
    assert.deepStrictEqual(this.circuit.adopt(view, this.now), this.model.adopt(view, this.now))
  }

  viewOfFleet({ leave, outcome, view, which, wait }: Step): FleetView {
    const mode = (["ForcedOpen", "Disabled", "MetricsOnly", "MetricsOnly"] satisfies Array<OverrideMode>)[view % 4]!
    const until = view < 8 ? this.now + 700 : Infinity
    return {
      state: this.stateOfFleet((["Closed", "Open", "HalfOpen"] as const)[which % 3]!, wait),
      since: view === 0 ? -Infinity : this.now - 300 * (view - 1),
      reason: [undefined, "by the fleet", "by another instance"][leave % 3],
      openedBy: leave < 4 ? "fleet" : "instance",
      openings: view % 4,
      openForMillis: OPEN_FOR * (1 + leave % 2),
      override: outcome < 6 ? undefined : { mode, reason: "r", actor: "a", until }
    }
  }

  stateOfFleet(tag: FleetState["_tag"], by: number): FleetState {
    switch (tag) {
      case "Closed":
        return { _tag: "Closed" }
      case "Open":
        return { _tag: "Open", until: this.now + [0, 1, 500, 3000][by % 4]! }
      case "HalfOpen":
        return {
          _tag: "HalfOpen",
          successes: by % 4,
          failures: by % 3,
          freeAt: this.now + [0, 99, 400][by % 3]!,
          probesFrom: by % 4 === 3 ? this.now + 500 : 0
        }
    }
  }

  /** Sends a state of the fleet, mostly the circuit's own with other times. */
  refresh({ leave, outcome, view, which }: Step): void {
    const { circuit: { current }, model } = this
    const state = outcome > 7 ? this.stateOfFleet((["Closed", "Open", "HalfOpen"] as const)[which % 3]!, view) : current
    const by = [0, 99, 100, -99, -100, 500][which]!
    const refreshed: FleetState = state._tag === "Open"
      ? { _tag: "Open", until: state.until + by }
      : state._tag === "HalfOpen"
      ? {
        _tag: "HalfOpen",
        successes: leave < 4 ? state.successes : view % 4,
        failures: leave < 6 ? state.failures : view % 3,
        freeAt: state.freeAt + by,
        probesFrom: Math.max(0, state.probesFrom + by)
      }
      : { _tag: "Closed" }
    this.circuit.refresh(refreshed, Infinity)
    model.refresh(refreshed)
  }

  /** Puts one of the policies in force. */
  reconfigure({ view }: Step): void {
    this.#policy = this.#policies[view % 3]!
    this.put(this.#policy)
    this.model.reconfigure(this.now, planOf(this.#policy, this.#modelOpenings))
  }

  /** Puts the policy that is in force in force again. The model is not told, because nothing may follow. */
  repeat(): void {
    this.put(this.#policy)
  }

  put(policy: typeof Policy.Type): void {
    const { shared } = this.circuit
    const before = this.plan
    this.plan = planOf(policy, this.#openings)
    Object.assign(shared, this.plan, { needsPermits: this.plan.slowerThanMillis !== undefined })
    this.circuit.policyReplaced(before, this.now)
  }

  judgeAlone({ outcome, which }: Step): void {
    const { hintMillis, outcome: ended } = this.settlementOf(outcome, which)
    this.circuit.judgeAlone(ended, hintMillis, this.now)
    this.model.judgeAlone(ended, hintMillis, this.now)
  }
}

const kindOf = ({ lease, metricsOnly, probe, recorded }: Permit) =>
  lease !== undefined ? "LeasedProbe" : probe ? "Probe" : metricsOnly ? "MetricsOnly" : recorded ? "Call" : "Unrecorded"

const Steps = Schema.Array(Step).check(Schema.isMaxLength(100))

describe("a circuit and its model", () => {
  const options = { arbitrary: { runs: 300, size: 100 } }

  it.prop(
    "a circuit without a fleet and its model answer alike, for random steps and policies that change",
    [Schema.Tuple([Policy, Policy, Policy]), Steps],
    ([policies, steps]) => {
      const pair = new Pair(policies)
      for (const step of steps) pair.step(step)
    },
    options
  )

  it.prop(
    "a circuit with a fleet and its model answer alike and send the same messages, for random steps and policies that change",
    [Schema.Tuple([Policy, Policy, Policy]), Steps],
    ([policies, steps]) => {
      const pair = new Pair(policies, new FakeFleet())
      for (const step of steps) pair.step(step)
    },
    options
  )
})

const MINUTE = 60_000

const planWith = (plan: Partial<Plan> & { readonly rule?: TripRule } = {}): Plan => {
  const rule = plan.rule ?? { _tag: "ConsecutiveFailures", failures: 2 }
  return {
    rule,
    windows: windowsOf(rule),
    throttle: undefined,
    openForMillis: () => MINUTE,
    maxOpenForMillis: 60 * MINUTE,
    slowerThanMillis: slowerThanOf(rule),
    probes: 1,
    successes: 1,
    failures: 1,
    leaseMillis: 30_000,
    rampMillis: 0,
    ...plan
  }
}

/** A circuit with a clock: calls that end at once, and calls that the test ends. */
class Bench {
  now = 0
  readonly watched: Watched

  constructor(plan: Partial<Plan> = {}, fleet?: FakeFleet) {
    this.watched = circuitOf(planWith(plan), () => this.now, fleet)
  }
  get circuit(): Circuit {
    return this.watched.circuit
  }
  get changes() {
    return this.watched.transitions
  }
  view() {
    return viewOf(this.watched, this.now)
  }
  get state() {
    return this.view().state
  }
  get retryIn() {
    return this.view().retryAt! - this.now
  }
  wait(by: number): this {
    this.now += by
    return this
  }
  admit(metricsOnly = false): Permit {
    const permit = this.circuit.admit(this.now, metricsOnly)
    if (typeof permit === "string") assert.fail(`refused: ${permit}`)
    return permit
  }
  refusal(): string {
    const refusal = this.circuit.admit(this.now)
    return typeof refusal === "string" ? refusal : assert.fail("admitted")
  }
  end(permit: Permit, outcome: Settlement["outcome"], more: Partial<Settlement> = {}): this {
    this.circuit.settle(permit, this.now, { outcome, slow: false, timeout: false, hintMillis: 0, ...more })
    return this
  }
  calls(...outcomes: ReadonlyArray<Settlement["outcome"]>): this {
    for (const outcome of outcomes) this.end(this.admit(), outcome)
    return this
  }
  override(mode: OverrideMode, until = Infinity): this {
    setOverride(this.circuit, { mode, until, reason: "maintenance", actor: "ann" }, this.now)
    return this
  }
}

const opened = (plan: Partial<Plan> = {}) => new Bench(plan).calls("Failure", "Failure")
const halfOpen = (plan: Partial<Plan> = {}) => opened(plan).wait((plan.openForMillis ?? (() => MINUTE))(1))

describe("tripping", () => {
  it("a circuit opens at exactly the threshold and not before (C1.2)", () => {
    const rule: TripRule = {
      _tag: "FailureRate",
      threshold: 0.5,
      minimumCalls: 4,
      window: { _tag: "LastCalls", calls: 10 }
    }
    const bench = new Bench({ rule }).calls("Failure", "Failure", "Success")
    assert.strictEqual(bench.state, "Closed")
    assert.strictEqual(bench.calls("Success").state, "Open")
  })

  it("a rate of 0.07 is reached by 7 failures of 100 calls, despite binary fractions (C1.2)", () => {
    const rule: TripRule = {
      _tag: "FailureRate",
      threshold: 0.07,
      minimumCalls: 100,
      window: { _tag: "LastCalls", calls: 100 }
    }
    const bench = new Bench({ rule }).calls(...Array.from({ length: 93 }, () => "Success" as const))
    assert.strictEqual(bench.calls(...Array.from({ length: 6 }, () => "Failure" as const)).state, "Closed")
    assert.strictEqual(bench.calls("Failure").state, "Open")
  })

  it("a success that completes the minimum of calls can open a circuit (C1.1)", () => {
    const window = { _tag: "Within", duration: MINUTE } as const
    const bench = new Bench({ rule: { _tag: "FailureRate", threshold: 0.5, minimumCalls: 3, window } })
    assert.strictEqual(bench.calls("Failure", "Failure").state, "Closed")
    assert.strictEqual(bench.calls("Success").state, "Open")
  })

  it("failures below the minimum of calls never open a circuit, however long they go on (C1.7)", () => {
    const window = { _tag: "Within", duration: MINUTE } as const
    const bench = new Bench({ rule: { _tag: "FailureRate", threshold: 0.5, minimumCalls: 3, window } })
    for (let i = 0; i < 100; i++) assert.strictEqual(bench.calls("Failure").wait(MINUTE / 2).state, "Closed")
  })

  it("a success one failure before the threshold ends the streak (C1.8)", () => {
    const bench = new Bench().calls("Failure", "Success", "Failure")
    assert.strictEqual(bench.state, "Closed")
    assert.strictEqual(bench.calls("Failure").state, "Open")
  })

  it("an ignored outcome neither ends a streak nor adds to it (C1.9)", () => {
    const bench = new Bench().calls("Failure", "Ignored", "Ignored")
    assert.deepStrictEqual([bench.state, bench.circuit.streak, bench.circuit.ignored], ["Closed", 1, 2])
    assert.strictEqual(bench.calls("Failure").state, "Open")
  })

  it("a streak and a rate that are reached by one outcome make one transition, for the streak (C1.10)", () => {
    const window = { _tag: "LastCalls", calls: 2 } as const
    const rule: TripRule = {
      _tag: "Any",
      policies: [
        { _tag: "ConsecutiveFailures", failures: 2 },
        { _tag: "FailureRate", threshold: 1, minimumCalls: 2, window }
      ]
    }
    const bench = opened({ rule })
    assert.strictEqual(bench.circuit.current.reason, "2 consecutive failures")
    assert.deepStrictEqual(bench.changes, [["Closed", "Open"]])
    assert.strictEqual(bench.view().timesOpened, 1)
  })

  it("a slow failure counts once as slow and once as failed (C1.13)", () => {
    const window = { _tag: "LastCalls", calls: 5 } as const
    const rule: TripRule = { _tag: "SlowCallRate", threshold: 1, slowerThan: 100, minimumCalls: 5, window }
    const bench = new Bench({ rule })
    bench.end(bench.admit(), "Failure", { slow: true })
    assert.deepStrictEqual(bench.view().windows, [{ of: window, success: 0, failure: 1, slow: 1 }])
    assert.deepStrictEqual([bench.circuit.failure, bench.circuit.success, bench.circuit.slow], [1, 0, 1])
  })

  it("calls that are all slow reach a slow call rate of 1, although they succeed (C1.14)", () => {
    const window = { _tag: "LastCalls", calls: 49 } as const
    const bench = new Bench({
      rule: { _tag: "SlowCallRate", threshold: 1, slowerThan: 100, minimumCalls: 49, window }
    })
    for (let i = 0; i < 49; i++) {
      assert.strictEqual(bench.state, "Closed")
      bench.end(bench.admit(), "Success", { slow: true })
    }
    assert.strictEqual(bench.state, "Open")
  })

  it("failures at one moment and failures spread over the window trip alike (C1.17)", () => {
    for (const apart of [0, 1000]) {
      const bench = new Bench({ rule: { _tag: "Failures", count: 5, window: { _tag: "Within", duration: MINUTE } } })
      for (let i = 0; i < 4; i++) bench.calls("Failure").wait(apart)
      assert.strictEqual(bench.state, "Closed")
      assert.strictEqual(bench.calls("Failure").state, "Open")
    }
  })

  it("rejected calls are in no window and in no streak (C1.19)", () => {
    const window = { _tag: "LastCalls", calls: 10 } as const
    const bench = opened({ rule: { _tag: "Failures", count: 2, window } })
    for (let i = 0; i < 20; i++) bench.refusal()
    assert.deepStrictEqual(bench.view().windows, [{ of: window, success: 0, failure: 0, slow: 0 }])
    bench.wait(MINUTE).calls("Success")
    assert.strictEqual(bench.calls("Failure").state, "Closed")
    assert.strictEqual(bench.calls("Failure").state, "Open")
  })

  it("after an idle time longer than its window, a circuit needs its minimum of calls again (C2.24)", () => {
    const window = { _tag: "Within", duration: MINUTE } as const
    const bench = new Bench({ rule: { _tag: "FailureRate", threshold: 0.5, minimumCalls: 3, window } })
    bench.calls("Failure", "Failure").wait(MINUTE)
    assert.strictEqual(bench.calls("Failure", "Failure").state, "Closed")
    assert.strictEqual(bench.calls("Failure").state, "Open")
  })
})

describe("opening", () => {
  it("an open circuit rejects until its open time is over, and admits at that very moment (C2.27)", () => {
    const bench = opened().wait(MINUTE - 1)
    assert.strictEqual(bench.refusal(), "Open")
    assert.isTrue(bench.wait(1).admit().probe)
  })

  it("an open time of a year neither overflows nor ends early (C2.30)", () => {
    const year = 365 * 24 * 60 * MINUTE
    const bench = opened({ openForMillis: () => year, maxOpenForMillis: year }).wait(year - 1)
    assert.strictEqual(bench.refusal(), "Open")
    assert.isTrue(bench.wait(1).admit().probe)
  })

  it("windows, open time, leases and backoff all follow the given time (C2.28)", () => {
    const bench = halfOpen()
    bench.admit()
    assert.strictEqual(bench.wait(29_999).refusal(), "HalfOpen")
    assert.strictEqual(bench.wait(1).calls("Failure").state, "Open")
    assert.strictEqual(bench.view().openings, 2)
  })

  it("the n-th consecutive opening takes the n-th open time, and the first again after the backoff (C3.33, C3.34)", () => {
    const openings: Array<number> = []
    const openFor = (opening: number) => {
      openings.push(opening)
      return opening * 1000
    }
    const bench = opened({ openForMillis: openFor })
    for (const opening of [1, 2, 3, 4]) {
      assert.strictEqual(bench.retryIn, opening * 1000)
      bench.wait(opening * 1000).calls("Failure")
    }
    bench.wait(5000).calls("Success").wait(5000).calls("Failure", "Failure")
    assert.deepStrictEqual(openings, [1, 2, 3, 4, 5, 1])
  })

  it("a trip after closing grows the open time unless it stayed closed as long as it was open (C3.35)", () => {
    const openFor = (opening: number) => opening * 1000
    const early = halfOpen({ openForMillis: openFor }).calls("Success").wait(999)
    assert.strictEqual(early.view().openings, 1)
    assert.strictEqual(early.calls("Failure", "Failure").retryIn, 2000)
    const late = halfOpen({ openForMillis: openFor }).calls("Success").wait(1000)
    assert.strictEqual(late.view().openings, 0)
    assert.strictEqual(late.calls("Failure", "Failure").retryIn, 1000)
  })

  it("openings that were reset stay reset when probes are forced", () => {
    const bench = halfOpen({ openForMillis: (opening) => opening * 1000 }).calls("Success").wait(1000)
    forceHalfOpen(bench.circuit, bench.now)
    assert.strictEqual(bench.view().openings, 0)
    assert.strictEqual(bench.calls("Failure").retryIn, 1000)
  })

  it("a hint lengthens the open time up to maxOpenFor, and never shortens it (C3.40)", () => {
    for (const [hint, retryIn] of [[90_000, 90_000], [30_000, MINUTE], [1e12, 60 * MINUTE], [-5, MINUTE]] as const) {
      const bench = new Bench().calls("Failure")
      assert.strictEqual(bench.end(bench.admit(), "Failure", { hintMillis: hint }).retryIn, retryIn)
      const probe = halfOpen()
      assert.strictEqual(probe.end(probe.admit(), "Failure", { hintMillis: hint }).retryIn, retryIn)
    }
  })

  it("of several hints the longest counts, from when it was received, and for one opening only", () => {
    const bench = new Bench()
    bench.end(bench.admit(), "Failure", { hintMillis: 2 * MINUTE }).wait(1000)
    assert.strictEqual(bench.end(bench.admit(), "Failure", { hintMillis: 1 }).retryIn, 2 * MINUTE - 1000)
    assert.strictEqual(bench.wait(2 * MINUTE - 1000).calls("Failure").retryIn, MINUTE)
  })

  it("retryAt of an open circuit draws nearer and is never past (C3.44)", () => {
    const bench = opened()
    for (let left = MINUTE; left > 0; left -= 1000) {
      assert.strictEqual(bench.retryIn, left)
      assert.strictEqual(bench.circuit.refusalAt(bench.now), "Open")
      bench.wait(1000)
    }
    assert.isUndefined(bench.circuit.refusalAt(bench.now))
  })
})

describe("half-open", () => {
  it("half-open admits exactly `probes` calls at once (C4.46)", () => {
    const bench = halfOpen({ probes: 3, successes: 3 })
    const probes = [bench.admit(), bench.admit(), bench.admit()]
    for (let i = 0; i < 10; i++) assert.strictEqual(bench.refusal(), "HalfOpen")
    for (const probe of probes) bench.end(probe, "Success")
    assert.strictEqual(bench.state, "Closed")
  })

  it("a half-open round after a reopening begins with all its places and no success (C4.47)", () => {
    const bench = halfOpen({ probes: 2, successes: 2 })
    bench.end(bench.admit(), "Success").admit()
    bench.calls("Failure").wait(MINUTE)
    const [a] = [bench.admit(), bench.admit()]
    assert.strictEqual(bench.refusal(), "HalfOpen")
    assert.strictEqual(bench.end(a, "Success").state, "HalfOpen")
  })

  it("half-open never admits more than `probes` at once, even if it needs more successes (C4.48)", () => {
    const bench = halfOpen({ probes: 2, successes: 5 })
    for (let i = 0; i < 2; i++) {
      const [a, b] = [bench.admit(), bench.admit()]
      assert.strictEqual(bench.refusal(), "HalfOpen")
      bench.end(a, "Success").end(b, "Success")
    }
    assert.strictEqual(bench.state, "HalfOpen")
    assert.strictEqual(bench.calls("Success").state, "Closed")
  })

  it("an ignored probe gives its place back, however often, and does not count (C4.49)", () => {
    const bench = halfOpen()
    for (let i = 0; i < 50; i++) assert.strictEqual(bench.calls("Ignored").state, "HalfOpen")
    assert.strictEqual(bench.circuit.ignored, 50)
    assert.strictEqual(bench.calls("Success").state, "Closed")
  })

  it("a probe that never settles loses its place after one lease, and nothing else (C4.53, F1)", () => {
    const bench = halfOpen()
    bench.admit()
    assert.strictEqual(bench.wait(29_999).refusal(), "HalfOpen")
    const { epoch } = bench.circuit
    const second = bench.wait(1).admit()
    assert.isTrue(second.probe)
    assert.deepStrictEqual([bench.state, bench.circuit.epoch, bench.circuit.failure], ["HalfOpen", epoch, 2])
    assert.strictEqual(bench.refusal(), "HalfOpen")
    assert.strictEqual(bench.retryIn, 30_000)
    assert.strictEqual(bench.end(second, "Success").state, "Closed")
  })

  it("a probe counts however long it takes, with and without another in its place (C4.53, F1)", () => {
    for (const [outcome, state] of [["Success", "Closed"], ["Failure", "Open"], ["Ignored", "HalfOpen"]] as const) {
      for (const isReplaced of [false, true]) {
        const bench = halfOpen()
        const long = bench.admit()
        bench.wait(30_000)
        if (isReplaced) bench.admit()
        assert.strictEqual(bench.wait(5 * MINUTE).end(long, outcome).state, state)
      }
    }
  })

  it("probes that hang are not kept, and the end of one frees no other's place (F1)", () => {
    const bench = halfOpen({ probes: 2, successes: 3 })
    const hung = Array.from({ length: 100 }, () => {
      const probes = [bench.admit(), bench.admit()]
      bench.wait(30_000)
      return probes
    }).flat()
    const running = [bench.admit(), bench.admit()]
    const { current } = bench.circuit
    assert.deepStrictEqual(current._tag === "HalfOpen" && current.probes, running)
    bench.end(hung[0]!, "Ignored")
    assert.strictEqual(bench.refusal(), "HalfOpen")
    bench.end(running[0]!, "Ignored")
    assert.isTrue(bench.admit().probe)
  })

  it("a leased probe of an older epoch only gives its place back (F1)", () => {
    const fleet = new FakeFleet()
    const { circuit } = circuitOf(planWith(), () => 0, fleet)
    circuit.join()
    const lease = { instance: "i", sequence: 1 }
    fleet.grant(lease)
    const probe = circuit.admit(0) as Permit
    reset(circuit, 0)
    fleet.received = []
    circuit.settle(probe, 0, { outcome: "Success", slow: false, timeout: false, hintMillis: 0 })
    const ignored = { outcome: "Ignored", slow: false, timeout: false, hintMillis: 0 }
    assert.deepStrictEqual<unknown>(fleet.received, [["notEvidence", false, false], ["probeEnded", lease, ignored, 0]])
  })

  it("half-open does not need the minimum of calls (C4.55)", () => {
    const window = { _tag: "LastCalls", calls: 20 } as const
    const rule: TripRule = { _tag: "FailureRate", threshold: 0.5, minimumCalls: 20, window }
    for (const [outcome, state] of [["Success", "Closed"], ["Failure", "Open"]] as const) {
      const bench = new Bench({ rule })
      forceHalfOpen(bench.circuit, 0)
      assert.strictEqual(bench.calls(outcome).state, state)
    }
  })

  it("half-open closes at the last success it needs; a failure before that reopens, and successes count from zero (C4.56, C4.58)", () => {
    const bench = halfOpen({ successes: 3, rule: { _tag: "ConsecutiveFailures", failures: 2 } })
    assert.strictEqual(bench.calls("Success", "Success").state, "HalfOpen")
    assert.strictEqual(bench.calls("Failure").wait(MINUTE).state, "Open")
    assert.strictEqual(bench.calls("Success", "Success").state, "HalfOpen")
    assert.strictEqual(bench.calls("Success").state, "Closed")
  })

  it("a slow probe reopens the circuit, although it succeeded (C4.60)", () => {
    const bench = halfOpen()
    assert.strictEqual(bench.end(bench.admit(), "Success", { slow: true }).state, "Open")
    assert.strictEqual(bench.circuit.success, 1)
  })

  it("two probes that both fail make one transition (C4.62)", () => {
    const bench = halfOpen({ probes: 2 })
    const [a, b] = [bench.admit(), bench.admit()]
    bench.end(a, "Failure")
    const { epoch } = bench.circuit
    bench.wait(1000).end(b, "Failure")
    assert.strictEqual(bench.circuit.epoch, epoch)
    assert.deepStrictEqual(bench.changes, [["Closed", "Open"], ["Open", "HalfOpen"], ["HalfOpen", "Open"]])
    assert.strictEqual(bench.retryIn, MINUTE - 1000)
    assert.strictEqual(bench.circuit.failure, 4)
  })

  it("reading a circuit takes no place and changes nothing, also when the open time is over (C4.67)", () => {
    const bench = halfOpen()
    const read = () => {
      const { circuit, now } = bench
      return [bench.view(), circuit.refusalAt(now), circuit.lossAt(now), circuit.isOver(now)]
    }
    const before = [bench.circuit.epoch, bench.circuit.gate]
    for (let i = 0; i < 5; i++) read()
    assert.deepStrictEqual([bench.state, bench.circuit.epoch, bench.circuit.gate], ["Open", ...before])
    assert.isTrue(bench.admit().probe)
  })
})

describe("a ramp", () => {
  it("a ramp admits a tenth at first, then the share of its time that has passed, then all", () => {
    const bench = halfOpen({ rampMillis: 10_000 }).calls("Success")
    const shares: Array<number> = []
    for (let second = 0; second <= 10; second++) {
      const admitted = Array.from({ length: 1000 }, () => bench.circuit.admit(bench.now))
        .filter((permit) => typeof permit !== "string")
      shares.push(Math.round(admitted.length / 10) / 10)
      assert.strictEqual(bench.circuit.isClosed(), second === 10)
      assert.strictEqual(
        bench.view().retryAt,
        second === 10 ? undefined : bench.now + 10_000 - second * 1000
      )
      bench.wait(1000)
    }
    assert.deepStrictEqual(shares, [10, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100].map((share) => share / 10))
  })

  it("calls during a ramp are evidence: the circuit may open again", () => {
    const bench = halfOpen({ rampMillis: 1000 }).calls("Success").wait(999)
    const admitted = Array.from({ length: 4 }, () => bench.circuit.admit(bench.now))
    for (const permit of admitted) if (typeof permit !== "string") bench.end(permit, "Failure")
    assert.strictEqual(bench.state, "Open")
  })
})

describe("late results", () => {
  it("a call admitted before the opening that ends in half-open changes nothing (C5.69, C5.70)", () => {
    for (const outcome of ["Success", "Failure", "Ignored"] as const) {
      const bench = new Bench()
      const late = bench.admit()
      bench.calls("Failure", "Failure").wait(MINUTE).admit()
      const { epoch } = bench.circuit
      bench.end(late, outcome)
      assert.deepStrictEqual([bench.state, bench.circuit.epoch], ["HalfOpen", epoch])
      assert.strictEqual(bench.refusal(), "HalfOpen")
    }
  })

  it("a late success while open changes only the counts (C5.72)", () => {
    const bench = new Bench()
    const late = bench.admit()
    bench.calls("Failure", "Failure")
    const view = bench.view()
    bench.end(late, "Success")
    assert.deepStrictEqual(bench.view(), view)
    assert.strictEqual(bench.circuit.success, 1)
  })

  it("a late failure with a hint does not lengthen the open time", () => {
    const bench = new Bench()
    const late = bench.admit()
    bench.calls("Failure", "Failure").end(late, "Failure", { hintMillis: 30 * MINUTE })
    assert.strictEqual(bench.retryIn, MINUTE)
    assert.strictEqual(bench.wait(MINUTE).calls("Failure").retryIn, MINUTE)
  })

  it("epochs only grow (C5.73)", () => {
    const bench = new Bench()
    const epochs = [bench.circuit.epoch]
    const then = (act: () => unknown) => {
      act()
      epochs.push(bench.circuit.epoch)
    }
    then(() => bench.calls("Failure", "Failure"))
    then(() => bench.override("Disabled"))
    then(() => clearOverride(bench.circuit, bench.now))
    then(() => bench.wait(MINUTE).admit())
    then(() => forceHalfOpen(bench.circuit, bench.now))
    then(() => bench.calls("Success"))
    then(() => reset(bench.circuit, bench.now))
    then(() => bench.override("MetricsOnly", bench.now + 1))
    then(() => bench.wait(1).admit())
    assert.deepStrictEqual(epochs, [...new Set(epochs)].toSorted((a, b) => a - b))
  })

  it("a permit is settled once", () => {
    const bench = new Bench()
    const permit = bench.admit()
    for (let i = 0; i < 5; i++) bench.end(permit, "Failure")
    assert.deepStrictEqual([bench.state, bench.circuit.failure], ["Closed", 1])
  })
})

describe("overrides", () => {
  it("a forced open circuit rejects after any time, without a retryAt (C7.92)", () => {
    const bench = opened().override("ForcedOpen")
    for (let i = 0; i < 5; i++) {
      assert.strictEqual(bench.wait(MINUTE).refusal(), "ForcedOpen")
      assert.isUndefined(bench.view().retryAt)
    }
  })

  it("a late success does not change a forced open circuit (C7.93)", () => {
    const bench = new Bench()
    const late = bench.admit()
    assert.strictEqual(bench.override("ForcedOpen").end(late, "Success").refusal(), "ForcedOpen")
  })

  it("a disabled circuit admits every call, records nothing and does not change (C7.95)", () => {
    const bench = opened().override("Disabled")
    const { changes, circuit: { epoch } } = bench
    for (let i = 0; i < 10; i++) bench.calls("Failure", "Success", "Ignored")
    assert.deepInclude(bench.circuit, { failure: 2, success: 0, ignored: 0, epoch })
    assert.deepStrictEqual([bench.state, bench.changes], ["Open", changes])
  })

  it("a metrics-only circuit records calls, reports once that it would have opened, and rejects nothing (C7.96)", () => {
    const bench = new Bench().override("MetricsOnly").calls("Failure", "Failure", "Failure")
    assert.deepStrictEqual(bench.changes, [["Closed", "Closed"]])
    assert.strictEqual(bench.circuit.current.reason, "2 consecutive failures (metrics only)")
    assert.deepInclude(bench.view(), { state: "Closed", openings: 0, timesOpened: 0, since: undefined })
    assert.strictEqual(bench.circuit.failure, 3)
  })

  it("metrics-only on an open circuit admits calls, and the state below stays Open", () => {
    const bench = opened().override("MetricsOnly").calls("Success", "Failure")
    assert.strictEqual(bench.state, "Open")
    clearOverride(bench.circuit, bench.now)
    assert.strictEqual(bench.refusal(), "Open")
  })

  it("an override ends exactly when its time is over, and the time of the state below kept running", () => {
    const bench = opened().override("ForcedOpen", 2 * MINUTE).wait(2 * MINUTE - 1)
    assert.strictEqual(bench.refusal(), "ForcedOpen")
    bench.wait(1)
    assert.isUndefined(bench.view().override)
    assert.isTrue(bench.admit().probe)
  })

  it("an expired override reads as absent, and is removed by the next call", () => {
    const bench = new Bench().override("ForcedOpen", 1000).wait(1000)
    const { epoch } = bench.circuit
    assert.isUndefined(bench.view().override)
    assert.deepInclude(bench.circuit, { epoch, gate: 2 })
    bench.admit()
    assert.deepInclude(bench.circuit, { epoch: epoch + 1, gate: 0 })
  })

  it("a measured call runs on a forced open circuit, and is not measured on a disabled one", () => {
    const measured = new Bench().override("ForcedOpen")
    measured.end(measured.admit(true), "Failure").end(measured.admit(true), "Failure")
    assert.deepStrictEqual(measured.changes, [["Closed", "Closed"]])
    const disabled = new Bench().override("Disabled")
    assert.strictEqual(disabled.end(disabled.admit(true), "Failure").circuit.failure, 0)
  })

  it("an override frees the places of the probes that it makes late, and keeps their round's successes", () => {
    const bench = halfOpen({ successes: 2 }).calls("Success")
    const probe = bench.admit()
    bench.override("Disabled")
    clearOverride(bench.circuit, bench.now)
    assert.strictEqual(bench.view().retryAt, bench.now)
    assert.strictEqual(bench.wait(30_000).calls("Success").state, "Closed")
    assert.strictEqual(bench.end(probe, "Failure").state, "Closed")
  })

  it("a call that runs when an override is set or expires is late", () => {
    const bench = halfOpen()
    const probe = bench.admit()
    bench.override("Disabled", bench.now + 1000).end(probe, "Success")
    assert.strictEqual(bench.state, "HalfOpen")
    const other = new Bench({ rule: { _tag: "ConsecutiveFailures", failures: 1 } }).override("MetricsOnly", 1000)
    const shadow = other.admit()
    other.wait(1000).admit()
    assert.strictEqual(other.end(shadow, "Failure").state, "Closed")
    assert.deepStrictEqual(other.changes, [])
  })

  it("a change to the present state is no event (C7.97)", () => {
    const bench = new Bench()
    reset(bench.circuit, 0)
    assert.deepStrictEqual(bench.changes, [])
    forceHalfOpen(bench.circuit, 0)
    forceHalfOpen(bench.circuit, 0)
    assert.deepStrictEqual(bench.changes, [["Closed", "HalfOpen"]])
  })

  it("an override set before the first call applies from the first call on (C7.98)", () => {
    assert.strictEqual(new Bench().override("ForcedOpen").refusal(), "ForcedOpen")
  })

  it("a reset closes from any state and keeps only the lifetime counts (C7.99)", () => {
    const openFor = (opening: number) => opening * 1000
    const benches = [
      new Bench({ openForMillis: openFor }).calls("Failure"),
      opened({ openForMillis: openFor }),
      halfOpen({ openForMillis: openFor }),
      halfOpen({ openForMillis: openFor }).calls("Failure"),
      halfOpen({ openForMillis: openFor, rampMillis: 1000 }).calls("Success")
    ]
    for (const bench of benches) {
      const { failure } = bench.circuit
      const { timesOpened } = bench.view()
      reset(bench.circuit, bench.now)
      assert.deepInclude(bench.view(), {
        state: "Closed",
        openings: 0,
        retryAt: undefined,
        since: bench.now,
        timesOpened
      })
      assert.isTrue(bench.circuit.lossAt(bench.now) === 0 && bench.circuit.isClosed())
      assert.strictEqual(bench.circuit.failure, failure)
      assert.strictEqual(bench.calls("Failure").state, "Closed")
      assert.strictEqual(bench.calls("Failure").retryIn, 1000)
    }
  })

  it("a probe that runs at a reset is late", () => {
    const bench = halfOpen()
    const probe = bench.admit()
    reset(bench.circuit, bench.now)
    bench.end(probe, "Failure", { hintMillis: 30 * MINUTE })
    assert.deepStrictEqual([bench.state, bench.circuit.streak, bench.circuit.failure], ["Closed", 0, 3])
    assert.strictEqual(bench.calls("Failure", "Failure").retryIn, MINUTE)
  })

  it("a reset makes one transition, and leaves an override", () => {
    const bench = opened().override("ForcedOpen")
    reset(bench.circuit, 0)
    assert.deepStrictEqual(bench.changes, [["Closed", "Open"], ["Open", "Closed"]])
    assert.strictEqual(bench.refusal(), "ForcedOpen")
  })
})

describe("a circuit of a fleet", () => {
  const view: FleetView = {
    state: { _tag: "Closed" },
    since: 0,
    reason: "by the fleet",
    openedBy: "fleet",
    openings: 0,
    openForMillis: 0,
    override: undefined
  }

  it("an ignored probe closes no circuit, although the fleet has seen more successes than this policy needs", () => {
    const bench = new Bench({ successes: 1 }, new FakeFleet())
    bench.circuit.adopt(
      { ...view, state: { _tag: "HalfOpen", successes: 2, failures: 0, freeAt: 0, probesFrom: 0 } },
      bench.now
    )
    assert.strictEqual(bench.calls("Ignored").state, "HalfOpen")
    bench.circuit.judgeAlone("Ignored", 0, bench.now)
    assert.strictEqual(bench.state, "HalfOpen")
    assert.strictEqual(bench.calls("Success").state, "Closed")
  })

  it("a circuit that gave up its membership joins again at its first failure", () => {
    const fleet = new FakeFleet()
    fleet.isDispensable = true
    const { circuit } = new Bench({}, fleet)
    assert.isUndefined(circuit.beforeCall())
    assert.deepStrictEqual([circuit.gate, circuit.fleet, fleet.joins], [0, undefined, 1])
    circuit.succeeded(circuit.epoch, 0)
    assert.strictEqual(fleet.joins, 1)
    circuit.failed(circuit.epoch, 0, 0, "no")
    assert.deepStrictEqual([fleet.joins, fleet.received], [2, [["failed"]]])
  })

  it("the fleet gets the counts of an epoch before the trip that ended it, and no counts for a state that it sent", () => {
    const fleet = new FakeFleet()
    const bench = new Bench({}, fleet).wait(7).calls("Failure", "Failure")
    assert.deepStrictEqual(fleet.received.map(([method]) => method), ["failed", "failed", "epochEnded", "tripped"])
    assert.deepInclude(fleet.received[2]![1], { failure: 2, streak: 2, lastFailureAt: 7 })
    assert.deepStrictEqual(fleet.received[3], ["tripped", "2 consecutive failures", 7])
    fleet.received = []
    assert.deepInclude(bench.circuit.adopt(view, bench.now), { failure: 2, streak: 0 })
    assert.deepStrictEqual(fleet.received, [])
  })

  it("an override of the fleet only gets shorter by a later view, and ends then (F9)", () => {
    const bench = new Bench({}, new FakeFleet())
    const override = { mode: "ForcedOpen", reason: "drill", actor: "ann", until: 60_000 } as const
    bench.circuit.adopt({ ...view, state: { _tag: "Closed" }, override }, 0)
    bench.circuit.refresh({ _tag: "Closed" }, 90_000)
    assert.strictEqual(bench.circuit.refusalAt(bench.now), "ForcedOpen")
    bench.circuit.refresh({ _tag: "Closed" }, 10_000)
    bench.now = 9999
    assert.strictEqual(bench.circuit.refusalAt(bench.now), "ForcedOpen")
    bench.now = 10_000
    assert.isUndefined(bench.circuit.refusalAt(bench.now))
  })
})

describe("isOver", () => {
  it("a circuit is not over while an open time, a backoff, a probe or an override runs", () => {
    const bench = new Bench({ openForMillis: () => 1000 })
    const over = () => bench.circuit.isOver(bench.now)
    assert.isTrue(over())
    bench.calls("Failure", "Failure")
    assert.isFalse(bench.wait(1999).circuit.isOver(bench.now))
    assert.isTrue(bench.wait(1).circuit.isOver(bench.now))
    const probe = bench.admit()
    assert.isFalse(bench.wait(29_999).circuit.isOver(bench.now))
    bench.end(probe, "Success")
    assert.isFalse(bench.wait(999).circuit.isOver(bench.now))
    assert.isTrue(bench.wait(1).circuit.isOver(bench.now))
    bench.override("Disabled", bench.now + 10)
    assert.isFalse(bench.wait(9).circuit.isOver(bench.now))
    assert.isTrue(bench.wait(1).circuit.isOver(bench.now))
  })
})
