/**
 * `npm run bench:file`: measures the storage in files on the disk of the temporary directory, or of another directory
 * with `-- --directory /some/disk`.
 */
import { Effect, Layer } from "effect"
import { link, mkdtemp, open, rm, unlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { noDelta, noLifetimeCounts, streakOf } from "../src/core/Delta.ts"
import { layer } from "../src/layers/FileStorageLive.ts"
import { Storage } from "../src/Storage/Storage.ts"

const { values } = parseArgs({ options: { directory: { type: "string", default: tmpdir() } } })
const directory = await mkdtemp(join(values.directory, "effect-breaker-bench-"))

const MILLIS = 3000

const delta = {
  ...noDelta,
  buckets: [{ age: 0, success: 1, failure: 0, slow: 0 }],
  streak: streakOf([false]),
  lifetime: { ...noLifetimeCounts, success: 1, lastSuccessAge: 0 }
}

let sequence = 0

/** Operations per second of several callers at once, each of which waits for its answer before the next. */
const rate = async (callers: number, once: (caller: number) => Promise<unknown>): Promise<number> => {
  const start = performance.now()
  let done = 0
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      while (performance.now() - start < MILLIS) {
        await once(caller)
        done++
      }
    })
  )
  return done / ((performance.now() - start) / 1000)
}

const flush = async (path: string) => {
  const handle = await open(path)
  await handle.sync()
  await handle.close()
}

/** The work of the disk for one write: flush a file, link it, flush its directory. */
const bare = async () => {
  const file = join(directory, "bare")
  await writeFile(file, "x".repeat(2000), { flush: true })
  await link(file, `${file}-${++sequence}`)
  await flush(directory)
  await Promise.all([unlink(file), unlink(`${file}-${sequence}`)])
}

const program = Effect.gen(function*() {
  const storage = yield* Storage
  const report = (caller: number, circuit: string, isRead = false) =>
    Effect.runPromise(storage.sync([{
      circuit,
      instance: `${caller}`,
      sequence: ++sequence,
      generation: 0,
      delta: isRead ? noDelta : delta,
      withins: [60_000]
    }]))
  const measure = (text: string, callers: number, once: (caller: number) => Promise<unknown>) =>
    Effect.promise(async () => {
      const perSecond = await rate(callers, once)
      console.log(`${text.padEnd(56)} ${perSecond.toLocaleString("en-US", { maximumFractionDigits: 0 }).padStart(8)}`)
    })
  yield* measure("the disk itself: two flushes and a link", 1, bare)
  yield* measure("reports of one circuit, one after another", 1, (caller) => report(caller, "hot"))
  yield* measure("reports of one circuit, 100 at once", 100, (caller) => report(caller, "hot"))
  yield* measure("reports of 100 circuits, 100 at once", 100, (caller) => report(caller, `circuit-${caller}`))
  yield* measure("reads of one circuit, one after another", 1, (caller) => report(caller, "hot", true))
})

try {
  console.log("per second".padStart(65))
  await Effect.runPromise(Effect.provide(program, Layer.fresh(layer({ directory: join(directory, "circuits") }))))
} finally {
  await rm(directory, { recursive: true, force: true })
}
