import { assert, describe, it } from "@effect/vitest"
import { MOST_LAPSED_LEASES } from "../../src/core/Lease.ts"
import { Circuit, failures, forced, halfOpen, IDLE, MINUTE, open } from "./circuit.ts"

describe("leases", () => {
  it("no lease is granted while the circuit is closed, absent or open; at the end of the open time it is granted", () => {
    const circuit = new Circuit()
    assert.isFalse(circuit.ask("a"))
    circuit.report("a", failures(1))
    assert.isFalse(circuit.ask("a"))
    circuit.trip()
    const opened = circuit.wait(MINUTE - 1).record
    assert.isFalse(circuit.ask("a"))
    assert.strictEqual(circuit.record, opened)
    const before = circuit.generation
    assert.isTrue(circuit.wait(1).ask("a"))
    assert.isAbove(circuit.generation, before)
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "HalfOpen", live: 1, successes: 0, nextLapse: 10_000 })
  })

  it("a repeated Ask grants one lease and does not extend it", () => {
    const circuit = halfOpen()
    assert.isTrue(circuit.ask("a"))
    const granted = circuit.wait(4000).record
    assert.isTrue(circuit.ask("a"))
    assert.strictEqual(circuit.record, granted)
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "HalfOpen", live: 1, successes: 0, nextLapse: 6000 })
  })

  it("no more leases are live in the fleet than the requesting policy's probes; a denial says when the next one lapses", () => {
    const circuit = halfOpen()
    assert.isTrue(circuit.ask("a", 1, { probes: 2 }))
    assert.isTrue(circuit.wait(1000).ask("b", 1, { probes: 2 }))
    const full = circuit.record
    assert.isFalse(circuit.ask("c", 1, { probes: 2 }))
    assert.strictEqual(circuit.record, full)
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "HalfOpen", live: 2, successes: 0, nextLapse: 9000 })
    assert.isTrue(circuit.ask("c", 1, { probes: 3 }))
    circuit.wait(9000)
    assert.isFalse(circuit.ask("d", 1, { probes: 2 }))
    assert.isTrue(circuit.ask("d", 1, { probes: 3 }))
  })

  it("a lease has its full duration, however long the request waited for the record", () => {
    const circuit = halfOpen().wait(5 * MINUTE)
    circuit.ask("a")
    assert.strictEqual(
      circuit.record?.state._tag === "HalfOpen" && circuit.record.state.leases[0]?.until,
      circuit.now + 10_000
    )
  })

  it("settling a success frees, counts, and closes at the last; an ignored outcome only frees; a failure reopens", () => {
    const circuit = halfOpen()
    const round = circuit.generation
    circuit.ask("a", 1)
    circuit.settle("a", "Success", { successes: 2 })
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "HalfOpen", live: 0, successes: 1, nextLapse: undefined })
    circuit.ask("a", 2)
    circuit.settle("a", "Ignored", { sequence: 2 })
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "HalfOpen", live: 0, successes: 1, nextLapse: undefined })
    assert.strictEqual(circuit.generation, round)
    const other = circuit.clone()
    circuit.ask("a", 3)
    circuit.settle("a", "Success", { sequence: 3, successes: 2 })
    assert.strictEqual(circuit.state, "Closed")
    other.ask("a", 3)
    other.settle("a", "Failure", {
      sequence: 3,
      hint: 10 * MINUTE,
      opening: { openFor: MINUTE, maxOpenFor: 5 * MINUTE }
    })
    assert.deepStrictEqual(other.snapshot().state, { _tag: "Open", remaining: 5 * MINUTE })
    assert.deepStrictEqual([other.snapshot().elapsed, other.snapshot().openings], [0, 2])
  })

  it("two probes that both fail reopen once; the next round starts with all its places and no success", () => {
    const circuit = halfOpen()
    circuit.ask("a", 1, { probes: 3 })
    circuit.ask("b", 1, { probes: 3 })
    circuit.ask("c", 1, { probes: 3 })
    const { generation } = circuit
    circuit.settle("c", "Success", { successes: 2 })
    assert.isTrue(circuit.settle("a", "Failure", { generation }))
    assert.isFalse(circuit.settle("b", "Failure", { generation }))
    assert.strictEqual(circuit.snapshot().openings, 2)
    circuit.wait(MINUTE).ask("d", 1, { probes: 3 })
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "HalfOpen", live: 1, successes: 0, nextLapse: 10_000 })
  })

  it("a lapsed lease reopens or closes the circuit, before and after another lease was granted in its place (F1)", () => {
    for (const [outcome, state] of [["Failure", "Open"], ["Success", "Closed"], ["Ignored", "HalfOpen"]] as const) {
      const circuit = halfOpen()
      circuit.ask("a")
      circuit.wait(10_000)
      const later = circuit.clone().wait(MINUTE)
      assert.isTrue(circuit.settle("a", outcome))
      assert.strictEqual(circuit.state, state)
      assert.isTrue(later.ask("b"))
      const { generation } = later
      assert.isTrue(later.settle("a", outcome))
      assert.strictEqual(later.state, state)
      const settled = later.record
      assert.isFalse(later.settle("a", outcome, { generation }))
      assert.strictEqual(later.record, settled)
      assert.strictEqual(later.settle("b", "Success", { generation }), state === "HalfOpen")
    }
  })

  it("a lease that has lapsed is granted no second time, and its settlement frees no other place (F1)", () => {
    const circuit = halfOpen()
    circuit.ask("a")
    circuit.wait(10_000)
    const lapsed = circuit.record
    assert.isFalse(circuit.ask("a"))
    assert.strictEqual(circuit.record, lapsed)
    assert.isTrue(circuit.ask("b"))
    assert.isTrue(circuit.settle("a", "Ignored"))
    assert.isFalse(circuit.ask("c"))
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "HalfOpen", live: 1, successes: 0, nextLapse: 10_000 })
  })

  it("an Ask drops the oldest of the lapsed leases beyond sixty, and no live one (F1)", () => {
    const circuit = halfOpen()
    for (let n = 0; n <= MOST_LAPSED_LEASES; n++) circuit.wait(1).ask(`${n}`, 1, { probes: 1000 })
    circuit.ask("long", 1, { probes: 1000, duration: 10 * MINUTE })
    circuit.wait(MINUTE)
    const all = circuit.clone()
    assert.isTrue(all.settle("0", "Ignored"))
    circuit.ask("next", 1, { probes: 2 })
    assert.isFalse(circuit.settle("0", "Ignored"))
    for (const kept of ["1", "2", `${MOST_LAPSED_LEASES}`, "long", "next"]) {
      assert.isTrue(circuit.settle(kept, "Ignored"), kept)
    }
  })

  it("the storage's idle time is not lengthened by a lease that has lapsed (F1)", () => {
    const circuit = halfOpen()
    circuit.ask("a", 1, { duration: 2 * IDLE })
    circuit.wait(2 * IDLE - 1)
    assert.strictEqual(circuit.state, "HalfOpen")
    const { generation } = circuit.wait(1)
    assert.strictEqual(circuit.state, "Closed")
    assert.isFalse(circuit.settle("a", "Failure", { generation }))
  })

  it("a lease is settled once, and a late Ask does not bring it back", () => {
    const circuit = halfOpen()
    circuit.ask("a")
    assert.isTrue(circuit.settle("a", "Success", { successes: 3 }))
    assert.isFalse(circuit.settle("a", "Success", { successes: 3 }))
    assert.isFalse(circuit.ask("a"))
    assert.isFalse(circuit.settle("a", "Success", { successes: 3 }))
    const { state } = circuit.snapshot()
    assert.strictEqual(state._tag === "HalfOpen" && state.successes, 1)
    circuit.operate({ _tag: "HalfOpen" })
    assert.isFalse(circuit.ask("a"), "nor in the next round")
    assert.isTrue(circuit.ask("a", 2))
  })

  it("a lease of an older generation cannot be settled in a newer one", () => {
    const circuit = halfOpen()
    circuit.ask("a")
    const { generation } = circuit
    circuit.operate({ _tag: "HalfOpen" })
    assert.isFalse(circuit.settle("a", "Failure", { generation }))
    assert.isFalse(circuit.settle("a", "Failure"))
    assert.strictEqual(circuit.state, "HalfOpen")
    assert.isTrue(circuit.ask("b"))
  })

  it("after a loss of data the same lease name may be granted again, and settling the old lease has no effect", () => {
    const circuit = halfOpen()
    circuit.ask("a")
    const { generation } = circuit
    circuit.wipe().trip()
    assert.isTrue(circuit.wait(MINUTE).ask("a", 1, { generation: 0 }))
    assert.notStrictEqual(circuit.generation, generation)
    assert.isFalse(circuit.settle("a", "Failure", { generation }))
    assert.isTrue(circuit.settle("a", "Success"))
  })

  it("no lease is granted while an override is in force", () => {
    for (const kind of ["ForcedOpen", "Disabled", "MetricsOnly"] as const) {
      const circuit = halfOpen()
      circuit.ask("a")
      circuit.operate({ _tag: "Override", ...forced, kind, remaining: 1000 })
      assert.isFalse(circuit.ask("b"))
      assert.isFalse(circuit.settle("a", "Failure"))
      assert.isTrue(circuit.wait(1000).ask("b"))
    }
    const circuit = open()
    circuit.operate({ _tag: "Override", ...forced })
    assert.isFalse(circuit.wait(MINUTE).ask("b"))
    assert.strictEqual(circuit.state, "Open")
  })

  it("no lease is granted to an instance that knows a newer record: it must put it back first", () => {
    const circuit = halfOpen()
    assert.isFalse(circuit.ask("a", 1, { generation: circuit.generation + 1 }))
    assert.isTrue(circuit.ask("a", 1, { generation: circuit.generation - 1 }))
  })
})
