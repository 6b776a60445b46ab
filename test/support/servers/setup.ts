/** Once for all tests that need servers: the programs, and one Redis that they share. `REDIS_URL` names another to use. */
import type { TestProject } from "vitest/node"
import { installRedis, RedisServer } from "./redis.ts"

declare module "vitest" {
  interface ProvidedContext {
    readonly redisUrl: string
  }
}

export default async (project: TestProject) => {
  await installRedis()
  const given = process.env["REDIS_URL"]
  if (given !== undefined && given !== "") {
    project.provide("redisUrl", given)
    return () => Promise.resolve()
  }
  const server = await RedisServer.start()
  project.provide("redisUrl", server.url)
  return () => server.stop()
}
