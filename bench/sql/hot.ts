/**
 * `npm run bench:sql:hot`: how many reports of one circuit a second Postgres takes from 80 instances in two processes, and the
 * processor time of one. With `-- --beside <checkout>` that version takes turns with this one, on a database of its own. A result
 * is the median of the rounds. It starts its own server, and needs Linux to tell the times.
 */
import { Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { parseArgs } from "node:util"
import * as Postgres from "../../src/layers/Postgres.ts"
import { Child } from "../../test/support/children.ts"
import { processorMillis, startStore } from "../fleet/stores.ts"
import { median } from "../timing.ts"
import type { AllReplies, AllRequests } from "./contenders.ts"

const [PROCESSES, ROUNDS] = [2, 9]
const LOAD = { circuits: 1, batch: 1, instances: 80 / PROCESSES, millis: 2000 }

const { values: { beside } } = parseArgs({ options: { beside: { type: "string" } } })

const store = await startStore("postgres")

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
  return { name, processes, rates: [] as Array<number>, server: [] as Array<number>, clients: [] as Array<number> }
}

try {
  const contenders = [await start("this", "."), ...(beside === undefined ? [] : [await start("beside", beside)])]
  const timeOf = (processes: ReadonlyArray<Child<AllRequests, AllReplies>>) =>
    processes.reduce((sum, { pid }) => sum + processorMillis(pid), 0)
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { clients, processes, rates, server } of round % 2 === 0 ? contenders : contenders.toReversed()) {
      const before = [(await store.work())["server-cpu"]!, timeOf(processes)] as const
      const replies = await Promise.all(processes.map((one) => one.request("reports", LOAD)))
      const after = [(await store.work())["server-cpu"]!, timeOf(processes)] as const
      const rate = replies.reduce((sum, { counted }) => sum + counted, 0)
      const reports = rate * LOAD.millis / 1000
      // The first round warms up.
      if (round === 0) continue
      rates.push(rate)
      server.push((after[0] - before[0]) / reports)
      clients.push((after[1] - before[1]) / reports)
    }
  }
  for (const { clients, name, rates, server } of contenders) {
    console.log(
      `${name.padEnd(6)} ${median(rates).toFixed(0).padStart(5)} reports/s, processor time of a report: ` +
        `${median(server).toFixed(2)} ms of the server, ${median(clients).toFixed(2)} ms of the instances`
    )
  }
  await Promise.all(contenders.flatMap(({ processes }) => processes.map((one) => one.stop())))
} finally {
  await store.stop()
}
process.exit()
