/**
 * A process that reports failures, and writes down each that was answered for: `directory`, its own name, and how many of one
 * circuit at once before it ends, or else one of each of three circuits at a time until it is killed.
 */
import * as Effect from "effect/Effect"
import { writeSync } from "node:fs"
import { circuitOf, failures, times } from "../../src/conformance/Law.ts"
import { layer } from "../../src/layers/FileStorageLive.ts"
import { Storage } from "../../src/Storage/Storage.ts"

const [directory = "", instance = "", crowd] = process.argv.slice(2)

const told = (circuit: string) => Effect.sync(() => writeSync(1, `${circuit}\n`))

const program = Effect.gen(function*() {
  const storage = yield* Storage
  const report = (circuit: string, sequence: number) =>
    Effect.andThen(circuitOf(storage, circuit).send({ instance, sequence, delta: failures(1) }), told(circuit))
  if (crowd !== undefined) {
    const start = performance.now()
    yield* Effect.forEach(
      times(Number(crowd)),
      (index) =>
        circuitOf(storage, "crowd").send({ instance: `${instance} ${index}`, sequence: 1, delta: failures(1) }),
      {
        concurrency: "unbounded",
        discard: true
      }
    )
    return yield* told(`${performance.now() - start}`)
  }
  for (let sequence = 1;; sequence++) {
    yield* Effect.forEach(["a", "b", "c"], (circuit) => report(circuit, sequence), { concurrency: "unbounded" })
  }
})

await Effect.runPromise(Effect.provide(program, layer({ directory })))
