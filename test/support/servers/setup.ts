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
  const [redis, postgres, mysql] = await Promise.all([
    given("REDIS_URL", () => RedisServer.start()),
    given("DATABASE_URL", () => PostgresServer.start()),
    given("MYSQL_URL", () => MariaDbServer.start())
  ])
  project.provide("redisUrl", redis.url)
  project.provide("databaseUrl", postgres.url)
  project.provide("mysqlUrl", mysql.url)
  return async () => {
    await Promise.all([redis.stop(), postgres.stop(), mysql.stop()])
  }
}
