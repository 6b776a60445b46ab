import { assert, describe, it } from "@effect/vitest"
import type { Operation } from "../../src/core/Change.ts"
import { streakOf } from "../../src/core/Delta.ts"
import { expired, expiresAt } from "../../src/core/Record.ts"
import { type Opening, type SnapshotOverride } from "../../src/core/Record.ts"
import { Circuit, failures, forced, halfOpen, IDLE, MINUTE, open, opening, why } from "./circuit.ts"

const metricsOnly: SnapshotOverride = { kind: "MetricsOnly", reason: "drill", actor: "ann" }

describe("trip", () => {
  it("of many instances that trip on the same evidence, one wins, and the others get its generation", () => {
    const circuit = new Circuit()
    const seen = circuit.snapshot()
    assert.isTrue(circuit.trip(seen))
    const won = circuit.record
    assert.isFalse(circuit.trip(seen))
    assert.strictEqual(circuit.record, won)
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "Open", remaining: MINUTE })
    assert.strictEqual(circuit.snapshot().openings, 1)
  })

  it("a trip decided before a ten-minute pause is refused; one decided two intervals ago is not", () => {
    const circuit = new Circuit()
    const seen = circuit.snapshot()
    assert.isTrue(circuit.clone().wait(2000).trip(seen))
    assert.isFalse(circuit.clone().wait(2001).trip(seen))
    assert.isFalse(circuit.wait(10 * MINUTE).trip(seen))
    assert.strictEqual(circuit.record, undefined)
  })

  it("a trip's generation is above the record's, its author's and the clock", () => {
    const circuit = new Circuit()
    circuit.trip()
    assert.strictEqual(circuit.generation, 1)
    circuit.operate({ _tag: "Reset" }, "x", 41)
    assert.strictEqual(circuit.generation, 42)
    circuit.operate({ _tag: "Reset" }, "y", 3)
    assert.strictEqual(circuit.generation, 43)
    circuit.wait(12.3456).operate({ _tag: "Reset" })
    assert.strictEqual(circuit.generation, 12_345)
    circuit.wipe().wait(1).operate({ _tag: "Reset" })
    assert.strictEqual(circuit.generation, 13_345)
  })

  it("a trip begins an empty window", () => {
    const circuit = new Circuit()
    circuit.report("a", failures(5))
    circuit.trip()
    assert.deepStrictEqual([circuit.snapshot().streak, circuit.snapshot().totals[0]?.failure], [0, 0])
    assert.strictEqual(circuit.snapshot().lifetime.failure, 5)
    assert.strictEqual(circuit.snapshot().lifetime.opened, 1)
  })

  it("a trip in metrics-only stays Closed: one winner, a new window, and the backoff keeps running", () => {
    const circuit = halfOpen()
    circuit.ask("a")
    circuit.settle("a", "Success")
    circuit.operate({ _tag: "Override", ...metricsOnly })
    circuit.wait(MINUTE / 2).report("a", failures(5))
    const seen = circuit.snapshot()
    assert.isTrue(circuit.change({ _tag: "Trip", generation: seen.generation, asOf: seen.asOf, maxAge: 1, why }))
    assert.isFalse(circuit.change({ _tag: "Trip", generation: seen.generation, asOf: seen.asOf, maxAge: 1, why }))
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "Closed" })
    assert.deepStrictEqual([circuit.snapshot().streak, circuit.snapshot().openings], [0, 1])
    assert.strictEqual(circuit.wait(MINUTE / 2).snapshot().openings, 0)
  })

  it("only a Closed circuit trips, and without an opening only under metrics-only (F13)", () => {
    const trip = (circuit: Circuit, opening?: Opening): boolean => {
      const { asOf, generation } = circuit.snapshot()
      const before = circuit.record
      const committed = circuit.change({ _tag: "Trip", generation, asOf, maxAge: 2000, why, opening })
      if (!committed) assert.strictEqual(circuit.record, before)
      return committed
    }
    for (const [circuit, override] of [[open(), forced], [halfOpen(), forced], [new Circuit(), metricsOnly]] as const) {
      const isClosed = circuit.state === "Closed"
      assert.strictEqual(trip(circuit.clone(), opening), isClosed, circuit.state)
      assert.isFalse(trip(circuit.clone()), `${circuit.state}, without an opening`)
      circuit.operate({ _tag: "Override", ...override, remaining: MINUTE })
      assert.strictEqual(trip(circuit.clone()), isClosed, `${circuit.state}, ${override.kind}`)
      assert.isFalse(trip(circuit.clone().wait(MINUTE)), `${circuit.state}, once ${override.kind} has expired`)
      assert.strictEqual(
        trip(circuit.clone(), opening),
        isClosed,
        `${circuit.state}, ${override.kind}, with an opening`
      )
    }
  })
})

