import { inject } from "vitest"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import { conforms } from "./laws.ts"

conforms({ name: "one Redis", client: () => IoRedis.layer(IoRedis.fromUrl(inject("redisUrl"))) })
