import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { type Change, change, type Operation, type OperationTo } from "../../src/core/Change.ts"
import { aged, type Delta, noDelta, noLifetimeCounts, streakOf } from "../../src/core/Delta.ts"
import { ask, settle } from "../../src/core/Lease.ts"
import type { CircuitRecord, LeaseName, Opening, Snapshot, SnapshotOverride } from "../../src/core/Record.ts"
import { created, expired, expiresAt, FORMAT, snapshot } from "../../src/core/Record.ts"
import { report } from "../../src/core/Report.ts"
import { type Call, type Calls, Model } from "./record.model.ts"

const IDLE = 3_600_000
const MINUTE = 60_000
const WITHINS = [30_000]
const why = { reason: "5 consecutive failures" }
const opening: Opening = { openFor: MINUTE, maxOpenFor: 60 * MINUTE }

const failures = (n: number, hint = 0): Delta => ({
  buckets: [{ age: 0, success: 0, failure: n, slow: 0 }],
  streak: streakOf(Array.from({ length: n }, () => true)),
  lifetime: { ...noLifetimeCounts, failure: n, lastFailureAge: 0 },
  hint
})

/** One circuit in a storage, whose clock starts at a small number, so that it is not what orders generations. */
class Circuit {
  record: CircuitRecord | undefined
  now = 0
  readonly #sequences = new Map<string, number>()

  get generation(): number {
    return this.snapshot().generation
  }
  get state(): Snapshot["state"]["_tag"] {
    return this.snapshot().state._tag
  }
  /** A second storage with the same data: a replica that goes its own way from here. */
  clone(): Circuit {
    const copy = new Circuit()
    copy.record = this.record
    copy.now = this.now
    return copy
  }
  wait(by: number): this {
    this.now += by
    return this
  }
  wipe(): this {
    this.record = undefined
    return this
  }
  snapshot(withins = WITHINS): Snapshot {
    return snapshot(this.record, withins, this.now, IDLE)
  }
  report(
    instance: string,
    delta: Delta,
    options: { sequence?: number; generation?: number; withins?: Array<number> } = {}
  ) {
    const sequence = options.sequence ?? (this.#sequences.get(instance) ?? 0) + 1
    this.#sequences.set(instance, sequence)
    const generation = options.generation ?? this.generation
    const input = { instance, sequence, generation, delta, withins: options.withins ?? WITHINS }
    const result = report(this.record, input, this.now, IDLE)
    this.record = result.record
    return result.reported
  }
  change(input: Change): boolean {
    const result = change(this.record, input, this.now, IDLE)
    this.record = result.record
    return result.committed
  }
  trip(on: Snapshot = this.snapshot(), how: Opening | undefined = opening, maxAge = 2000): boolean {
    return this.change({ _tag: "Trip", generation: on.generation, asOf: on.asOf, maxAge, opening: how, why })
  }
  putBack(known: Snapshot, age = 0, leases: Array<LeaseName & { remaining: number }> = []): boolean {
    return this.change({ _tag: "PutBack", snapshot: known, age, leases })
  }
  operate(to: OperationTo, id = Math.random().toString(), known = this.generation): boolean {
    return this.change({ _tag: "Operation", id, known, why: { reason: "by hand", actor: "ann" }, to })
  }
  ask(
    instance: string,
    sequence = 1,
    options: { probes?: number; duration?: number; generation?: number } = {}
  ): boolean {
    const { duration = 10_000, generation = this.generation, probes = 1 } = options
    const result = ask(this.record, { lease: { instance, sequence }, generation, duration, probes }, this.now, IDLE)
    this.record = result.record
    return result.granted
  }
  settle(
    instance: string,
    tag: "Success" | "Failure" | "Ignored",
    options: { sequence?: number; generation?: number; successes?: number; hint?: number; opening?: Opening } = {}
  ): boolean {
    const { generation = this.generation, hint = 0, sequence = 1, successes = 1 } = options
    const outcome = tag === "Success"
      ? { _tag: tag, successes, why: { reason: "recovered" } }
      : tag === "Failure"
      ? { _tag: tag, opening: options.opening ?? opening, hint, why: { reason: "a probe failed" } }
      : { _tag: tag }
    const result = settle(this.record, { lease: { instance, sequence }, generation, outcome }, this.now, IDLE)
    this.record = result.record
    return result.settled
  }
}

const open = (): Circuit => {
  const circuit = new Circuit()
  circuit.trip()
  return circuit
}

const halfOpen = (): Circuit => {
  const circuit = open().wait(MINUTE)
  circuit.ask("opener", 1)
  circuit.settle("opener", "Ignored")
  return circuit
}

const forced: SnapshotOverride = { kind: "ForcedOpen", reason: "maintenance", actor: "ann" }

// ---- against the model

const Index = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 11 }))
const Step = Schema.Struct({
  op: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 19 })),
  who: Index,
  what: Index,
  view: Index,
  bits: Index
})
type Step = typeof Step.Type

