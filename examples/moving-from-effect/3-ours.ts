/** Step 3: the old one is gone. */
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { RedisStorageLive } from "../../src/layers/RedisStorageLive.ts"
import { Payments } from "./Payments.ts"
import { morning } from "./Shop.ts"

morning(Payments.wrap).pipe(
  Effect.provide(Payments.layer),
  Effect.provide(RedisStorageLive),
  NodeRuntime.runMain
)
