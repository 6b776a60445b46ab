/**
 * A process that reports failures of three circuits until it is killed, and prints the circuit of each answered report.
 * Its arguments are the directory and its own name. A third argument is a number of reports: the process prints how
 * long one report of a circuit of its own takes, sends that many reports of a shared circuit at once, prints how long
 * those took, and ends.
 */
import * as Effect from "effect/Effect"
import { writeSync } from "node:fs"
import { circuitOf, failures, times } from "../../src/conformance/Law.ts"
import { layer } from "../../src/layers/FileStorageLive.ts"
import { Storage } from "../../src/Storage/Storage.ts"

const [directory = "", instance = "", crowd] = process.argv.slice(2)

const ALONE = 10

const told = (circuit: string) => Effect.sync(() => writeSync(1, `${circuit}\n`))

const program = Effect.gen(function*() {
  const storage = yield* Storage
  const report = (circuit: string, sequence: number) =>
    Effect.andThen(circuitOf(storage, circuit).send({ instance, sequence, delta: failures(1) }), told(circuit))
  if (crowd !== undefined) {
    const timed = (effect: Effect.Effect<unknown, unknown>) =>
      Effect.suspend(() => {
        const start = performance.now()
        return Effect.map(effect, () => performance.now() - start)
      })
    const send = (circuit: string, of: number) =>
      circuitOf(storage, circuit).send({ instance: `${instance} ${of}`, sequence: 1, delta: failures(1) })
    // Measures how fast the disk and the processors are at the moment.
    const alone = yield* timed(Effect.forEach(times(ALONE), (of) => send(instance, of)))
    yield* told(`${alone / ALONE}`)
    const all = Effect.forEach(times(Number(crowd)), (of) => send("crowd", of), { concurrency: "unbounded" })
    return yield* told(`${yield* timed(all)}`)
  }
  for (let sequence = 1;; sequence++) {
    yield* Effect.forEach(["a", "b", "c"], (circuit) => report(circuit, sequence), { concurrency: "unbounded" })
  }
})

await Effect.runPromise(Effect.provide(program, layer({ directory })))
