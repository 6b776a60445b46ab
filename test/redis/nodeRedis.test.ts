import { NodeRedis } from "@effect/platform-node"
import { serverUrl } from "../support/servers/shared.ts"
import { conforms } from "./laws.ts"

conforms({ name: "one Redis, by node-redis", client: () => NodeRedis.layer({ url: serverUrl("redis") }) })