/** A round of probes takes many steps in a row, and losing everything ends it: hence how often each comes. */
const OPS = [
  ...["report", "report", "report", "trip", "trip", "wait", "operate", "putBack", "lose"] as const,
  ...["elapse", "elapse", "elapse", "ask", "ask", "ask", "ask", "settle", "settle", "settle", "settle"] as const
]

const SHORT_IDLE = 100_000
const WAITS = [0, 0, 0, 0.25, 1, 500, 1000, 5000, 20_000, 61_000, 99_999, 250_000]
const WITHIN_SETS = [[30_000], [5000, 60_000], [300_000], []]

const freeze = <A>(value: A): A => {
  if (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(freeze)
  return value
}
/** As a storage gives it back. */
const stored = <A>(value: A): A => value === undefined ? value : freeze(JSON.parse(JSON.stringify(value)))

const toDelta = ({ calls, hint, rejected }: Calls): Delta => {
  const youngest = (key: string, some: ReadonlyArray<Call>) =>
    some.length === 0 ? {} : { [key]: Math.min(...some.map(({ age }) => age)) }
  const [failed, succeeded] = [calls.filter((call) => call.failed), calls.filter((call) => !call.failed)]
  return {
    buckets: calls.map((call) => ({
      age: call.age,
      success: call.failed ? 0 : 1,
      failure: call.failed ? 1 : 0,
      slow: call.slow ? 1 : 0
    })),
    streak: streakOf(calls.map((call) => call.failed)),
    lifetime: {
      ...noLifetimeCounts,
      success: succeeded.length,
      failure: failed.length,
      slow: calls.filter((call) => call.slow).length,
      rejected,
      ...youngest("lastSuccessAge", succeeded),
      ...youngest("lastFailureAge", failed)
    },
    hint
  }
}

/** The record and the model side by side: whatever is done to both, both must answer alike. */
class Pair {
  now = 0
  record: CircuitRecord | undefined
  model = new Model(SHORT_IDLE)
  /** What instances may still know, the newest first, and what a replica may still hold. */
  readonly views: Array<Snapshot> = []
  readonly replicas: Array<{ readonly record: CircuitRecord | undefined; readonly facts: Model["facts"] }> = []
  readonly leases: Array<{ readonly lease: LeaseName; readonly generation: number }> = []
  readonly reports: Array<Calls> = []
  #sequence = 0

  step(step: Step): void {
    const { generation } = this.look()
    const op = OPS[step.op]!
    this[op](step)
    this.record = stored(this.record)
    const after = this.look()
    this.views.unshift(stored(after))
    this.replicas.unshift({ record: this.record, facts: this.model.facts })
    for (const withins of WITHIN_SETS) {
      const actual = snapshot(this.record, withins, this.now, SHORT_IDLE)
      assert.deepStrictEqual(stored(actual), stored(this.model.snapshot(withins, this.now)), op)
    }
    if (!["lose", "wait", "elapse"].includes(op)) assert.isAtLeast(after.generation, generation)
    if (after.state._tag === "HalfOpen") assert.isAtMost(after.state.live, 3)
  }

  look(): Snapshot {
    return snapshot(this.record, [30_000], this.now, SHORT_IDLE)
  }

  /** A view, mostly a young one; the youngest is as of now. */
  view({ view }: Step): Snapshot {
    return view < 6 ? this.look() : this.views[Math.min(this.views.length - 1, (view - 6) ** 2)] ?? this.look()
  }

  wait({ what }: Step): void {
    this.now += WAITS[what]!
  }

  /** To the end of the open time or of a lease, or to just before it. */
  elapse({ bits }: Step): void {
    const { state } = this.look()
    const left = state._tag === "Open" ? state.remaining : state._tag === "HalfOpen" ? state.nextLapse ?? 0 : 0
    this.now += bits < 3 ? Math.max(0, left - 1) : left
  }

  lose({ bits, what }: Step): void {
    const replica = bits < 3 ? undefined : this.replicas[Math.min(this.replicas.length - 1, what)]
    this.record = replica?.record
    this.model.facts = replica?.facts ?? []
  }

  report(step: Step): void {
    const repeated = step.what > 9 ? this.reports.at(-1 - (step.bits % 3)) : undefined
    const input = repeated ?? {
      instance: ["a", "b", "__proto__"][step.who % 3]!,
      sequence: ++this.#sequence,
      generation: this.view(step).generation,
      calls: Array.from({ length: step.what % 5 }, (_, i) => ({
        age: [0, 700, 1500, 40_000][(step.bits + i) % 4]!,
        failed: (step.bits >> i) % 2 === 0,
        slow: (step.who + i) % 3 === 0
      })),
      rejected: step.what === 5 ? 2 : 0,
      hint: step.what === 6 ? 50_000 : 0,
      withins: WITHIN_SETS[step.who % 4]!
    }
    this.reports.push(input)
    const result = report(this.record, { ...input, delta: toDelta(input) }, this.now, SHORT_IDLE)
    assert.strictEqual(result.reported, this.model.report(input, this.now))
    if (result.reported === "Behind") assert.strictEqual(result.record, this.record)
    this.record = result.record
  }

  trip(step: Step): void {
    const { asOf, generation } = this.view(step)
    const fingerprint = step.who === 0 ? "f" : undefined
    const input = {
      _tag: "Trip",
      generation,
      asOf,
      maxAge: 2000,
      opening: this.opening(step),
      why,
      fingerprint
    } as const
    this.change(input, this.model.trip(input, this.now))
  }

  opening({ bits, what }: Step): Opening | undefined {
    return what === 0 ? undefined : { openFor: [1000, 20_000, 150_000][bits % 3]!, maxOpenFor: 160_000 }
  }

  putBack(step: Step): void {
    const known = this.view({ ...step, view: 6 + step.view % 6 })
    const leases = this.leases.slice(0, step.who % 2).map(({ lease }) => ({ ...lease, remaining: 5000 }))
    const input = { _tag: "PutBack", snapshot: known, age: this.now - known.asOf, leases } as const
    this.change(input, this.model.putBack(input, this.now))
  }

  operate(step: Step): void {
    const kind = (["ForcedOpen", "Disabled", "MetricsOnly"] as const)[step.bits % 3]!
    const override = { _tag: "Override", kind, reason: "r", actor: "a" } as const
    const to = ([
      override,
      { ...override, remaining: 1000 },
      { ...override, remaining: 150_000 },
      { _tag: "ClearOverride" },
      { _tag: "Reset" },
      { _tag: "HalfOpen" },
      { _tag: "HalfOpen" },
      { _tag: "Remove" },
      { _tag: "Import", snapshot: this.view({ ...step, view: step.who }) }
    ] satisfies Array<OperationTo>)[step.what % 9]!
    const id = step.who < 9 ? `${++this.#sequence}` : `${this.#sequence}`
    const input = { _tag: "Operation", id, known: this.view(step).generation, why: { reason: to._tag }, to } as const
    this.change(input, this.model.operation(input, this.now))
  }

  change(input: Change, expected: boolean): void {
    const { committed, record } = change(this.record, input, this.now, SHORT_IDLE)
    assert.strictEqual(committed, expected, input._tag)
    this.record = record
  }

  ask(step: Step): void {
    const repeated = step.what > 8 ? this.leases[step.bits % 4]?.lease : undefined
    const lease = repeated ?? { instance: ["a", "b", "__proto__"][step.who % 3]!, sequence: ++this.#sequence }
    const input = {
      lease,
      generation: this.view(step).generation,
      duration: [1000, 30_000, 200_000][step.bits % 3]!,
      probes: 1 + step.who % 3,
      fingerprint: step.bits === 0 ? "g" : undefined
    }
    const { granted, record } = ask(this.record, input, this.now, SHORT_IDLE)
    assert.strictEqual(granted, this.model.ask(input, this.now))
    if (!granted) assert.strictEqual(record, this.record)
    this.record = record
    if (granted) this.leases.unshift({ lease, generation: this.look().generation })
  }

  settle(step: Step): void {
    const held = this.leases[step.who % 3]
    if (held === undefined) return
    const outcome = step.what < 6
      ? { _tag: "Success", successes: 1 + step.what % 3, why: { reason: "recovered" } } as const
      : step.what < 10
      ? {
        _tag: "Failure",
        opening: this.opening({ ...step, what: 1 })!,
        hint: step.what === 7 ? 80_000 : 0,
        why
      } as const
      : { _tag: "Ignored" } as const
    const generation = step.view === 0 ? this.look().generation : held.generation
    const input = { lease: held.lease, generation, outcome }
    const { record, settled } = settle(this.record, input, this.now, SHORT_IDLE)
    assert.strictEqual(settled, this.model.settle(input, this.now))
    if (!settled) assert.strictEqual(record, this.record)
    this.record = record
  }
}


it("dbg", () => {
  const fails = (steps: Array<Step>) => { try { const p = new Pair(); for (const st of steps) p.step(st); return undefined } catch (e) { return e as any } }
  const r = (n: number) => Math.floor(Math.random() * n)
  let found = 0
  for (let k = 0; k < 30000 && found < 2; k++) {
    let steps: Array<Step> = Array.from({ length: 50 }, () => ({ op: r(20), who: r(12), what: r(12), view: r(12), bits: r(12) }))
    if (!fails(steps)) continue
    found++
    for (let n = 0; n < 30; n++) for (let i = steps.length - 1; i >= 0; i--) { const t = steps.toSpliced(i, 1); if (fails(t)) steps = t }
    const e = fails(steps)
    console.log("N", k, JSON.stringify(steps.map((s) => ({ ...s, op: OPS[s.op] })), null, 0), e.message, JSON.stringify(e.actual), JSON.stringify(e.expected))
  }
  assert.strictEqual(found, 0)
}, 400000)
