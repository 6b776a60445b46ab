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

  it("creates a record, never a generation, and what it creates reads as Closed at 0", () => {
    const circuit = new Circuit()
    circuit.report("a", failures(2))
    assert.deepStrictEqual(circuit.snapshot().totals, [{ success: 0, failure: 2, slow: 0 }])
    assert.strictEqual(circuit.generation, 0)
    assert.strictEqual(circuit.snapshot().elapsed, undefined)
    assert.deepStrictEqual(snapshot(created(0), WITHINS, 5, IDLE), snapshot(undefined, WITHINS, 5, IDLE))
  })

  it("counts once by instance and sequence; a lost reply, more outcomes, then the retry", () => {
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

  it("a pure read leaves the very same record, also of who has reported before", () => {
    const circuit = new Circuit()
    circuit.report("a", failures(2))
    const before = circuit.record
    circuit.wait(1000).report("a", noDelta)
    assert.strictEqual(circuit.record, before)
  })

  it("an outcome of an older generation changes nothing but the lifetime", () => {
    const circuit = open()
    circuit.report("a", failures(3, 5 * MINUTE), { generation: 0 })
    const { hint, lifetime, streak, totals } = circuit.snapshot()
    assert.deepStrictEqual([hint, lifetime.failure, streak, totals[0]?.failure], [0, 3, 0, 0])
  })

  it("an outcome of a newer one waits until the record is put back, and counts then", () => {
    const known = open().snapshot()
    const circuit = new Circuit()
    assert.strictEqual(circuit.report("a", failures(3), { sequence: 7, generation: known.generation }), "Behind")
    assert.strictEqual(circuit.record, undefined)
    circuit.putBack(known)
    assert.strictEqual(circuit.report("a", failures(3), { sequence: 7, generation: known.generation }), "Counted")
    assert.strictEqual(circuit.snapshot().streak, 3)
  })

  it("one of 40 that fails adds up with the others' successes, in the order of the reports", () => {
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

  it("another bucket width shares the state and the row of failures, and keeps its own window", () => {
    const circuit = new Circuit()
    circuit.report("a", failures(2))
    circuit.report("b", failures(3), { withins: [60 * MINUTE] })
    assert.strictEqual(circuit.snapshot().totals[0]?.failure, 2)
    assert.strictEqual(circuit.snapshot([60 * MINUTE]).totals[0]?.failure, 3)
    assert.strictEqual(circuit.snapshot().streak, 5)
  })

  it("the longest hint not yet over counts, whoever trips, and up to the tripper's maximum", () => {
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

  it("who was silent for the idle time is forgotten", () => {
    const circuit = new Circuit()
    circuit.report("a", failures(1), { sequence: 1 })
    circuit.wait(IDLE - 1).report("b", failures(1), { sequence: 1 })
    assert.strictEqual(circuit.record?.seen.length, 2)
    circuit.wait(1).report("b", failures(1), { sequence: 2 })
    assert.deepStrictEqual(circuit.record?.seen.map(({ instance, sequence }) => [instance, sequence]), [["b", 2]])
  })

  it("hostile names are names like others", () => {
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
})

describe("trip", () => {
  it("of many who saw the same, one wins, and the others find it", () => {
    const circuit = new Circuit()
    const seen = circuit.snapshot()
    assert.isTrue(circuit.trip(seen))
    const won = circuit.record
    assert.isFalse(circuit.trip(seen))
    assert.strictEqual(circuit.record, won)
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "Open", remaining: MINUTE })
    assert.strictEqual(circuit.snapshot().openings, 1)
  })

  it("decided before a ten-minute pause, is refused; decided two intervals ago, it is not", () => {
    const circuit = new Circuit()
    const seen = circuit.snapshot()
    assert.isTrue(circuit.clone().wait(2000).trip(seen))
    assert.isFalse(circuit.clone().wait(2001).trip(seen))
    assert.isFalse(circuit.wait(10 * MINUTE).trip(seen))
    assert.strictEqual(circuit.record, undefined)
  })

  it("a generation is above the record's, above what its author knows, and above the clock", () => {
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

  it("begins a window of its own", () => {
    const circuit = new Circuit()
    circuit.report("a", failures(5))
    circuit.trip()
    assert.deepStrictEqual([circuit.snapshot().streak, circuit.snapshot().totals[0]?.failure], [0, 0])
    assert.strictEqual(circuit.snapshot().lifetime.failure, 5)
    assert.strictEqual(circuit.snapshot().lifetime.opened, 1)
  })

  it("in metrics-only stays Closed: one winner, a new window, the backoff's memory running on", () => {
    const circuit = halfOpen()
    circuit.ask("a")
    circuit.settle("a", "Success")
    circuit.wait(MINUTE / 2).report("a", failures(5))
    const seen = circuit.snapshot()
    assert.isTrue(circuit.change({ _tag: "Trip", generation: seen.generation, asOf: seen.asOf, maxAge: 1, why }))
    assert.isFalse(circuit.change({ _tag: "Trip", generation: seen.generation, asOf: seen.asOf, maxAge: 1, why }))
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "Closed" })
    assert.deepStrictEqual([circuit.snapshot().streak, circuit.snapshot().openings], [0, 1])
    assert.strictEqual(circuit.wait(MINUTE / 2).snapshot().openings, 0)
  })
})

describe("the backoff's memory", () => {
  const closeAfter = (openFor: number): Circuit => {
    const circuit = new Circuit()
    circuit.trip(circuit.snapshot(), { openFor, maxOpenFor: 10 * openFor })
    circuit.wait(openFor).ask("a")
    circuit.settle("a", "Success")
    return circuit
  }

  it("ends when the circuit stayed closed as long as its last opening was to last", () => {
    assert.strictEqual(closeAfter(MINUTE).wait(MINUTE - 1).snapshot().openings, 1)
    assert.strictEqual(closeAfter(MINUTE).wait(MINUTE).snapshot().openings, 0)
    const again = closeAfter(MINUTE).wait(MINUTE - 1)
    again.trip()
    assert.strictEqual(again.snapshot().openings, 2)
    const anew = closeAfter(MINUTE).wait(MINUTE)
    anew.trip()
    assert.strictEqual(anew.snapshot().openings, 1)
  })

  it("grows with every failed probe", () => {
    const circuit = halfOpen()
    for (const n of [2, 3, 4]) {
      circuit.ask("a", n)
      circuit.settle("a", "Failure", { sequence: n })
      assert.strictEqual(circuit.snapshot().openings, n)
      circuit.wait(MINUTE)
    }
  })

  it("open two hours with an idle time of one: remembered", () => {
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

describe("leases", () => {
  it("none where the circuit is closed, absent or still open; at the open time's end it is granted at once", () => {
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

  it("asking twice grants once and prolongs nothing", () => {
    const circuit = halfOpen()
    assert.isTrue(circuit.ask("a"))
    const granted = circuit.wait(4000).record
    assert.isTrue(circuit.ask("a"))
    assert.strictEqual(circuit.record, granted)
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "HalfOpen", live: 1, successes: 0, nextLapse: 6000 })
  })

  it("no more than the asker's probes at once, in the fleet; a denial says when the next one lapses", () => {
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

  it("a grant is whole when granted, however long it waited for the record", () => {
    const circuit = halfOpen().wait(5 * MINUTE)
    circuit.ask("a")
    assert.strictEqual(
      circuit.record?.state._tag === "HalfOpen" && circuit.record.state.leases[0]?.until,
      circuit.now + 10_000
    )
  })

  it("a success frees, counts, and closes at the last; an ignored outcome only frees; a failure reopens", () => {
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

  it("a lapsed holder fails, then succeeds, after a takeover: neither reopens nor closes", () => {
    const circuit = halfOpen()
    const { generation } = circuit
    circuit.ask("a")
    circuit.wait(10_000)
    for (const outcome of ["Failure", "Success"] as const) {
      assert.isFalse(circuit.clone().settle("a", outcome, { generation }), "lapsed, and its place still free")
    }
    assert.isTrue(circuit.ask("b"))
    const taken = circuit.record
    assert.isFalse(circuit.settle("a", "Failure", { generation }))
    assert.isFalse(circuit.settle("a", "Success", { generation }))
    assert.strictEqual(circuit.record, taken)
  })

  it("a lapsed lease counts for nothing, also while nobody has taken its place", () => {
    const circuit = halfOpen()
    circuit.ask("a")
    circuit.wait(9999)
    assert.isTrue(circuit.clone().settle("a", "Success"))
    assert.isFalse(circuit.wait(1).settle("a", "Success"))
    assert.deepStrictEqual(circuit.snapshot().state, { _tag: "HalfOpen", live: 0, successes: 0, nextLapse: undefined })
  })

  it("a settled lease settles once, and a request for it that comes late brings nothing back", () => {
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

  it("a lease of an older generation is none of this one's", () => {
    const circuit = halfOpen()
    circuit.ask("a")
    const { generation } = circuit
    circuit.operate({ _tag: "HalfOpen" })
    assert.isFalse(circuit.settle("a", "Failure", { generation }))
    assert.isFalse(circuit.settle("a", "Failure"))
    assert.strictEqual(circuit.state, "HalfOpen")
    assert.isTrue(circuit.ask("b"))
  })

  it("a storage that has lost its data may lease the same name again, and what settles the old lease settles nothing", () => {
    const circuit = halfOpen()
    circuit.ask("a")
    const { generation } = circuit
    circuit.wipe().trip()
    assert.isTrue(circuit.wait(MINUTE).ask("a", 1, { generation: 0 }))
    assert.notStrictEqual(circuit.generation, generation)
    assert.isFalse(circuit.settle("a", "Failure", { generation }))
    assert.isTrue(circuit.settle("a", "Success"))
  })

  it("none while an override is in force: no probe is needed", () => {
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

  it("none for an asker who knows a newer record: it is put back first", () => {
    const circuit = halfOpen()
    assert.isFalse(circuit.ask("a", 1, { generation: circuit.generation + 1 }))
    assert.isTrue(circuit.ask("a", 1, { generation: circuit.generation - 1 }))
  })
})

describe("lost data", () => {
  it("open, wiped, a fresh instance reports first: stays open", () => {
    const circuit = open()
    const known = circuit.snapshot()
    circuit.wipe().wait(10_000).report("fresh", { ...failures(1), streak: streakOf([false]) })
    assert.isTrue(circuit.putBack(known, 10_000))
    const { elapsed, generation, openings, state, streak, why: because } = circuit.snapshot()
    assert.deepStrictEqual([state, generation], [{ _tag: "Open", remaining: MINUTE - 10_000 }, known.generation])
    assert.deepStrictEqual([elapsed, openings, streak, because], [10_000, 1, 0, why])
  })

  it("knowers of Closed 7 and Open 8 against a stale 5, in every order: Open", () => {
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

  it("a Closed never replaces an Open whose time is not up: that Open is stamped above both", () => {
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

  it("a stamped Open is under the override that the newer one knows", () => {
    const circuit = open()
    const newer = circuit.clone()
    newer.operate({ _tag: "Reset" })
    newer.operate({ _tag: "Override", ...forced })
    circuit.putBack(newer.snapshot())
    assert.deepStrictEqual([circuit.state, circuit.snapshot().override?.kind], ["Open", "ForcedOpen"])
  })

  it("is put back only over a lower generation, and only while it cannot have expired", () => {
    const known = open().snapshot()
    assert.isFalse(open().putBack(known))
    assert.isFalse(new Circuit().putBack(known, IDLE + 1))
    assert.isTrue(new Circuit().putBack(known, IDLE))
  })

  it("wiped with the clock set back, a paused knower returns after the record expired: no dead override comes back", () => {
    const circuit = new Circuit()
    circuit.wait(100 * IDLE).operate({ _tag: "Override", ...forced, remaining: MINUTE })
    const known = circuit.snapshot()
    circuit.wipe()
    circuit.now = 50 * IDLE
    assert.isFalse(circuit.clone().putBack(known, 2 * IDLE))
    assert.isTrue(circuit.putBack(known, 2 * MINUTE))
    assert.strictEqual(circuit.snapshot().override, undefined)
  })

  it("a half-open round comes back with its successes and its holder's leases", () => {
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

  it("lifetime counts come back without counting anything twice", () => {
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
  it("an override takes a new generation and leaves the state as it was, its time running", () => {
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

  it("without an end it outlives the idle time, and clearing it makes the circuit expire again", () => {
    const circuit = new Circuit()
    circuit.operate({ _tag: "Override", ...forced })
    assert.strictEqual(expiresAt(circuit.record!, IDLE), Infinity)
    assert.strictEqual(circuit.wait(100 * IDLE).snapshot().override?.kind, "ForcedOpen")
    circuit.operate({ _tag: "ClearOverride" })
    assert.strictEqual(circuit.snapshot().override, undefined)
    assert.strictEqual(expiresAt(circuit.record!, IDLE), circuit.now + IDLE)
  })

  it("clearing what the storage has lost is a change, too, or its knowers would put it back", () => {
    const circuit = new Circuit()
    circuit.operate({ _tag: "Override", ...forced }, "x", 6)
    const known = circuit.snapshot()
    circuit.wipe().operate({ _tag: "ClearOverride" }, "y", known.generation)
    assert.isFalse(circuit.putBack(known))
    assert.strictEqual(circuit.snapshot().override, undefined)
  })

  it("an operation happens once, however late it comes again", () => {
    const circuit = new Circuit()
    const set: Operation = { _tag: "Operation", id: "set", known: 0, why, to: { _tag: "Override", ...forced } }
    assert.isTrue(circuit.change(set))
    circuit.operate({ _tag: "ClearOverride" })
    const cleared = circuit.record
    assert.isTrue(circuit.change(set))
    assert.strictEqual(circuit.record, cleared)
  })

  it("reset closes with an empty window and no backoff, and leaves overrides alone", () => {
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

  it("half-open by hand takes probes at once, from any state", () => {
    for (const circuit of [new Circuit(), open(), halfOpen()]) {
      circuit.operate({ _tag: "HalfOpen" })
      assert.isTrue(circuit.ask("a"))
    }
  })

  it("remove leaves a Closed that expires, and no knower puts the circuit back", () => {
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

  it("import is open for the time that remains, half-open for probes at once, and keeps the backoff", () => {
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

describe("expiry", () => {
  it("comes an idle time after the last use; a pure read and a refusal are none", () => {
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

  it("never comes before a lease, an override or an open time has ended", () => {
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
  it("what is not known is kept by every transition but remove", () => {
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

  it("a raised format can be read, and not written", () => {
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

describe("the record and the model of it", () => {
  it.prop("answer alike, whatever happens", [Schema.Array(Step).check(Schema.isMaxLength(80))], ([steps]) => {
    const pair = new Pair()
    for (const step of steps) pair.step(step)
  }, { arbitrary: { runs: 1000, size: 80 }, timeout: 120_000 })
})