describe("lost data", () => {
  it("an open circuit that was wiped stays open, even if a new instance reports first", () => {
    const circuit = open()
    const known = circuit.snapshot()
    circuit.wipe().wait(10_000).report("fresh", { ...failures(1), streak: streakOf([false]) })
    assert.isTrue(circuit.putBack(known, 10_000))
    const { elapsed, generation, openings, state, streak, why: because } = circuit.snapshot()
    assert.deepStrictEqual([state, generation], [{ _tag: "Open", remaining: MINUTE - 10_000 }, known.generation])
    assert.deepStrictEqual([elapsed, openings, streak, because], [10_000, 1, 0, why])
  })

  it("put-backs of Closed 7 and Open 8 over a stale 5 end in Open, in every order", () => {
    for (const stale of ["Closed", "Open"] as const) {
      const before = stale === "Open" ? open() : new Circuit()
      before.operate({ _tag: "ClearOverride" }, "x", 4)
      assert.deepStrictEqual([before.generation, before.state], [5, stale])
      const seven = before.clone()
      seven.operate({ _tag: "Reset" }, "y", 6)
      const eight = seven.clone()
      eight.trip()
      const [closed, opened] = [seven.snapshot(), eight.snapshot()]
      assert.deepStrictEqual([closed.generation, opened.generation], [7, 8])
      for (const order of [[closed, opened], [opened, closed], [closed, opened, closed], [opened, closed, opened]]) {
        const storage = before.clone()
        for (const known of order) storage.putBack(known)
        assert.strictEqual(storage.state, "Open", `${stale}: ${order.map((known) => known.generation)}`)
      }
    }
  })

  it("a Closed that is put back leaves an Open whose time runs, under a generation above both", () => {
    const circuit = open()
    const closed = circuit.clone()
    closed.operate({ _tag: "Reset" }, "x", 6)
    const stamped = circuit.clone()
    assert.isFalse(stamped.putBack(closed.snapshot()))
    assert.deepStrictEqual([stamped.generation, stamped.state, stamped.snapshot().openings], [8, "Open", 1])
    assert.isFalse(stamped.putBack(closed.snapshot()), "and a repeat is refused")
    assert.strictEqual(stamped.generation, 8)
    circuit.wait(MINUTE)
    assert.isTrue(circuit.putBack(closed.snapshot(), MINUTE))
    assert.strictEqual(circuit.state, "Closed")
  })

  it("an Open that a Closed left takes the newer record's override", () => {
    const circuit = open()
    const newer = circuit.clone()
    newer.operate({ _tag: "Reset" })
    newer.operate({ _tag: "Override", ...forced })
    circuit.putBack(newer.snapshot())
    assert.deepStrictEqual([circuit.state, circuit.snapshot().override?.kind], ["Open", "ForcedOpen"])
  })

  it("a record is put back only over a lower generation, and only while it cannot have expired", () => {
    const known = open().snapshot()
    assert.isFalse(open().putBack(known))
    assert.isFalse(new Circuit().putBack(known, IDLE + 1))
    assert.isTrue(new Circuit().putBack(known, IDLE))
  })

  it("an override that has expired is not put back by a paused instance, even if the clock was set back", () => {
    const circuit = new Circuit()
    circuit.wait(100 * IDLE).operate({ _tag: "Override", ...forced, remaining: MINUTE })
    const known = circuit.snapshot()
    circuit.wipe()
    circuit.now = 50 * IDLE
    assert.isFalse(circuit.clone().putBack(known, 2 * IDLE))
    assert.isTrue(circuit.putBack(known, 2 * MINUTE))
    assert.strictEqual(circuit.snapshot().override, undefined)
  })

  it("a half-open round is put back with its successes and its holder's leases", () => {
    const circuit = halfOpen()
    circuit.ask("a", 1, { probes: 2 })
    circuit.settle("a", "Success", { successes: 2 })
    circuit.ask("a", 2)
    const known = circuit.snapshot()
    circuit.wipe().wait(1000)
    assert.isTrue(circuit.putBack(known, 1000, [{ instance: "a", sequence: 2, remaining: 9000 }]))
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "HalfOpen", live: 1, successes: 1, nextLapse: 9000 })
    assert.isFalse(circuit.ask("b"))
    assert.isTrue(circuit.settle("a", "Success", { sequence: 2, successes: 2 }))
    assert.strictEqual(circuit.state, "Closed")
  })

  it("lifetime counts are put back without counting anything twice", () => {
    const circuit = new Circuit()
    circuit.report("a", failures(5))
    circuit.trip()
    const known = circuit.snapshot()
    const wiped = circuit.clone().wipe()
    wiped.wait(1000).report("b", failures(2))
    wiped.putBack(known, 1000)
    const { failure, lastFailureAge, opened } = wiped.snapshot().lifetime
    assert.deepStrictEqual([failure, lastFailureAge, opened], [5, 0, 1])
  })
})

