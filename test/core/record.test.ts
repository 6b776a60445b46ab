import { assert, describe, it } from "@effect/vitest"
import { noDelta } from "../../src/core/Delta.ts"
import { type CircuitRecord, expired, expiresAt, FORMAT, snapshot } from "../../src/core/Record.ts"
import { Circuit, failures, forced, halfOpen, IDLE, MINUTE, open, WITHINS } from "./circuit.ts"

describe("the backoff", () => {
  const closeAfter = (openFor: number): Circuit => {
    const circuit = new Circuit()
    circuit.trip(circuit.snapshot(), { openFor, maxOpenFor: 10 * openFor })
    circuit.wait(openFor).ask("a")
    circuit.settle("a", "Success")
    return circuit
  }

  it("the backoff ends when the circuit stayed closed as long as its last planned opening", () => {
    assert.strictEqual(closeAfter(MINUTE).wait(MINUTE - 1).snapshot().openings, 1)
    assert.strictEqual(closeAfter(MINUTE).wait(MINUTE).snapshot().openings, 0)
    const again = closeAfter(MINUTE).wait(MINUTE - 1)
    again.trip()
    assert.strictEqual(again.snapshot().openings, 2)
    const anew = closeAfter(MINUTE).wait(MINUTE)
    anew.trip()
    assert.strictEqual(anew.snapshot().openings, 1)
  })

  it("the backoff grows with every failed probe", () => {
    const circuit = halfOpen()
    for (const n of [2, 3, 4]) {
      circuit.ask("a", n)
      circuit.settle("a", "Failure", { sequence: n })
      assert.strictEqual(circuit.snapshot().openings, n)
      circuit.wait(MINUTE)
    }
  })

  it("the backoff of a two-hour opening outlives an idle time of one hour", () => {
    const circuit = new Circuit()
    const long = { openFor: 2 * IDLE, maxOpenFor: 2 * IDLE }
    circuit.trip(circuit.snapshot(), long)
    circuit.wait(2 * IDLE)
    assert.strictEqual(circuit.state, "Open")
    assert.isTrue(circuit.ask("a"))
    assert.isTrue(circuit.settle("a", "Success"))
    circuit.wait(2 * IDLE - 1)
    assert.strictEqual(circuit.snapshot().openings, 1)
    assert.isFalse(expired(circuit.record!, IDLE, circuit.now))
    assert.isTrue(expired(circuit.record!, IDLE, circuit.now + 1))
  })
})

describe("expiry", () => {
  it("a record expires an idle time after its last use; reads and refused requests are not use", () => {
    const circuit = new Circuit()
    circuit.report("a", failures(1))
    circuit.wait(1000)
    circuit.report("b", noDelta)
    circuit.ask("b")
    assert.strictEqual(expiresAt(circuit.record!, IDLE), IDLE)
    circuit.report("a", failures(1))
    assert.strictEqual(expiresAt(circuit.record!, IDLE), IDLE + 1000)
    circuit.wait(IDLE)
    assert.deepStrictEqual(circuit.snapshot(), snapshot(undefined, WITHINS, circuit.now, IDLE))
    circuit.report("a", failures(1))
    assert.strictEqual(circuit.snapshot().lifetime.failure, 1)
  })

  it("a record never expires before its leases, override and open time are over", () => {
    const leased = halfOpen()
    leased.ask("a", 1, { duration: 5 * IDLE })
    assert.strictEqual(expiresAt(leased.record!, IDLE), leased.now + 5 * IDLE)
    const overridden = new Circuit()
    overridden.operate({ _tag: "Override", ...forced, remaining: 3 * IDLE })
    assert.strictEqual(expiresAt(overridden.record!, IDLE), 3 * IDLE)
    const circuit = open()
    assert.strictEqual(
      expiresAt(circuit.record!, 1000),
      2 * MINUTE,
      "its backoff ends an open time after it could close"
    )
  })
})

