/**
 * Starts one server of each kind for each worker. The variables `REDIS_URL`, `DATABASE_URL` and `MYSQL_URL` name other
 * servers to use instead.
 */
import type { TestProject } from "vitest/node"
import { MariaDbServer } from "./mariadb.ts"
import { PostgresServer } from "./postgres.ts"
import { installRedis, RedisServer } from "./redis.ts"
import type { ServerUrls } from "./shared.ts"

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
  const urlOf = async (starting: Promise<Server>): Promise<string> => {
    const server = await starting
    started.push(server)
    return server.url
  }
  const start = async (): Promise<ServerUrls> => {
    const redis = urlOf(given("REDIS_URL", () => RedisServer.start()))
    const postgres = urlOf(given("DATABASE_URL", () => PostgresServer.start()))
    const mysql = urlOf(given("MYSQL_URL", () => MariaDbServer.start()))
    // All have started, or failed to, before the first failure is thrown, so that none is left behind.
    await Promise.allSettled([redis, postgres, mysql])
    return { redis: await redis, postgres: await postgres, mysql: await mysql }
  }
  try {
    const servers: Array<ServerUrls> = []
    for (let worker = 0; worker < project.config.maxWorkers; worker++) servers.push(await start())
    project.provide("servers", servers)
  } catch (error) {
    await stop()
    throw error
  }
  return stop
}
