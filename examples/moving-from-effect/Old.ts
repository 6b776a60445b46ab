/** Effect's own breaker on Redis, as the shop has it today. */
import { Layer } from "effect"
import { CircuitBreaker } from "effect/persistence"
import * as IoRedis from "../../src/layers/IoRedis.ts"

export const OldLive = CircuitBreaker.layer({
  tripPolicy: CircuitBreaker.consecutive(3),
  openDuration: "300 millis"
}).pipe(
  Layer.provide(CircuitBreaker.layerStoreRedis()),
  Layer.provide(IoRedis.layerConfig())
)
