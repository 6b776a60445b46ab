/**
 * Once for all tests that need servers: the programs, and one server of each kind that they share. `REDIS_URL`, `DATABASE_URL`
 * and `MYSQL_URL` name others to use.
 */
import type { TestProject } from "vitest/node"
import { PostgresServer } from "./postgres.ts"
import { installRedis, RedisServer } from "./redis.ts"

declare module "vitest" {
  interface ProvidedContext {
    readonly redisUrl: string
    readonly databaseUrl: string
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
  const [redis, postgres] = await Promise.all([
    given("REDIS_URL", () => RedisServer.start()),
    given("DATABASE_URL", () => PostgresServer.start())
  ])
  project.provide("redisUrl", redis.url)
  project.provide("databaseUrl", postgres.url)
  return async () => {
    await Promise.all([redis.stop(), postgres.stop()])
  }
}
