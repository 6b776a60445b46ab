/** Our breakers on the databases at `DATABASE_URL` and `MYSQL_URL`, and on the file `SQLITE_FILE`. */
import { Context, Effect, Layer, Redacted, Result, Tracer } from "effect"
import type { SqlClient } from "effect/sql"
import { noDelta, noLifetimeCounts, streakOf } from "../../src/core/Delta.ts"
import { Storage } from "../../src/index.ts"
import * as Mysql from "../../src/layers/Mysql.ts"
import * as Postgres from "../../src/layers/Postgres.ts"
import * as Sqlite from "../../src/layers/Sqlite.ts"
import * as SqlStorage from "../../src/Storage/Sql.ts"
import { build, type Contender, oursOn } from "../fleet/contender.ts"
import type { Answers, Replies, Requests } from "../fleet/worker.ts"

interface SqlRequests {
  /** Returns how many statements were sent so far. */
  readonly work: Record<never, never>
  /**
   * Instances report for `millis`, one batch of `batch` circuits after the other; on a server each has a storage and a
   * connection of its own. Returns how many reports a second were counted, and how many failed.
   */
  readonly reports: {
    readonly instances: number
    readonly circuits: number
    readonly batch: number
    readonly millis: number
  }
}

interface SqlReplies {
  readonly work: { readonly statements: number }
  readonly reports: { readonly counted: number; readonly failed: number }
}

export type AllRequests = Requests & SqlRequests
export type AllReplies = Replies & SqlReplies

export const PREFIX = "bench_"

const secret = (variable: string) => Redacted.make(process.env[variable]!)

export const clientOf = (database: string, maxConnections?: number): Layer.Layer<SqlClient.SqlClient> => {
  switch (database) {
    case "postgres":
      return Postgres.layer({ url: secret("DATABASE_URL"), maxConnections })
    case "mariadb":
      return Mysql.layer({ url: secret("MYSQL_URL"), maxConnections })
    case "sqlite":
      return Sqlite.layer({ file: process.env["SQLITE_FILE"]! })
    default:
      throw new Error(`no contender ${database}`)
  }
}

const storageOn = (
  client: Layer.Layer<SqlClient.SqlClient>,
  options: SqlStorage.Options = {}
): Layer.Layer<Storage.Storage> => Layer.provide(SqlStorage.layer({ ...options, prefix: PREFIX }), client)

let statements = 0

/** Counts the spans of Effect's client, which makes one for each statement. */
const counting = Layer.succeed(Tracer.Tracer, {
  span: (options) => {
    if (options.kind === "client") statements++
    // `BEGIN` and `COMMIT` have no spans of their own.
    else if (options.name === "sql.transaction") statements += 2
    return new Tracer.NativeSpan(options)
  }
})

/** A contender by its name: a database, or `memory`. With `-any` its breakers trip on their own evidence. */
export const load = async (name: string): Promise<Contender> => {
  if (name === "memory") return oursOn(Storage.MemoryStorageLive)
  const [database, evidence] = name.split("-")
  return oursOn(
    Layer.merge(storageOn(clientOf(database!)), counting),
    evidence === "any" ? { evidence } : {}
  )
}

const delta = {
  ...noDelta,
  buckets: [{ age: 0, success: 1, failure: 0, slow: 0 }],
  streak: streakOf([false]),
  lifetime: { ...noLifetimeCounts, success: 1, lastSuccessAge: 0 }
}

const instances: Array<Storage.Storage> = []

let sequence = 0

const addInstance = async (database: string): Promise<void> => {
  // The instances of a process share one connection to SQLite, as its breakers do: one of many connections that poll
  // for its lock may starve.
  const first = database === "sqlite" ? instances[0] : undefined
  const storage = storageOn(clientOf(database, 1), { deadline: "30 seconds" })
  instances.push(first ?? Context.get(await build(Layer.fresh(storage)), Storage.Storage))
}

const report = async (request: SqlRequests["reports"]): Promise<SqlReplies["reports"]> => {
  while (instances.length < request.instances) await addInstance(process.argv[3]!)
  const start = performance.now()
  let [counted, failed] = [0, 0]
  await Promise.all(
    instances.slice(0, request.instances).map(async (storage, i) => {
      // Each instance begins with another circuit.
      let next = i * 37
      while (performance.now() - start < request.millis) {
        const reports = Array.from({ length: request.batch }, () => ({
          circuit: `reports-${next++ % request.circuits}`,
          instance: `${process.pid}-${i}`,
          sequence: ++sequence,
          generation: 0,
          delta,
          withins: [60_000]
        }))
        const answers = await Effect.runPromise(Effect.orElseSucceed(storage.sync(reports), () => []))
        const successes = answers.filter(({ result }) => Result.isSuccess(result)).length
        counted += successes
        failed += request.batch - successes
      }
    })
  )
  const seconds = (performance.now() - start) / 1000
  return { counted: counted / seconds, failed: failed / seconds }
}

export const answers: Answers<SqlRequests, SqlReplies> = {
  work: async () => ({ statements }),
  reports: report
}
