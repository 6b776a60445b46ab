import * as IoRedis from "../../src/layers/IoRedis.ts"
import { serverUrl } from "../support/servers/shared.ts"
import { conforms } from "./laws.ts"

conforms({ name: "one Redis", client: () => IoRedis.layer(IoRedis.fromUrl(serverUrl("redis"))) })
