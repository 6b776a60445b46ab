/** The Redis that is measured, its own statistics, and a proxy that slows it down. */
import { Effect, Scope } from "effect"
import * as Redis from "effect/persistence/Redis"
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import { RedisServer } from "../../test/support/servers/redis.ts"
import { given, type Server } from "../fleet/server.ts"

/** The server of `REDIS_URL`, or a new one. */
export const startServer = (): Promise<Server> => given("REDIS_URL", () => RedisServer.start())

const redisUrl = () => process.env["REDIS_URL"]!

/** The work of a server since it was started. */
export interface Work {
  /** Commands, including those that scripts run. */
  readonly commands: number
  /** Scripts that clients sent. */
  readonly scripts: number
  readonly cpuMillis: number
}

export const watchWork = async (): Promise<() => Promise<Work>> => {
  const context = await Effect.runPromise(Scope.provide(IoRedis.make(IoRedis.fromUrl(redisUrl())), Scope.makeUnsafe()))
  const { send } = await Effect.runPromise(Effect.provide(Redis.Redis, context))
  return async () => {
    const info = await Effect.runPromise(send<string>("INFO", "all"))
    const sum = (pattern: RegExp) => [...info.matchAll(pattern)].reduce((total, [, n]) => total + Number(n), 0)
    return {
      commands: sum(/^cmdstat_(?!info:)[^:]+:calls=(\d+)/gm),
      scripts: sum(/^cmdstat_eval(?:sha)?:calls=(\d+)/gm),
      cpuMillis: 1000 * sum(/^used_cpu_(?:user|sys):([\d.]+)/gm)
    }
  }
}

/** Starts a proxy that delays every answer. With `Infinity` no answer arrives. */
export const startSlowWay = async (millis: number): Promise<Server> => {
  const { hostname, port } = new URL(redisUrl())
  const sockets = new Set<Socket>()
  const proxy = createServer((client) => {
    const upstream = connect(Number(port || 6379), hostname)
    for (const [socket, other] of [[client, upstream], [upstream, client]] as const) {
      sockets.add(socket)
      socket.on("error", () => other.destroy())
      socket.on("close", () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
    client.on("data", (data) => upstream.write(data))
    upstream.on("data", (data) => {
      if (Number.isFinite(millis)) setTimeout(() => client.write(data), millis)
    })
  })
  proxy.listen(0, "127.0.0.1")
  await once(proxy, "listening")
  const slow = new URL(redisUrl())
  slow.hostname = "127.0.0.1"
  slow.port = String((proxy.address() as AddressInfo).port)
  return {
    url: slow.href,
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      proxy.close()
    }
  }
}
