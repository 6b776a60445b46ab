/** The two promises of a fleet, with a realistic number of instances. */
import { assert, describe, it } from "@effect/vitest"
import type { Breaker } from "../../src/index.ts"
import { type Behaviour, Fleet, type Process } from "../../src/testing/internal/Fleet.ts"

const INSTANCES = 40

const succeeds: Behaviour = { ends: "succeeds", takes: 0 }
const fails: Behaviour = { ends: "fails", takes: 1 }

const fleetOf = (policy: Breaker.Data): { readonly fleet: Fleet; readonly instances: ReadonlyArray<Process> } => {
  const fleet = new Fleet({ seed: 1, circuits: [{ name: "payments", policy }] })
  const quality = { latency: 2, jitter: 3, losesRequest: 0, losesReply: 0, doubles: 0 }
  return { fleet, instances: Array.from({ length: INSTANCES }, () => fleet.start({ quality })) }
}

/** Calls of all instances, each at its own times, for so many milliseconds. */
const callAll = (
  fleet: Fleet,
  instances: ReadonlyArray<Process>,
  every: number,
  millis: number,
  behaviour: (instance: Process) => Behaviour
): void => {
  for (const [i, instance] of instances.entries()) {
    for (let at = (i / INSTANCES) * every; at < millis; at += every) {
      fleet.world.after(at, () => instance.call(0, behaviour(instance)))
    }
  }
}

const circuitOf = ({ server }: Fleet) => server.documents.get("payments")?.record

describe("40 instances", () => {
  it("40 instances go on without the one bad node among them, which isolates itself and comes back", () => {
    const { fleet, instances } = fleetOf({ openFor: "5 seconds" })
    const [bad, ...good] = instances
    let refused = 0
    fleet.watchers.push({
      callEnds: ({ process, startedAt }) => {
        if (process !== bad && startedAt === undefined) refused++
      }
    })
    callAll(fleet, instances, 50, 20_000, (instance) => instance === bad ? fails : succeeds)
    fleet.advance(2000)
    assert.isTrue(bad!.snapshot(0).isolated)
    fleet.advance(18_000)
    assert.strictEqual(refused, 0)
    assert.strictEqual(circuitOf(fleet)?.lifetime.opened, 0)
    assert.isTrue(good.every((instance) => instance.snapshot(0).state === "Closed"))
    callAll(fleet, instances, 50, 10_000, () => succeeds)
    fleet.advance(10_000)
    assert.strictEqual(bad!.snapshot(0).state, "Closed")
  })

  it("40 instances open when the dependency is down, though none has the traffic to trip by itself", () => {
    const minimumCalls = 20
    const { fleet, instances } = fleetOf({
      trip: { _tag: "FailureRate", threshold: 0.5, minimumCalls, window: { _tag: "Within", duration: "10 seconds" } },
      openFor: "5 seconds"
    })
    // Each instance makes five calls in a window.
    callAll(fleet, instances, 2000, 20_000, () => succeeds)
    fleet.advance(20_000)
    assert.strictEqual(circuitOf(fleet)?.state._tag, "Closed")
    callAll(fleet, instances, 2000, 40_000, () => fails)
    let within = 0
    while (circuitOf(fleet)?.state._tag !== "Open" && within < 40_000) {
      fleet.advance(100)
      within += 100
      const most = Math.max(...instances.map((instance) => instance.snapshot(0).windows[0]!.calls))
      assert.isBelow(most, minimumCalls)
    }
    // Half of the calls in the window have to fail, in two snapshots an interval apart.
    assert.isAtMost(within, 8000)
    fleet.advance(1100)
    assert.isTrue(instances.every((instance) => instance.snapshot(0).state === "Open"))
    assert.isTrue(instances.every((instance) => !instance.snapshot(0).isolated))
  })
})
