/**
 * `npm run bench:sql:hot`: how many reports of the same circuits a second Postgres takes from 40 instances, and the processor time of
 * one. Each instance reports one circuit, and then 50 in each request, which are the same for all. Postgres has the first processor,
 * and the instances have the others, as on machines of their own. With `-- --beside <checkout>` that version takes turns with this
 * one, on a database of its own. A result is the median of the rounds. It starts its own server, and needs Linux, for its times and
 * for `taskset`.
 */
import { Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { spawnSync } from "node:child_process"
import { availableParallelism } from "node:os"
import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { parseArgs } from "node:util"
import * as Postgres from "../../src/layers/Postgres.ts"
import { Child } from "../../test/support/children.ts"
import { processorMillis, startStore } from "../fleet/stores.ts"
import { median } from "../timing.ts"
import type { AllReplies, AllRequests } from "./contenders.ts"

/** A window is a minute long. Contenders take turns of half a second, so each of them has counts in most seconds of it. */
const [WARM_UP, ROUNDS] = [60, 20]
const BATCHES = [1, 50]
const PROCESSES = availableParallelism() - 1
const LOAD = { instances: Math.ceil(40 / PROCESSES), millis: 500 }

const { values: { beside } } = parseArgs({ options: { beside: { type: "string" } } })

/** From here on, what this process starts runs on these processors alone. */
const useProcessors = (list: string): void => {
  const { error, stderr } = spawnSync("taskset", ["--all-tasks", "--cpu-list", "--pid", list, String(process.pid)])
  if (error !== undefined || stderr.length > 0) {
    console.error(
      `taskset could not restrict this process to processor ${list}: ${
        error?.message ?? stderr
      }. Where it is missing, install util-linux`
    )
    process.exit(1)
  }
}

if (PROCESSES === 0) {
  console.error(
    "bench:sql:hot needs 2 processors, one for Postgres and one for the instances, and finds 1: run it on a larger machine"
  )
  process.exit(1)
}
useProcessors("0")
const store = await startStore("postgres")
useProcessors(`1-${PROCESSES}`)

const createDatabase = (name: string): Promise<unknown> =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql`CREATE DATABASE ${sql(name)}`).pipe(
    Effect.provide(Postgres.layer({ url: Redacted.make(store.url) })),
    Effect.runPromise
  )

const start = async (name: string, checkout: string) => {
  await createDatabase(name)
  const module = pathToFileURL(resolve(checkout, "bench/sql/contenders.ts")).href
  const env = { DATABASE_URL: store.url.replace(/postgres$/, name) }
  const processes: Array<Child<AllRequests, AllReplies>> = []
  for (let i = 0; i < PROCESSES; i++) {
    processes.push(await Child.start(name, new URL("../fleet/worker.ts", import.meta.url), [module, "postgres"], env))
  }
  return { name, processes }
}

type Contender = Awaited<ReturnType<typeof start>>

const timeOf = ({ processes }: Contender) => processes.reduce((sum, { pid }) => sum + processorMillis(pid), 0)

const work = async (contender: Contender) => ({
  server: (await store.work())["server-cpu"]!,
  instances: timeOf(contender)
})

/** How many reports a second, and the processor time of a report, in milliseconds. */
const measure = async (contender: Contender, batch: number) => {
  const before = await work(contender)
  const replies = await Promise.all(
    contender.processes.map((one) => one.request("reports", { ...LOAD, circuits: batch, batch }))
  )
  const after = await work(contender)
  const rate = replies.reduce((sum, { counted }) => sum + counted, 0)
  const reports = rate * LOAD.millis / 1000
  return {
    rate,
    server: (after.server - before.server) / reports,
    instances: (after.instances - before.instances) / reports
  }
}

try {
  const contenders = [await start("this", "."), ...(beside === undefined ? [] : [await start("beside", beside)])]
  for (const batch of BATCHES) {
    const rounds = contenders.map((contender) => ({
      contender,
      results: [] as Array<Awaited<ReturnType<typeof measure>>>
    }))
    for (let round = 0; round < WARM_UP + ROUNDS; round++) {
      for (const { contender, results } of round % 2 === 0 ? rounds : rounds.toReversed()) {
        const result = await measure(contender, batch)
        if (round >= WARM_UP) results.push(result)
      }
    }
    console.log(batch === 1 ? "1 circuit in a request" : `${batch} circuits in a request`)
    for (const { contender: { name }, results } of rounds) {
      const of = (key: keyof (typeof results)[number]) => median(results.map((result) => result[key]))
      console.log(
        `  ${name.padEnd(6)} ${of("rate").toFixed(0).padStart(6)} reports/s, processor time of a report: ` +
          `${of("server").toFixed(3)} ms of the server, ${of("instances").toFixed(3)} ms of the instances`
      )
    }
  }
  await Promise.all(contenders.flatMap(({ processes }) => processes.map((one) => one.stop())))
} finally {
  await store.stop()
}
process.exit()