describe("operators", () => {
  it("an override takes a new generation and leaves the state as it was, with its time running", () => {
    const circuit = open()
    const before = circuit.wait(1000).snapshot()
    circuit.operate({ _tag: "Override", ...forced, remaining: 5000 })
    const { asOf: _, generation, override, ...rest } = circuit.snapshot()
    const { asOf: __, generation: was, override: ___, ...same } = before
    assert.deepStrictEqual(rest, same)
    assert.isAbove(generation, was)
    assert.deepStrictEqual(override, { ...forced, remaining: 5000 })
    assert.strictEqual(circuit.wait(4999).snapshot().override?.remaining, 1)
    assert.strictEqual(circuit.wait(1).snapshot().override, undefined)
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "Open", remaining: MINUTE - 6000 })
  })

  it("an override without an expiry outlives the idle time; clearing it lets the circuit expire again", () => {
    const circuit = new Circuit()
    circuit.operate({ _tag: "Override", ...forced })
    assert.strictEqual(expiresAt(circuit.record!, IDLE), Infinity)
    assert.strictEqual(circuit.wait(100 * IDLE).snapshot().override?.kind, "ForcedOpen")
    circuit.operate({ _tag: "ClearOverride" })
    assert.strictEqual(circuit.snapshot().override, undefined)
    assert.strictEqual(expiresAt(circuit.record!, IDLE), circuit.now + IDLE)
  })

  it("clearing an override that the storage has lost is a change, so that no instance puts it back", () => {
    const circuit = new Circuit()
    circuit.operate({ _tag: "Override", ...forced }, "x", 6)
    const known = circuit.snapshot()
    circuit.wipe().operate({ _tag: "ClearOverride" }, "y", known.generation)
    assert.isFalse(circuit.putBack(known))
    assert.strictEqual(circuit.snapshot().override, undefined)
  })

  it("an operation takes effect once, however late it is repeated", () => {
    const circuit = new Circuit()
    const set: Operation = { _tag: "Operation", id: "set", known: 0, why, to: { _tag: "Override", ...forced } }
    assert.isTrue(circuit.change(set))
    circuit.operate({ _tag: "ClearOverride" })
    const cleared = circuit.record
    assert.isTrue(circuit.change(set))
    assert.strictEqual(circuit.record, cleared)
  })

  it("a reset closes with an empty window and no backoff, and leaves overrides alone", () => {
    const circuit = halfOpen()
    circuit.operate({ _tag: "Override", ...forced })
    circuit.report("a", failures(3, MINUTE))
    circuit.operate({ _tag: "Reset" })
    const { elapsed, hint, lifetime, openFor, openings, override, state, streak, totals } = circuit.snapshot()
    assert.deepStrictEqual(state, { _tag: "Closed" })
    assert.deepStrictEqual([elapsed, hint, openFor, openings, streak, totals[0]?.failure], [0, 0, 0, 0, 0, 0])
    assert.deepStrictEqual([override?.kind, lifetime.failure], ["ForcedOpen", 3])
    circuit.trip()
    assert.strictEqual(circuit.snapshot().openings, 1)
  })

  it("a circuit made half-open by an operator grants leases at once, from any state", () => {
    for (const circuit of [new Circuit(), open(), halfOpen()]) {
      circuit.operate({ _tag: "HalfOpen" })
      assert.isTrue(circuit.ask("a"))
    }
  })

  it("a removed circuit is a Closed that expires, and no instance puts it back", () => {
    const circuit = halfOpen()
    circuit.operate({ _tag: "Override", ...forced })
    circuit.report("a", failures(3), { sequence: 1 })
    const known = circuit.snapshot()
    circuit.operate({ _tag: "Remove" })
    const { lifetime, openings, override, state } = circuit.snapshot()
    assert.deepStrictEqual(state, { _tag: "Closed" })
    assert.deepStrictEqual([openings, override, lifetime.failure, lifetime.opened], [0, undefined, 0, 0])
    assert.isFalse(circuit.putBack(known))
    circuit.report("a", failures(3), { sequence: 1, generation: known.generation })
    assert.strictEqual(circuit.snapshot().lifetime.failure, 0, "nor does a late report of before count again")
    assert.isTrue(expired(circuit.record!, IDLE, circuit.now + IDLE))
    assert.strictEqual(circuit.wait(IDLE).generation, 0)
  })

  it("an import is open for the remaining time or half-open at once, and keeps the backoff", () => {
    const opened = open().wait(10_000)
    const target = new Circuit().wait(5)
    target.report("a", failures(2))
    assert.isTrue(target.operate({ _tag: "Import", snapshot: opened.snapshot() }))
    assert.deepStrictEqual(target.snapshot().state, { _tag: "Open", remaining: MINUTE - 10_000 })
    assert.deepStrictEqual([target.snapshot().openings, target.snapshot().streak], [1, 0])
    assert.strictEqual(target.generation, 5000)
    const busy = halfOpen()
    busy.ask("x")
    target.operate({ _tag: "Import", snapshot: busy.snapshot() })
    assert.isTrue(target.ask("a"))
    assert.strictEqual(target.snapshot().openings, 1)
  })
})
