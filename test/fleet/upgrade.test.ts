/** A rolling upgrade: processes of the former version (`scripts/former.ts`) and of this one on one storage. */
import { afterAll, assert, it } from "@effect/vitest"
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { gunzipSync } from "node:zlib"
import type { Breaker } from "../../src/index.ts"
import { until } from "../support/machine.ts"
import { Fleet, type Process } from "./fleet.ts"
import type { Counts } from "./log.ts"
import { startPostgres } from "./postgres.ts"
import { startRedis } from "./redis.ts"

/** Where its imports find the packages. */
const folder = new URL(`../../node_modules/.cache/former-${process.pid}/`, import.meta.url)
const former = new URL("worker.mjs", folder)
mkdirSync(folder, { recursive: true })
writeFileSync(former, gunzipSync(readFileSync(new URL("former.mjs.gz", import.meta.url))))
afterAll(() => rmSync(fileURLToPath(folder), { recursive: true }))

const policy: Breaker.Data = {
  trip: { _tag: "ConsecutiveFailures", failures: 5 },
  evidence: "any",
  openFor: 1000,
  halfOpen: { lease: 2000 }
}
const CIRCUIT = "shared"
const LOAD = { [CIRCUIT]: 30 }

const sum = (all: ReadonlyArray<Counts>): Counts => ({
  success: all.reduce((total, { success }) => total + success, 0),
  failure: all.reduce((total, { failure }) => total + failure, 0),
  rejected: all.reduce((total, { rejected }) => total + rejected, 0)
})

for (const [name, start] of [["redis", startRedis], ["postgres", startPostgres]] as const) {
  it(`a fleet on ${name} is upgraded process by process, and taken back, and nothing is reset`, async () => {
    const server = await start()
    const fleet = await Fleet.of({ storage: server.storage, policies: { [CIRCUIT]: policy } })
    const gone: Array<Counts> = []
    const look = (process: Process) => process.request("look", { circuit: CIRCUIT })

    const enlist = async (worker?: URL): Promise<Process> => {
      const process = await fleet.start(0, worker)
      await process.request("load", LOAD)
      return process
    }

    const retire = async (process: Process): Promise<void> => {
      await process.request("load", {})
      gone.push((await look(process)).counts)
      await process.stop()
    }

    /** The circuit opens and closes for all processes that run, in newer generations. */
    const trouble = async (): Promise<void> => {
      const { generation: before } = await server.stored(CIRCUIT)
      fleet.upstream.be(CIRCUIT, { failing: 1 })
      await until("the circuit opens for all", async () => {
        const { generation } = await server.stored(CIRCUIT)
        assert.isAtLeast(generation, before)
        const views = await Promise.all(fleet.running.map(look))
        return generation > before && views.every((view) => view.generation > before)
      })
      fleet.upstream.be(CIRCUIT, {})
      await until("the circuit closes for all", async () => {
        const views = await Promise.all(fleet.running.map(look))
        return views.every(({ generation, state }) => state === "Closed" && generation === views[0]!.generation)
      })
    }

    try {
      let old = [await enlist(former), await enlist(former)]
      // The former version makes what it stores, before this one opens the storage.
      await until(
        "the former version has stored its reports",
        () =>
          old.every((process) => process.read().some((entry) => entry.is === "answered" && entry.error === undefined))
      )
      await trouble()
      // Up, with both versions beside each other in the middle, and down again.
      for (const worker of [undefined, former]) {
        const next: Array<Process> = []
        for (const process of old) {
          next.push(await enlist(worker))
          await trouble()
          await retire(process)
        }
        old = next
      }
      for (const process of old) await retire(process)
      const stored = await server.stored(CIRCUIT)
      assert.deepInclude(stored, sum(gone))
      const ends = fleet.processes.flatMap((process) => process.read()).flatMap((entry) =>
        entry.is === "call" ? [entry.ended] : []
      )
      assert.isAbove(ends.length, 100)
      assert.sameMembers([...new Set(ends)], ["ok", "failed", "rejected"])
    } finally {
      await fleet.stop()
      await server.stop()
    }
  })
}
