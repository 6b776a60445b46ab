import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { until } from "../support/servers/processes.ts"
import { RedisServer } from "../support/servers/redis.ts"
import { Fleet } from "./fleet.ts"

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

describe.each(["any", "pooled"] as const)("a circuit of two processes, with evidence %s", (circuit) => {
  it("that one of them opens is open for the other, which saw nothing", async () => {
    await server.cli("FLUSHALL")
    const fleet = await fleetWith(circuit)
    try {
      const { upstream } = fleet
      const [a, used] = [await fleet.start(), await fleet.start()]
      assert.strictEqual((await used.ask("call", { circuit })).ended, "ok")
      // A success that is told of later would end the row of failures.
      await until("its success is in Redis", isInRedis(circuit, "success_count", "1"))
      upstream.be(circuit, { failing: 1 })

      // A opens.
      for (let i = 0; i < 5; i++) assert.strictEqual((await a.ask("call", { circuit })).ended, "failed")
      assert.strictEqual((await a.ask("look", { circuit })).state, "Open")
      // The state is in Redis.
      await until("it is open in Redis", isInRedis(circuit, "state", "open"))
      // B, which saw nothing, uses the service, has the open state, and rejects at once.
      const calls = upstream.calls.get(circuit)
      const b = await fleet.start()
      const first = await b.ask("call", { circuit })
      assert.strictEqual(first.ended, "rejected")
      const { counts, openedBy, state } = await b.ask("look", { circuit })
      assert.deepEqual([state, openedBy, counts], ["Open", "fleet", { success: 0, failure: 0, rejected: 1 }])
      // So does one that had used it before, and hears of it.
      await until("it is heard of", async () => (await used.ask("look", { circuit })).state === "Open")
      assert.strictEqual((await used.ask("call", { circuit })).ended, "rejected")
      assert.strictEqual(upstream.calls.get(circuit), calls)
    } finally {
      await fleet.stop()
    }
  })
})

it("what one opens others hear of at once, however seldom they ask", async () => {
  await server.cli("FLUSHALL")
  const circuit = "any"
  const fleet = await fleetWith(circuit, 3_600_000)
  try {
    const [a, b] = [await fleet.start(), await fleet.start()]
    await b.ask("call", { circuit })
    fleet.upstream.be(circuit, { failing: 1 })
    for (let i = 0; i < 5; i++) await a.ask("call", { circuit })
    await until("b hears of it", async () => (await b.ask("look", { circuit })).state === "Open")
    assert.strictEqual((await b.ask("call", { circuit })).ended, "rejected")
  } finally {
    await fleet.stop()
  }
})
