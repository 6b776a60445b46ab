import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { type Change, change, type OperationTo } from "../../src/core/Change.ts"
import { type Delta, noLifetimeCounts, streakOf } from "../../src/core/Delta.ts"
import { ask, settle } from "../../src/core/Lease.ts"
import { type CircuitRecord, type LeaseName, type Opening, type Snapshot, snapshot } from "../../src/core/Record.ts"
import { report } from "../../src/core/Report.ts"
import { type Call, type Calls, Model } from "./record.model.ts"

const why = { reason: "5 consecutive failures" }

const Index = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 11 }))
const Step = Schema.Struct({
  op: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 19 })),
  who: Index,
  what: Index,
  view: Index,
  bits: Index
})
type Step = typeof Step.Type

/** How often each step is drawn. A round of probes needs many steps in a row, and a loss of data ends it. */
const OPS = [
  ...["report", "report", "report", "trip", "trip", "wait", "operate", "putBack", "lose"] as const,
  ...["elapse", "elapse", "elapse", "ask", "ask", "ask", "ask", "settle", "settle", "settle", "settle"] as const
]

const SHORT_IDLE = 100_000
const WAITS = [0, 0, 0, 0.25, 1, 500, 1000, 5000, 20_000, 61_000, 99_999, 250_000]
const WITHIN_SETS = [[30_000], [5000, 300_000], [300_000], []]

const freeze = <A>(value: A): A => {
  if (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(freeze)
  return value
}
/** The record as a storage returns it. */
const stored = <A>(value: A): A => value === undefined ? value : freeze(JSON.parse(JSON.stringify(value)))

const toDelta = ({ calls, hint, rejected }: Calls): Delta => {
  const youngest = (some: ReadonlyArray<Call>) =>
    some.findLast(({ age }) => age === Math.min(...some.map(({ age }) => age)))
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
      lastSuccessAge: youngest(succeeded)?.age,
      lastSuccessDuration: youngest(succeeded)?.took,
      lastFailureAge: youngest(failed)?.age,
      lastFailureDuration: youngest(failed)?.took
    },
    hint
  }
}

/** The record and the model side by side: each step is applied to both, and their answers must be alike. */
class Pair {
  now = 0
  record: CircuitRecord | undefined
  model = new Model(SHORT_IDLE)
  /** Snapshots that instances may still know, newest first, and records that a replica may still hold. */
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

  /** A snapshot, mostly a recent one; the newest is as of now. */
  view({ view }: Step): Snapshot {
    return view < 6 ? this.look() : this.views[Math.min(this.views.length - 1, (view - 6) ** 2)] ?? this.look()
  }

  wait({ what }: Step): void {
    this.now += WAITS[what]!
  }

  /** Waits until the open time or a lease ends, or until just before that. */
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
        took: [undefined, 3, 70.5][(step.bits + step.view + i) % 3],
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
    const certain = step.bits % 2 === 0
    const input = { _tag: "PutBack", snapshot: known, age: this.now - known.asOf, leases, certain } as const
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
    const known = this.view(step).generation
    const existing = step.bits % 4 === 1
    const input = { _tag: "Operation", id, known, existing, why: { reason: to._tag }, to } as const
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
        ...(step.what === 6 ? {} : { failures: step.what - 6 }),
        why
      } as const
      : { _tag: "Ignored", hint: step.what === 10 ? 7000 : 0 } as const
    const generation = step.view === 0 ? this.look().generation : held.generation
    const input = { lease: held.lease, generation, outcome }
    const { record, settled } = settle(this.record, input, this.now, SHORT_IDLE)
    assert.strictEqual(settled, this.model.settle(input, this.now))
    if (!settled) assert.strictEqual(record, this.record)
    this.record = record
  }
}

describe("the record and its model", () => {
  it.prop(
    "the record and its model answer alike, for random steps",
    [Schema.Array(Step).check(Schema.isMaxLength(60))],
    ([steps]) => {
      const pair = new Pair()
      for (const step of steps) pair.step(step)
    },
    { arbitrary: { runs: 500, size: 60 } }
  )
})