describe("format", () => {
  it("unknown fields are kept by every transition except remove", () => {
    const circuit = new Circuit()
    circuit.report("a", failures(1))
    circuit.record = { ...circuit.record!, colour: "blue" } as CircuitRecord
    circuit.report("a", failures(1))
    circuit.trip()
    circuit.wait(MINUTE).ask("a")
    circuit.settle("a", "Success")
    circuit.operate({ _tag: "Override", ...forced })
    circuit.operate({ _tag: "Reset" })
    circuit.putBack({ ...circuit.snapshot(), generation: circuit.generation + 1 })
    assert.propertyVal(circuit.record, "colour", "blue")
  })

  it("a record of a newer format is read, and not written", () => {
    const circuit = open().wait(MINUTE)
    const newer = circuit.record = { ...circuit.record!, format: FORMAT + 1 }
    assert.strictEqual(circuit.report("a", failures(1)), "Refused")
    assert.isFalse(circuit.ask("a"))
    assert.isFalse(circuit.trip())
    assert.isFalse(circuit.operate({ _tag: "Reset" }))
    assert.isFalse(circuit.putBack({ ...new Circuit().snapshot(), generation: 1e9 }))
    assert.strictEqual(circuit.record, newer)
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "Open", remaining: 0 })
    assert.strictEqual(expiresAt(newer, IDLE), Infinity, "who owns it lets it expire")
    assert.isFalse(new Circuit().putBack(circuit.snapshot()))
    assert.isFalse(new Circuit().operate({ _tag: "Import", snapshot: circuit.snapshot() }))
    const leased = halfOpen()
    leased.ask("a")
    leased.record = { ...leased.record!, format: FORMAT + 1 }
    assert.isFalse(leased.settle("a", "Success"))
  })
})

describe("a storage's clock that was set back", () => {
  const HOUR = 60 * MINUTE

  it("no rest is longer than it was when the record was written (R8)", () => {
    for (const by of [1, HOUR, 100 * HOUR]) {
      const opened = open().wait(5000)
      const { elapsed, state } = opened.wait(-by - 5000).snapshot()
      assert.deepStrictEqual([state, elapsed], [{ _tag: "Open", remaining: MINUTE }, 0])

      const probing = halfOpen()
      probing.ask("a", 1, { duration: 10_000 })
      probing.wait(2000).operate({ _tag: "Override", ...forced, remaining: MINUTE })
      assert.deepStrictEqual(probing.clone().wait(-by).snapshot().override, { ...forced, remaining: MINUTE })

      const leased = halfOpen()
      leased.ask("a", 1, { duration: 10_000 })
      assert.deepInclude(leased.wait(-by).snapshot().state, { live: 1, nextLapse: 10_000 })
      assert.isFalse(leased.ask("b"), "the lease still counts")

      const hinted = new Circuit()
      hinted.wait(HOUR).report("a", failures(1, 30_000))
      assert.strictEqual(hinted.wait(-by).snapshot().hint, 30_000)
      hinted.trip()
      assert.deepStrictEqual(hinted.snapshot().state, { _tag: "Open", remaining: MINUTE })
    }
  })

  it("an open time ends by the clock as it is now, at most one open time late (R8)", () => {
    for (const call of ["report", "ask"] as const) {
      const circuit = open().wait(MINUTE - 1)
      circuit.wait(-HOUR)
      if (call === "report") circuit.report("a", { ...noDelta, lifetime: { ...noDelta.lifetime, rejected: 1 } })
      else assert.isFalse(circuit.ask("a"))
      assert.isFalse(circuit.wait(MINUTE - 1).ask("a", 2))
      assert.isTrue(circuit.wait(1).ask("a", 3), call)
    }
  })

  it("a lease, a settlement and the backoff work on by the clock as it is now (R8)", () => {
    const circuit = halfOpen()
    circuit.ask("a", 1, { duration: 10_000 })
    circuit.wait(-HOUR)
    assert.isTrue(circuit.ask("a", 1), "the lease that it holds")
    assert.isTrue(circuit.wait(9999).settle("a", "Success"))
    assert.strictEqual(circuit.state, "Closed")
    assert.strictEqual(circuit.wait(MINUTE - 1).snapshot().openings, 1)
    assert.strictEqual(circuit.wait(1).snapshot().openings, 0)
  })

  it("a record of a newer format is left as it is", () => {
    const circuit = open()
    circuit.record = { ...circuit.record!, format: FORMAT + 1 }
    const before = circuit.record
    assert.isFalse(circuit.wait(-HOUR).ask("a"))
    assert.strictEqual(circuit.record, before)
  })
})
