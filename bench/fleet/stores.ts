/** The servers that the fleet is measured on, and their own statistics. */
import { Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { readdirSync, readFileSync } from "node:fs"
import * as Postgres from "../../src/layers/Postgres.ts"
import { PostgresServer } from "../../test/support/servers/postgres.ts"
import { RedisServer } from "../../test/support/servers/redis.ts"

/** The work of a server since it was started, by what is counted. */
export type Work = Readonly<Record<string, number>>

export interface Store {
  readonly on: "redis" | "postgres"
  readonly url: string
  /** What its work is counted in, per second. */
  readonly units: Readonly<Record<string, string>>
  readonly work: () => Promise<Work>
  readonly stop: () => Promise<void>
}

const startRedis = async (): Promise<Store> => {
  const server = await RedisServer.start()
  return {
    on: "redis",
    url: server.url,
    units: {
      "server-cpu": "ms/s",
      // Those within scripts, too.
      commands: "commands/s",
      "bytes-in": "bytes/s",
      "bytes-out": "bytes/s"
    },
    work: async () => {
      const info = await server.cli("info", "all")
      const sum = (pattern: RegExp) => [...info.matchAll(pattern)].reduce((total, [, n]) => total + Number(n), 0)
      return {
        "server-cpu": 1000 * sum(/^used_cpu_(?:user|sys):([\d.]+)/gm),
        commands: sum(/^cmdstat_(?!info:)[^:]+:calls=(\d+)/gm),
        "bytes-in": sum(/^total_net_input_bytes:(\d+)/gm),
        "bytes-out": sum(/^total_net_output_bytes:(\d+)/gm)
      }
    },
    stop: () => server.stop()
  }
}

const TICKS_PER_SECOND = 100

/** A process: its parent, its own processor time, and that of its children that have ended, in ticks. */
const readProcess = (pid: string) => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    const [, parent] = fields
    const [own, ended] = [Number(fields[11]) + Number(fields[12]), Number(fields[13]) + Number(fields[14])]
    return { pid, parent: parent!, own, ended }
  } catch {
    // It has ended meanwhile.
    return undefined
  }
}

/** The processor time of a Postgres: that of the parent of a backend, and of its other children. Linux tells it. */
const processorMillis = (backend: string): number => {
  const processes = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((pid) => readProcess(pid) ?? [])
  const server = processes.find(({ pid }) => pid === processes.find((one) => one.pid === backend)!.parent)!
  const ticks = processes.filter(({ parent }) => parent === server.pid).reduce((sum, { own }) => sum + own, 0)
  return (ticks + server.own + server.ended) * 1000 / TICKS_PER_SECOND
}

const startPostgres = async (): Promise<Store> => {
  const server = await PostgresServer.start()
  const client = Postgres.layer({ url: Redacted.make(server.url), maxConnections: 1 })
  return {
    on: "postgres",
    url: server.url,
    units: { "server-cpu": "ms/s", transactions: "transactions/s", "log-bytes": "bytes/s" },
    work: () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const [row] = yield* sql<{ readonly pid: number; readonly commits: string; readonly log: string }>`
          SELECT pg_backend_pid() AS pid, xact_commit AS commits, pg_current_wal_lsn() - '0/0'::pg_lsn AS log
          FROM pg_stat_database WHERE datname = current_database()`
        return {
          "server-cpu": processorMillis(String(row!.pid)),
          transactions: Number(row!.commits),
          "log-bytes": Number(row!.log)
        }
      }).pipe(Effect.provide(client), Effect.runPromise),
    stop: () => server.stop()
  }
}

export const startStore = (on: Store["on"]): Promise<Store> => on === "redis" ? startRedis() : startPostgres()
