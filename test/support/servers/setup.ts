/**
 * Starts one server of each kind, which all tests that need servers share. The variables `REDIS_URL`, `DATABASE_URL`
 * and `MYSQL_URL` name other servers to use instead.
 */
import type { TestProject } from "vitest/node"
import { MariaDbServer } from "./mariadb.ts"
import { PostgresServer } from "./postgres.ts"
import { installRedis, RedisServer } from "./redis.ts"

declare module "vitest" {
  interface ProvidedContext {
    readonly redisUrl: string
    readonly databaseUrl: string
    readonly mysqlUrl: string
  }
}

interface Server {
  readonly url: string
  readonly stop: () => Promise<void>
}

const given = (name: string, start: () => Promise<Server>): Promise<Server> => {
  const url = process.env[name]
  return url === undefined || url === "" ? start() : Promise.resolve({ url, stop: () => Promise.resolve() })
}

export default async (project: TestProject) => {
  await installRedis()
  const started: Array<Server> = []
  const stop = async () => {
    await Promise.all(started.map((server) => server.stop()))
  }
  const provide = async (name: "redisUrl" | "databaseUrl" | "mysqlUrl", starting: Promise<Server>) => {
    const server = await starting
    started.push(server)
    project.provide(name, server.url)
  }
  const all = await Promise.allSettled([
    provide("redisUrl", given("REDIS_URL", () => RedisServer.start())),
    provide("databaseUrl", given("DATABASE_URL", () => PostgresServer.start())),
    provide("mysqlUrl", given("MYSQL_URL", () => MariaDbServer.start()))
  ])
  const failed = all.find((result) => result.status === "rejected")
  if (failed !== undefined) {
    await stop()
    throw failed.reason
  }
  return stop
}
