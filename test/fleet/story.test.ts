import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { until } from "../support/machine.ts"
import { RedisServer } from "../support/servers/redis.ts"
import { Fleet, type Process } from "./fleet.ts"
import type { Call } from "./log.ts"

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start()
})
afterAll(() => server.stop())

const INTERVAL = 500

const fleetWith = (evidence: "any" | "pooled", syncEvery = INTERVAL) =>
  Fleet.of({
    storage: { kind: "redis", url: server.url },
    policies: {
      [evidence]: {
        trip: { _tag: "ConsecutiveFailures", failures: 5 },
        openFor: "1 hour",
        evidence,
        syncEvery
      }
    }
  })

const isInRedis = (circuit: string, field: string, value: string) => async () =>
  await server.cli("HGET", `circuit_breaker:{${circuit}}`, field) === value

/** How long a call waits at most for its circuit to load. */
const PATIENCE_MILLIS = 100
/** How much too early a timer may fire. */
const EARLY_MILLIS = 10

/**
 * Starts a process and makes its first call. If the machine was too slow to load the circuit in time, another process
 * makes the call.
 */
const firstCall = async (
  fleet: Fleet,
  circuit: string
): Promise<{ readonly process: Process; readonly call: Call }> => {
  const process = await fleet.start()
  const call = await process.request("call", { circuit })
  return call.ended !== "rejected" && (call.startedAt ?? 0) - call.at > PATIENCE_MILLIS - EARLY_MILLIS
    ? firstCall(fleet, circuit)
    : { process, call }
}

describe.each(["any", "pooled"] as const)("a fleet on Redis, evidence %s", (circuit) => {
  it(`a circuit that one process opens is open for a process that saw no failure, evidence ${circuit}`, async () => {
    await server.cli("FLUSHALL")
    const fleet = await fleetWith(circuit)
    try {
      const { upstream } = fleet
      const [a, used] = [await fleet.start(), await fleet.start()]
      assert.strictEqual((await used.request("call", { circuit })).ended, "ok")
      // A success that is reported later would end the streak of failures.
      await until("the success is stored in Redis", isInRedis(circuit, "success_count", "1"))
      upstream.be(circuit, { failing: 1 })

      // The circuit opens for A.
      for (let i = 0; i < 5; i++) assert.strictEqual((await a.request("call", { circuit })).ended, "failed")
      await until("the circuit is open for A", async () => (await a.request("look", { circuit })).state === "Open")
      // Redis stores the open state.
      await until("the circuit is open in Redis", isInRedis(circuit, "state", "open"))
      // B saw no failure. It loads the open state and rejects its first call.
      const b = await firstCall(fleet, circuit)
      assert.strictEqual(b.call.ended, "rejected")
      const calls = upstream.calls.get(circuit)
      const { counts, openedBy, state } = await b.process.request("look", { circuit })
      assert.deepEqual([state, openedBy, counts], ["Open", "fleet", { success: 0, failure: 0, rejected: 1 }])
      // A process that used the circuit before rejects, too.
      await until(
        "the process that used the circuit before has the open state",
        async () => (await used.request("look", { circuit })).state === "Open"
      )
      assert.strictEqual((await used.request("call", { circuit })).ended, "rejected")
      assert.strictEqual(upstream.calls.get(circuit), calls)
    } finally {
      await fleet.stop()
    }
  })
})

it("a circuit that opens is announced to a process that would read it an hour later", async () => {
  await server.cli("FLUSHALL")
  const circuit = "any"
  const fleet = await fleetWith(circuit, 3_600_000)
  try {
    const [a, b] = [await fleet.start(), await fleet.start()]
    await b.request("call", { circuit })
    fleet.upstream.be(circuit, { failing: 1 })
    for (let i = 0; i < 5; i++) await a.request("call", { circuit })
    await until("b has the open state", async () => (await b.request("look", { circuit })).state === "Open")
    assert.strictEqual((await b.request("call", { circuit })).ended, "rejected")
  } finally {
    await fleet.stop()
  }
})
