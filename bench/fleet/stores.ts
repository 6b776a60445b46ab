/** The servers that the fleet is measured on, and their own statistics. */
import { Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { readdirSync, readFileSync } from "node:fs"
import * as Postgres from "../../src/layers/Postgres.ts"
import { PostgresServer } from "../../test/support/servers/postgres.ts"
import { RedisCluster, RedisServer } from "../../test/support/servers/redis.ts"

/** The work of a server since it was started, by what is counted. */
export type Work = Readonly<Record<string, number>>

export const SERVERS = ["redis", "cluster", "postgres"] as const

export type On = typeof SERVERS[number]

export interface Store {
  readonly on: On
  readonly url: string
  /** The unit of each count of `work`, per second. */
  readonly units: Readonly<Record<string, string>>
  readonly work: () => Promise<Work>
  readonly stop: () => Promise<void>
}

const REDIS_UNITS = {
  "server-cpu": "ms/s",
  // The commands that scripts call are included.
  commands: "commands/s",
  "bytes-in": "bytes/s",
  "bytes-out": "bytes/s"
}

const workOfRedis = async (server: RedisServer) => {
  const info = await server.cli("info", "all")
  const sum = (pattern: RegExp) => [...info.matchAll(pattern)].reduce((total, [, n]) => total + Number(n), 0)
  return {
    "server-cpu": 1000 * sum(/^used_cpu_(?:user|sys):([\d.]+)/gm),
    commands: sum(/^cmdstat_(?!info:)[^:]+:calls=(\d+)/gm),
    "bytes-in": sum(/^total_net_input_bytes:(\d+)/gm),
    "bytes-out": sum(/^total_net_output_bytes:(\d+)/gm)
  }
}

const startRedis = async (): Promise<Store> => {
  const server = await RedisServer.start()
  return {
    on: "redis",
    url: server.url,
    units: REDIS_UNITS,
    work: () => workOfRedis(server),
    stop: () => server.stop()
  }
}

/** Three masters, each with a replica. The work is that of the masters. */
const startCluster = async (): Promise<Store> => {
  const cluster = await RedisCluster.start()
  const masters = await cluster.masters()
  const ofMasters = Object.fromEntries(masters.map((_, i) => [`server-cpu-of-master-${i + 1}`, "ms/s"]))
  return {
    on: "cluster",
    url: cluster.url,
    units: { ...REDIS_UNITS, ...ofMasters },
    work: async () => {
      const works: ReadonlyArray<Work> = await Promise.all(masters.map(workOfRedis))
      const sums = Object.keys(REDIS_UNITS).map((what) => [what, works.reduce((sum, work) => sum + work[what]!, 0)])
      const each = works.map((work, i) => [`server-cpu-of-master-${i + 1}`, work["server-cpu"]])
      return Object.fromEntries([...sums, ...each])
    },
    stop: () => cluster.stop()
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

/** The processor time of a running process. Linux tells it. */
export const processorMillis = (pid: number): number => readProcess(String(pid))!.own * 1000 / TICKS_PER_SECOND

/** The processor time of a Postgres: that of the parent of a backend, and of its other children. Linux tells it. */
const postgresMillis = (backend: string): number => {
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
          "server-cpu": postgresMillis(String(row!.pid)),
          transactions: Number(row!.commits),
          "log-bytes": Number(row!.log)
        }
      }).pipe(Effect.provide(client), Effect.runPromise),
    stop: () => server.stop()
  }
}

const starts: Readonly<Record<On, () => Promise<Store>>> = {
  redis: startRedis,
  cluster: startCluster,
  postgres: startPostgres
}

export const startStore = (on: On): Promise<Store> => starts[on]()
