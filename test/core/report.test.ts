import { assert, describe, it } from "@effect/vitest"
import { aged, noDelta, noLifetimeCounts, streakOf } from "../../src/core/Delta.ts"
import { created, snapshot } from "../../src/core/Record.ts"
import { Circuit, failures, IDLE, MINUTE, open, WITHINS } from "./circuit.ts"

describe("report", () => {
  it("an absent circuit is Closed at generation 0, and reading it writes nothing", () => {
    const circuit = new Circuit()
    assert.strictEqual(circuit.report("a", noDelta), "Counted")
    assert.strictEqual(circuit.record, undefined)
    const { generation, state, streak, totals } = circuit.snapshot()
    assert.deepStrictEqual({ generation, state, streak, totals }, {
      generation: 0,
      state: { _tag: "Closed" },
      streak: 0,
      totals: [{ success: 0, failure: 0, slow: 0 }]
    })
  })

  it("a report creates a record but no generation: it reads as Closed at 0", () => {
    const circuit = new Circuit()
    circuit.report("a", failures(2))
    assert.deepStrictEqual(circuit.snapshot().totals, [{ success: 0, failure: 2, slow: 0 }])
    assert.strictEqual(circuit.generation, 0)
    assert.strictEqual(circuit.snapshot().elapsed, undefined)
    assert.deepStrictEqual(snapshot(created(0), WITHINS, 5, IDLE), snapshot(undefined, WITHINS, 5, IDLE))
  })

  it("a report counts once per instance and sequence, also when it is repeated after a lost reply", () => {
    const circuit = new Circuit()
    circuit.report("a", failures(2), { sequence: 1 })
    circuit.wait(400)
    assert.strictEqual(circuit.report("a", aged(failures(2), 400), { sequence: 1 }), "Counted")
    circuit.report("a", failures(3), { sequence: 2 })
    circuit.report("b", failures(1), { sequence: 1 })
    assert.strictEqual(circuit.report("a", aged(failures(2), 900), { sequence: 1 }), "Counted")
    assert.deepStrictEqual(circuit.snapshot().totals, [{ success: 0, failure: 6, slow: 0 }])
    assert.strictEqual(circuit.snapshot().streak, 6)
    assert.strictEqual(circuit.snapshot().lifetime.failure, 6)
  })

  it("a report without counts returns the same record, also for an instance that reported before", () => {
    const circuit = new Circuit()
    circuit.report("a", failures(2))
    const before = circuit.record
    circuit.wait(1000).report("a", noDelta)
    assert.strictEqual(circuit.record, before)
  })

  it("a report of an older generation changes only the lifetime counts", () => {
    const circuit = open()
    circuit.report("a", failures(3, 5 * MINUTE), { generation: 0 })
    const { hint, lifetime, streak, totals } = circuit.snapshot()
    assert.deepStrictEqual([hint, lifetime.failure, streak, totals[0]?.failure], [0, 3, 0, 0])
  })

  it("a report of a newer generation is Behind until the record is put back, then counts", () => {
    const known = open().snapshot()
    const circuit = new Circuit()
    assert.strictEqual(circuit.report("a", failures(3), { sequence: 7, generation: known.generation }), "Behind")
    assert.strictEqual(circuit.record, undefined)
    circuit.putBack(known)
    assert.strictEqual(circuit.report("a", failures(3), { sequence: 7, generation: known.generation }), "Counted")
    assert.strictEqual(circuit.snapshot().streak, 3)
  })

  it("failures of one of 40 instances and successes of the others add up in the order of the reports", () => {
    const circuit = new Circuit()
    circuit.report("bad", failures(9))
    circuit.report("good", {
      ...noDelta,
      streak: streakOf([false, true]),
      lifetime: { ...noLifetimeCounts, success: 1 }
    })
    circuit.report("bad", failures(1))
    assert.strictEqual(circuit.snapshot().streak, 2)
  })

  it("instances with another bucket width share the state and the streak, and have a window of their own", () => {
    const circuit = new Circuit()
    circuit.report("a", failures(2))
    circuit.report("b", failures(3), { withins: [60 * MINUTE] })
    assert.strictEqual(circuit.snapshot().totals[0]?.failure, 2)
    assert.strictEqual(circuit.snapshot([60 * MINUTE]).totals[0]?.failure, 3)
    assert.strictEqual(circuit.snapshot().streak, 5)
  })

  it("the longest running hint applies whichever instance trips, up to that instance's maxOpenFor", () => {
    const circuit = new Circuit()
    circuit.report("a", failures(1, 10 * MINUTE))
    circuit.report("b", failures(1, 2 * MINUTE))
    circuit.wait(MINUTE)
    assert.strictEqual(circuit.snapshot().hint, 9 * MINUTE)
    const other = circuit.clone()
    circuit.trip()
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "Open", remaining: 9 * MINUTE })
    assert.strictEqual(circuit.snapshot().openFor, 9 * MINUTE)
    other.trip(other.snapshot(), { openFor: MINUTE, maxOpenFor: 5 * MINUTE })
    assert.deepStrictEqual(other.snapshot().state, { _tag: "Open", remaining: 5 * MINUTE })
    const later = circuit.clone()
    later.wait(9 * MINUTE).ask("a")
    later.settle("a", "Success")
    assert.strictEqual(later.snapshot().hint, 0)
  })

  it("an instance that was silent for the idle time is forgotten", () => {
    const circuit = new Circuit()
    circuit.report("a", failures(1), { sequence: 1 })
    circuit.wait(IDLE - 1).report("b", failures(1), { sequence: 1 })
    assert.strictEqual(circuit.record?.seen.length, 2)
    circuit.wait(1).report("b", failures(1), { sequence: 2 })
    assert.deepStrictEqual(circuit.record?.seen.map(({ instance, sequence }) => [instance, sequence]), [["b", 2]])
  })

  it("instances may have any name, such as __proto__", () => {
    const circuit = new Circuit()
    for (const instance of ["__proto__", "constructor", "toString", ""]) {
      circuit.record = JSON.parse(JSON.stringify(circuit.record ?? null)) ?? undefined
      circuit.report(instance, failures(1), { sequence: 1 })
      circuit.report(instance, failures(1), { sequence: 1 })
    }
    assert.strictEqual(circuit.snapshot().streak, 4)
    circuit.trip()
    circuit.wait(MINUTE)
    assert.isTrue(circuit.ask("__proto__"))
    assert.isFalse(circuit.ask("constructor"))
    circuit.record = JSON.parse(JSON.stringify(circuit.record))
    assert.isTrue(circuit.settle("__proto__", "Success"))
    assert.strictEqual(circuit.state, "Closed")
    assert.deepStrictEqual(Object.keys({}), [])
  })

  it("a report that is late by the storage's clock is older by that, and a request's time is not late (F9)", () => {
    const circuit = new Circuit()
    circuit.now = 1_000_000
    circuit.report("a", failures(1, 50_000), { asOf: circuit.now - 2000 })
    assert.deepStrictEqual([circuit.snapshot().totals[0]?.failure, circuit.snapshot().hint], [1, 50_000])
    circuit.report("b", failures(2, 60_000), { asOf: circuit.now - 5000, withins: [5000, MINUTE] })
    assert.deepStrictEqual(circuit.snapshot([5000, MINUTE]).totals.map(({ failure }) => failure), [1, 3])
    assert.strictEqual(circuit.snapshot().hint, 55_000)
    assert.strictEqual(circuit.snapshot().lifetime.lastFailureAge, 0)
    const late = new Circuit()
    late.now = 1_000_000
    late.report("a", failures(1), { asOf: late.now - 70_000 })
    assert.deepStrictEqual([late.snapshot().totals[0]?.failure, late.snapshot().lifetime.failure], [0, 1])
    assert.strictEqual(late.snapshot().lifetime.lastFailureAge, 70_000)
    // A clock that was set back makes nothing younger.
    late.report("b", failures(1), { asOf: late.now + MINUTE })
    assert.strictEqual(late.snapshot().lifetime.lastFailureAge, 0)
  })

  it("a report of a process that slept for longer than its sequence is remembered counts once (F9)", () => {
    const circuit = new Circuit()
    const asOf = circuit.now
    circuit.report("asleep", failures(3), { sequence: 1, asOf })
    // Others use the circuit meanwhile, so the record lives on while the sequence is forgotten.
    for (let i = 0; i < 3; i++) circuit.wait(IDLE - 1).report("awake", failures(1))
    assert.isFalse(circuit.record?.seen.some(({ instance }) => instance === "asleep"))
    const before = circuit.record
    assert.strictEqual(circuit.report("asleep", failures(3), { sequence: 1, asOf }), "Refused")
    assert.strictEqual(circuit.record, before)
    // Half an idle time by the sender's clock, and at most half by the storage's: together the time that it is remembered.
    const inDoubt = new Circuit()
    inDoubt.report("a", failures(3), { sequence: 1, asOf: 0 })
    inDoubt.wait(IDLE - 1).report("b", failures(1))
    assert.strictEqual(inDoubt.report("a", failures(3), { sequence: 1, asOf: IDLE / 2 - 1 }), "Counted")
    assert.strictEqual(inDoubt.snapshot().lifetime.failure, 4)
    assert.strictEqual(inDoubt.wait(2).report("c", failures(3), { asOf: IDLE / 2 }), "Refused")
  })
})
