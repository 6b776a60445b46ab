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
