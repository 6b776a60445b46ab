import { NodeRedis } from "@effect/platform-node"
import { inject } from "vitest"
import { conforms } from "./laws.ts"

conforms({ name: "one Redis, by node-redis", client: () => NodeRedis.layer({ url: inject("redisUrl") }) })
