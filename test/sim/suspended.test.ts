/** Processes whose machine is suspended: their monotonic clock and their timers stand still, all others go on. */
import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import type { Breaker, Trip } from "../../src/index.ts"
import { type Behaviour, Fleet, type FleetOptions, type Process } from "../../src/testing/internal/Fleet.ts"
import { perfect } from "../../src/testing/internal/Link.ts"
import type { Handled } from "../../src/testing/internal/Server.ts"
import { Invariants } from "./invariants.ts"
import { fails, succeeds } from "./nodes.ts"

const HOUR = 3_600_000

const consecutive = (failures: number): Trip.Trip => ({ _tag: "ConsecutiveFailures", failures })

const fleetOf = (policy: Breaker.Data, options: Partial<FleetOptions> = {}) => {
  const fleet = new Fleet({ seed: 1, circuits: [{ name: "c", policy }], ...options })
  const [one, two] = [fleet.start(), fleet.start()]
  return { fleet, invariants: new Invariants(fleet), one, two }
}

const stored = ({ server }: Fleet) => server.documents.get("c")?.record

const call = (process: Process, behaviour: Behaviour, times = 1): void => {
  for (let i = 0; i < times; i++) process.call(0, behaviour)
}

/** Suspends a process for so long. Another calls once a minute meanwhile, so that the circuit stays in use. */
const sleep = (fleet: Fleet, process: Process, awake: Process | undefined, millis: number): void => {
  process.machine.suspend()
  for (let left = millis; left > 0; left -= 60_000) {
    if (awake !== undefined) call(awake, succeeds)
    fleet.advance(Math.min(left, 60_000))
  }
  process.machine.resume()
}

/** The answers to a process are lost from now on, or again arrive. */
const lose = (process: Process, losesReply: number): void => {
  process.link.quality = { ...perfect, losesReply }
}

const failuresWithin = (count: number, within: number): Trip.Trip => ({ _tag: "Failures", count, within })

const reportsOf = (fleet: Fleet, process: Process): Array<Handled> => {
  const reports: Array<Handled> = []
  fleet.watchers.push({
    handled: (handled) => {
      if (handled.from === process.index && handled.input._tag === "Report") reports.push(handled)
    }
  })
  return reports
}

const lost = (process: Process): number => process.snapshot(0).fleet?.lost ?? 0

