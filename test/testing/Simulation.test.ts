import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { CurrentRegistry } from "../../src/internal/Registered.ts"
import { Simulation } from "../../src/testing.ts"

const succeeds: Simulation.Behaviour = { ends: "succeeds" }
const fails: Simulation.Behaviour = { ends: "fails" }

const trip = { _tag: "ConsecutiveFailures", failures: 3 } as const
const policy = { trip, openFor: "5 seconds", evidence: "any" } as const

/** A fleet of which every instance has made a call, so that it follows the circuit. */
const inUse = (options: Simulation.Options) => {
  const fleet = Simulation.make(options)
  for (const instance of fleet.instances) instance.call(succeeds)
  fleet.advance("5 seconds")
  return fleet
}

/** Opens the circuit by the first instance. */
const failThrice = (fleet: Simulation.Simulation) => {
  for (let i = 0; i < 3; i++) fleet.instances[0]!.call(fails)
  return fleet.advance("1 second")
}

const statesOf = ({ instances }: Simulation.Simulation) => instances.map(({ state }) => state)

describe("a simulated fleet", () => {
  it("one instance opens the circuit for all, and one probe closes it", () => {
    const fleet = inUse({ policy })
    assert.deepStrictEqual(failThrice(fleet), { calls: 3, ran: 3, succeeded: 0, failed: 3, rejected: 0 })
    assert.deepStrictEqual(statesOf(fleet), ["Open", "Open", "Open"])
    fleet.instances[2]!.call(succeeds)
    assert.deepStrictEqual(fleet.advance("5 seconds"), { calls: 1, ran: 0, succeeded: 0, failed: 0, rejected: 1 })
    fleet.instances[1]!.call(succeeds)
    assert.strictEqual(fleet.advance("1 second").succeeded, 1)
    assert.deepStrictEqual(statesOf(fleet), ["Closed", "Closed", "Closed"])
    const changes = fleet.transitions.map(({ from, instance, to }) => `${instance} ${from} ${to}`)
    assert.deepStrictEqual(changes.slice(0, 1), ["0 Closed Open"])
    assert.includeMembers(changes, ["1 Open HalfOpen", "1 HalfOpen Closed", "2 Closed Open"])
    assert.deepStrictEqual(
      fleet.transitions.map(({ at }) => at),
      fleet.transitions.map(({ at }) => at).toSorted((a, b) => a - b)
    )
    assert.strictEqual(fleet.now, 12_000)
  })

  it("equal options and equal steps give equal results, and another seed gives others", () => {
    const run = (seed: number) => {
      const fleet = Simulation.make({ policy: { openFor: "3 seconds" }, instances: 4, seed })
      fleet.set({ latency: "20 millis", losesRequests: 0.1, losesReplies: 0.1 })
      fleet.traffic({
        perSecond: 50,
        behaviour: ({ index }) => ({
          ends: index < 2 || fleet.now % 20_000 < 10_000 ? "fails" : "succeeds",
          takes: "30 millis"
        })
      })
      const counts = fleet.advance("1 minute")
      return { counts, transitions: fleet.transitions }
    }
    const first = run(1)
    assert.deepStrictEqual(run(1), first)
    assert.notDeepEqual(run(2), first)
    assert.isAbove(first.transitions.length, 4)
    assert.isAtLeast(first.counts.calls, 2800)
    assert.isAtMost(first.counts.calls, 3200)
  })

  it("traffic ends when it is told to, and reaches no instance that has crashed", () => {
    const fleet = Simulation.make({ policy, instances: 2 })
    const reached = new Set<number>()
    const stop = fleet.traffic({
      perSecond: 100,
      behaviour: ({ index }) => {
        reached.add(index)
        return succeeds
      }
    })
    fleet.instances[0]!.crash()
    assert.isAbove(fleet.advance("10 seconds").succeeded, 800)
    assert.deepStrictEqual([...reached], [1])
    assert.isFalse(fleet.instances[0]!.isAlive)
    stop()
    assert.strictEqual(fleet.advance("10 seconds").calls, 0)
    fleet.instances[0]!.call(succeeds)
    assert.strictEqual(fleet.advance("1 second").calls, 0)
  })

  it("an instance that is cut off does not hear of the others, and does once it is back", () => {
    const fleet = inUse({ policy })
    fleet.instances[2]!.set({ outage: "silent" })
    failThrice(fleet)
    assert.deepStrictEqual(statesOf(fleet), ["Open", "Open", "Closed"])
    fleet.instances[2]!.set({})
    fleet.instances[2]!.call(succeeds)
    fleet.advance("3 seconds")
    assert.deepStrictEqual(statesOf(fleet), ["Open", "Open", "Open"])
  })

  it("while the storage is away an instance opens for itself, and one that joins has the faults of all", () => {
    const fleet = Simulation.make({ policy })
    fleet.set({ outage: "refused" })
    failThrice(fleet)
    assert.isTrue(fleet.instances[0]!.snapshot.isolated)
    const joined = fleet.start()
    joined.call(succeeds)
    fleet.advance("3 seconds")
    assert.deepStrictEqual(statesOf(fleet), ["Open", "Closed", "Closed", "Closed"])
    assert.isFalse(joined.snapshot.fleet?.reachable)
  })

  it("a storage that loses its data, at once or by a failover, gets the open circuit back", () => {
    for (const lose of ["wipe", "failover"] as const) {
      const fleet = Simulation.make({ policy: { ...policy, openFor: "1 minute" } })
      failThrice(fleet)
      if (lose === "wipe") fleet.wipe()
      else fleet.failover({ behind: "30 minutes" })
      const joined = fleet.start()
      joined.call(succeeds)
      for (const instance of fleet.instances) instance.call(fails)
      fleet.advance("5 seconds")
      assert.deepStrictEqual(statesOf(fleet).slice(0, 3), ["Open", "Open", "Open"])
    }
  })

  it("a paused instance makes its calls when it is resumed, and one that stops reports before", () => {
    const fleet = Simulation.make({ policy, instances: 2 })
    const [first, second] = fleet.instances
    first!.pause()
    first!.call(succeeds)
    assert.deepInclude(fleet.advance("10 seconds"), { calls: 1, ran: 0 })
    first!.resume()
    assert.deepInclude(fleet.advance("1 second"), { ran: 1, succeeded: 1 })
    second!.call(succeeds)
    fleet.advance("100 millis")
    second!.stop()
    fleet.advance("5 seconds")
    first!.call(succeeds)
    fleet.advance("1 minute")
    assert.strictEqual(first!.snapshot.fleet?.statistics.success, 3)
  })

  it("an operator's act through one instance holds for all", () => {
    const fleet = Simulation.make({ policy })
    fleet.instances[0]!.operate((breaker) => breaker.override({ mode: "ForcedOpen", reason: "drill", actor: "ann" }))
    fleet.advance("1 second")
    for (const instance of fleet.instances) instance.call(succeeds)
    assert.strictEqual(fleet.advance("1 second").rejected, 3)
  })

  it("a call counts as it ends: with a defect as failed, and ignored as neither success nor trip", () => {
    const fleet = Simulation.make({ policy, instances: 1 })
    const [one] = fleet.instances
    for (const ends of ["dies", "isIgnored", "isIgnored", "isIgnored"] as const) one!.call({ ends, takes: 10 })
    assert.deepStrictEqual(fleet.advance("1 second"), { calls: 4, ran: 4, succeeded: 0, failed: 4, rejected: 0 })
    assert.deepInclude(one!.snapshot.statistics, { failure: 1, ignored: 3 })
    assert.strictEqual(one!.state, "Closed")
  })

  it("a failure's hint lengthens the open time", () => {
    const fleet = Simulation.make({ policy, instances: 1 })
    for (let i = 0; i < 3; i++) fleet.instances[0]!.call({ ends: "fails", retryAfter: "1 minute" })
    fleet.advance("30 seconds")
    fleet.instances[0]!.call(succeeds)
    assert.strictEqual(fleet.advance("1 second").rejected, 1)
  })

  it.effect("simulated breakers are not among those of the process", () =>
    Effect.gen(function*() {
      const registry = yield* CurrentRegistry
      const before = [...(yield* registry.breakers)].length
      failThrice(Simulation.make({ policy }))
      assert.strictEqual([...(yield* registry.breakers)].length, before)
    }))

  it("what makes no sense is refused at once, with field, value and range", () => {
    const fleet = Simulation.make({ policy, instances: 1 })
    const [one] = fleet.instances
    const refused: ReadonlyArray<readonly [act: () => unknown, message: RegExp]> = [
      [
        () => Simulation.make({ policy, instances: 0 }),
        /Simulation: instances must be a whole number from 1 to 1000, got 0/
      ],
      [() => Simulation.make({ policy, seed: 1.5 }), /seed must be a whole number at least 0, got 1.5/],
      [() => Simulation.make({ policy: { openFor: -1 } }), /openFor/],
      [() => Simulation.make({ policy, seeds: 1 } as never), /seeds must be left out.*did you mean seed/],
      [() => fleet.advance(-1), /Simulation.advance: duration must be a finite duration from 0 ms/],
      [() => fleet.advance("forever" as never), /Simulation.advance: duration must be/],
      [
        () => fleet.traffic({ perSecond: 0, behaviour: () => succeeds }),
        /perSecond must be a number above 0 and at most 100000, got 0/
      ],
      [() => fleet.traffic({ perSecond: NaN, behaviour: () => succeeds }), /perSecond must be .* got NaN/],
      [
        () => one!.call({ ends: "hangs" as never }),
        /ends must be one of succeeds, fails, isIgnored, dies, got "hangs"/
      ],
      [() => one!.call({ ends: "fails", takes: Infinity }), /takes must be a finite duration/],
      [() => one!.set({ losesReplies: 2 }), /Simulation.set: losesReplies must be a rate in \[0, 1\], got 2/],
      [() => fleet.set({ latency: "2 years" as never }), /latency must be/],
      [
        () => fleet.failover({ behind: "2 days" }),
        /Simulation.failover: behind must be a finite duration from 0 ms to 86400000 ms/
      ]
    ]
    for (const [act, message] of refused) assert.throws(act, message)
  })
})
