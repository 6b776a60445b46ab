import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import type { Breaker } from "../../src/index.ts"
import { type Behaviour, Fleet, type Process } from "../../src/testing/internal/Fleet.ts"
import { succeeds } from "./nodes.ts"

const takes = (takes: number): Behaviour => ({ ends: "succeeds", takes })

/** A fleet whose first process has opened the circuit, at a time when the open time is over. */
const opened = (
  processes: number,
  halfOpen: Breaker.HalfOpen
): { readonly fleet: Fleet; readonly all: ReadonlyArray<Process> } => {
  const policy: Breaker.Data = {
    trip: { _tag: "ConsecutiveFailures", failures: 1 },
    evidence: "any",
    openFor: 1000,
    halfOpen
  }
  const fleet = new Fleet({ seed: 1, circuits: [{ name: "c", policy }] })
  const all = Array.from({ length: processes }, () => fleet.start())
  for (const process of all) process.call(0, succeeds)
  fleet.advance(10)
  all[0]!.call(0, { ends: "fails", takes: 0 })
  fleet.advance(2500)
  for (const process of all) assert.strictEqual(process.snapshot(0).state, "Open")
  return { fleet, all }
}

const record = ({ server }: Fleet) => server.documents.get("c")!.record

/** Counts the bodies that run, now, at most at once, and in all. */
const mostRunning = (fleet: Fleet) => {
  const counted = { now: 0, most: 0, all: 0 }
  fleet.watchers.push({
    bodyStarts: () => {
      counted.all++
      counted.most = Math.max(counted.most, ++counted.now)
    },
    bodyEnds: () => {
      counted.now--
    }
  })
  return counted
}