describe("a process that was suspended", () => {
  for (const millis of [2 * HOUR, HOUR, HOUR / 2 + 10_000]) {
    it(`a report whose answer was lost counts once after a sleep of ${millis / 60_000} minutes (F9)`, () => {
      const { fleet, invariants, one, two } = fleetOf({ trip: failuresWithin(100, 60_000) })
      for (const process of [one, two]) call(process, succeeds)
      fleet.advance(2000)
      lose(one, 1)
      call(one, fails, 3)
      fleet.advance(100)
      assert.strictEqual(stored(fleet)?.lifetime.failure, 3)
      sleep(fleet, one, two, millis)
      lose(one, 0)
      fleet.advance(5000)
      assert.strictEqual(stored(fleet)?.lifetime.failure, 3)
      assert.strictEqual(two.snapshot(0).fleet?.windows[0]?.failures, 0)
      // Whether they were counted is not known to it any more, unless the storage still recognizes the report.
      assert.strictEqual(lost(one), millis < HOUR ? 0 : 3)
      assert.deepStrictEqual(invariants.broken, [])
    })
  }

  for (const isLoaded of [true, false]) {
    it(`failures that were not sent are as old as they are, ${isLoaded ? "with" : "without"} an answer before (F9)`, () => {
      for (const millis of [10_000, 20 * 60_000, 2 * HOUR]) {
        const { fleet, invariants, one, two } = fleetOf({ trip: failuresWithin(2, 5000) })
        call(two, succeeds)
        if (isLoaded) call(one, succeeds)
        else fleet.server.unavailable.add("c")
        fleet.advance(2000)
        call(one, fails)
        fleet.advance(10)
        sleep(fleet, one, isLoaded ? two : undefined, millis)
        fleet.server.unavailable.clear()
        call(two, succeeds)
        fleet.advance(20)
        call(two, fails)
        for (let i = 0; i < 6; i++) {
          fleet.advance(500)
          assert.isAtMost(two.snapshot(0).fleet!.windows[0]?.failures ?? 0, 1)
        }
        assert.strictEqual(stored(fleet)?.generation, 0)
        assert.deepStrictEqual(invariants.broken, [])
      }
    })
  }

  it("a report that is refused because it is too late is given up once, and the next one counts (F9)", () => {
    const { fleet, one, two } = fleetOf({ trip: failuresWithin(100, 60_000) })
    for (const process of [one, two]) call(process, succeeds)
    fleet.advance(2000)
    const reports = reportsOf(fleet, one)
    call(one, fails, 2)
    fleet.advance(10)
    sleep(fleet, one, two, 2 * HOUR)
    fleet.advance(3000)
    call(one, fails, 5)
    fleet.advance(3000)
    assert.strictEqual(stored(fleet)?.lifetime.failure, 5)
    assert.strictEqual(lost(one), 2)
    assert.isAtLeast(reports.length, 2)
  })

  it("an open time, an override and its expiry end with the first answer after the sleep (F9)", () => {
    const { fleet, invariants, one, two } = fleetOf({ trip: consecutive(1), evidence: "any", openFor: "5 minutes" })
    call(two, succeeds)
    call(one, fails)
    fleet.advance(3000)
    assert.strictEqual(one.snapshot(0).state, "Open")
    assert.strictEqual(two.snapshot(0).fleet?.state, "Open")
    sleep(fleet, one, two, 4 * 60_000 + 50_000)
    fleet.advance(2000)
    const { retryAfter } = one.snapshot(0)
    assert.isAtMost(Duration.toMillis(retryAfter!), 10_000)

    two.operate(
      0,
      (breaker) => breaker.override({ mode: "ForcedOpen", reason: "drill", actor: "ann", expiresIn: "1 minute" })
    )
    fleet.advance(3000)
    assert.strictEqual(one.snapshot(0).override?.mode, "ForcedOpen")
    sleep(fleet, one, two, 2 * 60_000)
    fleet.advance(2000)
    call(one, succeeds)
    fleet.advance(10)
    assert.isUndefined(one.snapshot(0).override)
    assert.deepStrictEqual(invariants.broken, [])
  })

  it("a probe that is running holds no place of the fleet's while its process sleeps (F9)", () => {
    const { fleet, invariants, one, two } = fleetOf({
      trip: consecutive(1),
      evidence: "any",
      openFor: "5 seconds",
      halfOpen: { lease: "10 seconds" }
    })
    call(two, succeeds)
    call(one, fails)
    fleet.advance(6000)
    one.call(0, { ends: "fails", takes: 5000 })
    fleet.advance(1000)
    assert.strictEqual(stored(fleet)?.state._tag, "HalfOpen")
    one.machine.suspend()
    fleet.advance(15_000)
    call(two, succeeds)
    fleet.advance(1000)
    assert.strictEqual(stored(fleet)?.state._tag, "Closed")
    one.machine.resume()
    fleet.advance(20_000)
    assert.strictEqual(stored(fleet)?.state._tag, "Closed", "its failure is late")
    assert.strictEqual(one.snapshot(0).state, "Closed")
    assert.deepStrictEqual(invariants.broken, [])
  })

  it("what a process knew before a sleep longer than the idle time is not put back (F9)", () => {
    for (const [slept, expected] of [[2 * HOUR, "Closed"], [60_000, "Open"]] as const) {
      const { fleet, invariants, one } = fleetOf({ trip: consecutive(1), evidence: "any", openFor: "30 minutes" })
      call(one, fails)
      fleet.advance(3000)
      assert.strictEqual(stored(fleet)?.state._tag, "Open")
      sleep(fleet, one, undefined, slept)
      invariants.upset()
      fleet.server.wipe()
      fleet.advance(3000)
      assert.strictEqual(stored(fleet)?.state._tag ?? "Closed", expected)
      assert.strictEqual(one.snapshot(0).state, expected)
    }
  })

  it("the first call after a sleep loads the view that is older than maxAge (F9)", () => {
    const { fleet, one, two } = fleetOf({ trip: consecutive(1), evidence: "any", consistency: { maxAge: 60_000 } })
    for (const process of [one, two]) call(process, succeeds)
    fleet.advance(2000)
    one.machine.suspend()
    call(two, fails)
    fleet.advance(10 * 60_000)
    two.operate(0, (breaker) => breaker.override({ mode: "ForcedOpen", reason: "drill", actor: "ann" }))
    fleet.advance(1000)
    const ran: Array<boolean> = []
    fleet.watchers.push({
      callEnds: ({ process, startedAt }) => process === one && ran.push(startedAt !== undefined)
    })
    call(one, succeeds)
    one.machine.resume()
    fleet.advance(10)
    assert.deepStrictEqual(ran, [false])
  })
})
