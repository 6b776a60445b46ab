import { setTimeout as sleep } from "node:timers/promises"
import { RedisSentinels } from "../support/servers/redis.ts"
import type { Server, Trouble } from "./server.ts"

/** A Redis with a replica, under three Sentinels. */
export const startRedis = async (): Promise<Server> => {
  const redis = await RedisSentinels.start()

  const standsStill = (millis: number, losesData: boolean): Trouble => ({
    what: `Redis stands still for ${millis} ms`,
    losesData,
    inflict: async () => {
      const master = await redis.master()
      master.pause()
      await sleep(millis)
      master.resume()
      if (losesData) await redis.healed()
    }
  })

  const crash: Trouble = {
    what: "Redis is killed, and its replica takes over",
    losesData: true,
    inflict: async () => {
      const master = await redis.master()
      await master.kill()
      await redis.otherThan(master)
      await redis.healed()
    }
  }

  const amnesia: Trouble = {
    what: "Redis is killed, and starts again empty",
    losesData: true,
    inflict: async () => {
      const master = await redis.master()
      await Promise.all(redis.servers.map((server) => server.kill()))
      await master.restart()
      await redis.healed()
    }
  }

  const failover: Trouble = {
    what: "the replica takes over",
    losesData: true,
    inflict: async () => {
      const master = await redis.master()
      await redis.failover()
      await redis.otherThan(master)
      await redis.healed()
    }
  }

  return {
    storage: { kind: "redis", url: redis.url },
    stored: async (circuit) => {
      const fields = ["generation", "success_count", "failure_count", "rejected_count"]
      const values = await redis.cli("HMGET", `circuit_breaker:{${circuit}}`, ...fields)
      const [generation, success, failure, rejected] = values.split("\n").map(Number)
      return { generation: generation!, success: success!, failure: failure!, rejected: rejected! }
    },
    // So short that no Sentinel notices.
    hiccup: (rng) => standsStill(rng.int(50, 600), false),
    troubles: [() => crash, () => amnesia, (rng) => standsStill(rng.int(1500, 6000), true), () => failover],
    stop: () => redis.stop()
  }
}
