import { assert, it } from "@effect/vitest"
import { startRedis } from "./redis.ts"
import { runDrill } from "./run.ts"

const seed = Math.floor(Math.random() * 1e6)

it(`eight processes keep what is promised while processes and servers fall (seed ${seed})`, async () => {
  const { broken, calls } = await runDrill({ start: startRedis, seed, seconds: 5 })
  assert.deepEqual(broken, [], `again with: npm run test:fleet -- --rounds 1 --seconds 5 --seed ${seed}`)
  assert.isAbove(Math.max(...calls), 1000)
}, 240_000)
