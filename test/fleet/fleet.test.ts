import { assert, it } from "@effect/vitest"
import { startPostgres } from "./postgres.ts"
import { startRedis } from "./redis.ts"
import { runDrill } from "./run.ts"

const seed = Math.floor(Math.random() * 1e6)

for (const [name, start] of [["redis", startRedis], ["postgres", startPostgres]] as const) {
  it(`eight processes on ${name} keep the promises of the protocol while processes and servers fail, seed ${seed}`, async () => {
    const { broken } = await runDrill({ start, seed, seconds: 5 })
    assert.deepEqual(broken, [], `again with: npm run test:fleet -- --on ${name} --rounds 1 --seconds 5 --seed ${seed}`)
  })
}