describe("a half-open fleet", () => {
  for (const probes of [1, 2, 5]) {
    it(`a half-open fleet of 10 instances runs at most ${probes} probes at once`, () => {
      const { all, fleet } = opened(10, { probes, successes: 1000, lease: 5000 })
      const running = mostRunning(fleet)
      for (const process of all) {
        for (let at = 0; at < 10_000; at += 50) fleet.world.after(at, () => process.call(0, takes(300)))
      }
      fleet.advance(12_000)
      assert.strictEqual(running.most, probes)
      assert.isAbove(running.all, probes * 10)
    })
  }

  it("another instance probes once the lease of a crashed holder is over", () => {
    const { all: [holder, other], fleet } = opened(2, { lease: 3000 })
    holder!.call(0, takes(1000))
    fleet.advance(10)
    assert.strictEqual(record(fleet).state._tag, "HalfOpen")
    holder!.crash()
    const running = mostRunning(fleet)
    for (let at = 0; at < 6000; at += 100) fleet.world.after(at, () => other!.call(0, succeeds))
    fleet.advance(2500)
    assert.strictEqual(running.all, 0)
    fleet.advance(3500)
    assert.strictEqual(record(fleet).state._tag, "Closed")
    assert.strictEqual(other!.snapshot(0).state, "Closed")
  })

  for (const ends of ["succeeds", "fails"] as const) {
    it(`a probe that ${ends} after its lease decides for all (F1)`, () => {
      const { all: [holder, other], fleet } = opened(2, { lease: 3000 })
      holder!.call(0, { ends, takes: 60_000 })
      fleet.advance(59_000)
      assert.deepInclude(record(fleet), { openings: 1 })
      assert.strictEqual(record(fleet).state._tag, "HalfOpen")
      fleet.advance(1100)
      const state = ends === "succeeds" ? "Closed" : "Open"
      assert.strictEqual(record(fleet).state._tag, state)
      fleet.advance(1100)
      assert.strictEqual(other!.snapshot(0).state, state)
    })
  }

  it("another instance probes beside a probe that hangs, once its lease is over (F1)", () => {
    const { all: [holder, other], fleet } = opened(2, { lease: 3000 })
    holder!.call(0, takes(1_000_000))
    fleet.advance(10)
    const running = mostRunning(fleet)
    for (let at = 0; at < 6000; at += 100) fleet.world.after(at, () => other!.call(0, takes(10)))
    fleet.advance(2500)
    assert.strictEqual(running.all, 0)
    fleet.advance(3500)
    assert.strictEqual(record(fleet).state._tag, "Closed")
    assert.strictEqual(holder!.calls.size, 1)
  })

  it("probes that never end fill neither the record nor the places (F1)", () => {
    const { all, fleet } = opened(3, { lease: 2000, probes: 2 })
    const calls = (from: number) => {
      for (let at = 0; at < 300_000; at += 500) {
        fleet.world.after(from + at, () => all[at % 3]!.call(0, takes(10_000_000)))
      }
    }
    const running = mostRunning(fleet)
    calls(0)
    fleet.advance(300_000)
    const { state } = record(fleet)
    assert.isTrue(state._tag === "HalfOpen" && state.leases.length <= 60 + 2)
    assert.isAbove(running.now, 200)
    all[0]!.call(0, succeeds)
    fleet.advance(5000)
    all[0]!.call(0, succeeds)
    fleet.advance(1000)
    assert.strictEqual(record(fleet).state._tag, "Closed")
  })

  it("after an ignored probe with a hint no instance probes before the hint is over", () => {
    const { all, fleet } = opened(10, { probes: 2 })
    all[0]!.call(0, { ends: "isIgnored", takes: 0, hint: 10_000 })
    fleet.advance(100)
    const running = mostRunning(fleet)
    for (const process of all) {
      for (let at = 0; at < 11_500; at += 50) {
        fleet.world.after(at, () => process.call(0, succeeds))
      }
    }
    fleet.advance(9800)
    assert.strictEqual(running.all, 0)
    assert.strictEqual(record(fleet).state._tag, "HalfOpen")
    fleet.advance(1700)
    assert.strictEqual(record(fleet).state._tag, "Closed")
  })

  it("an instance cut off from its storage waits for the hint of its own ignored probe", () => {
    const { all: [alone], fleet } = opened(2, {})
    alone!.link.quality = { ...alone!.link.quality, cut: "refused" }
    fleet.advance(3000)
    alone!.call(0, { ends: "isIgnored", takes: 0, hint: 10_000 })
    const running = mostRunning(fleet)
    for (let at = 100; at < 11_000; at += 50) fleet.world.after(at, () => alone!.call(0, succeeds))
    fleet.advance(9900)
    assert.strictEqual(running.all, 0)
    fleet.advance(1100)
    assert.strictEqual(alone!.snapshot(0).state, "Closed")
  })

  it("three successes of three instances close the circuit", () => {
    const { all, fleet } = opened(3, { successes: 3 })
    for (const [i, process] of all.entries()) {
      assert.notStrictEqual(record(fleet).state._tag, "Closed")
      process.call(0, succeeds)
      fleet.advance(1500)
      const { state } = record(fleet)
      assert.deepStrictEqual(state, i < 2 ? { _tag: "HalfOpen", leases: [], successes: i + 1 } : { _tag: "Closed" })
    }
    fleet.advance(1100)
    for (const process of all) assert.strictEqual(process.snapshot(0).state, "Closed")
  })

  it("all instances ramp up after the circuit has closed", () => {
    const { all, fleet } = opened(3, { ramp: 10_000 })
    all[0]!.call(0, succeeds)
    fleet.advance(1100)
    const running = mostRunning(fleet)
    for (const process of all) for (let i = 0; i < 20; i++) process.call(0, succeeds)
    fleet.advance(10)
    assert.isBelow(running.all, 20)
    assert.isAbove(running.all, 3)
    fleet.advance(10_000)
    const before = running.all
    for (const process of all) for (let i = 0; i < 20; i++) process.call(0, succeeds)
    fleet.advance(10)
    assert.strictEqual(running.all - before, 60)
  })

  it("instances that hear of the closing at different times admit the same share of it, and so does one that starts meanwhile", () => {
    const { all, fleet } = opened(3, { ramp: 20_000 })
    const [first, second, late] = all
    late!.link.quality = { ...late!.link.quality, cut: "silent" }
    first!.call(0, succeeds)
    fleet.advance(8000)
    late!.link.quality = { ...late!.link.quality, cut: undefined }
    const started = fleet.start()
    started.call(0, succeeds)
    fleet.advance(2000)
    assert.strictEqual(record(fleet).state._tag, "Closed")
    const ends = [first!, second!, late!, started].map((process) => Duration.toMillis(process.snapshot(0).retryAfter!))
    for (const end of ends) assert.approximately(end, 10_000, 500, `${ends}`)
    const ran = new Map<Process, number>()
    fleet.watchers.push({
      callEnds: ({ process, startedAt }) => {
        if (startedAt !== undefined) ran.set(process, (ran.get(process) ?? 0) + 1)
      }
    })
    for (const process of [first!, second!, late!, started]) for (let i = 0; i < 20; i++) process.call(0, succeeds)
    fleet.advance(10)
    for (const process of [first!, second!, late!, started]) assert.approximately(ran.get(process) ?? 0, 10, 1)
  })

  it("an instance that closed alone during an outage does not ramp when the fleet closes", () => {
    const { all: [alone], fleet } = opened(2, { ramp: 10_000, lease: 3000 })
    alone!.link.quality = { ...alone!.link.quality, cut: "refused" }
    for (let at = 0; at < 20_000; at += 100) fleet.world.after(at, () => alone!.call(0, succeeds))
    fleet.advance(20_000)
    assert.strictEqual(alone!.snapshot(0).state, "Closed")
    assert.notStrictEqual(record(fleet).state._tag, "Closed")
    alone!.link.quality = { ...alone!.link.quality, cut: undefined }
    const calls = { ran: 0, rejected: 0 }
    fleet.watchers.push({ callEnds: ({ startedAt }) => calls[startedAt === undefined ? "rejected" : "ran"]++ })
    for (let at = 0; at < 5000; at += 10) fleet.world.after(at, () => alone!.call(0, succeeds))
    fleet.advance(5000)
    assert.strictEqual(record(fleet).state._tag, "Closed")
    assert.deepStrictEqual(calls, { ran: 500, rejected: 0 })
  })
})
