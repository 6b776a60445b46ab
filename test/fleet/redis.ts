import { setTimeout as sleep } from "node:timers/promises"
import { RedisSentinels } from "../support/servers/redis.ts"
import type { Server, Trouble } from "./server.ts"

/** A Redis with a replica, under three Sentinels. */
export const startRedis = async (): Promise<Server> => {
  const redis = await RedisSentinels.start()

  const hangs = (millis: number): Trouble => ({
    what: `Redis hangs for ${millis} ms`,
    inflict: async () => {
      const master = await redis.master()
      master.pause()
      await sleep(millis)
      master.resume()
    }
  })

  const hangsAndIsReplaced = (millis: number): Trouble => ({
    what: `Redis hangs, its replica takes over, and it is back after ${millis} ms`,
    losesData: true,
    inflict: async () => {
      const master = await redis.master()
      master.pause()
      await redis.failover()
      await sleep(millis)
      master.resume()
      await redis.healed()
    }
  })

  const crash: Trouble = {
    what: "Redis is killed, and its replica takes over",
    losesData: true,
    inflict: async () => {
      const master = await redis.master()
      await master.kill()
      await redis.failover()
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
      await redis.failover()
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
    hiccup: (rng) => hangs(rng.int(50, 600)),
    troubles: [
      () => crash,
      () => amnesia,
      (rng) => hangs(rng.int(1500, 6000)),
      (rng) => hangsAndIsReplaced(rng.int(0, 3000)),
      () => failover
    ],
    stop: () => redis.stop()
  }
}
