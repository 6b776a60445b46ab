/** The measurements on databases, compared with the memory of a process. */
import {
  byCase,
  inThousands,
  measureCost as costOf,
  measureDelay as delayOf,
  measurePropagation as propagationOf,
  workAt
} from "../fleet/measure.ts"
import { contendersIn } from "../fleet/process.ts"
import type { Measure, Result } from "../fleet/report.ts"
import { median } from "../timing.ts"
import type { AllReplies, AllRequests } from "./contenders.ts"
import { databases } from "./servers.ts"

const withContenders = contendersIn<AllRequests, AllReplies>(new URL("./contenders.ts", import.meta.url))

const withMemory = ["memory", ...databases]

const start = (name: string) => ({ name })

/** The cost of a call with `consistency: "local"`. */
export const measureCost: Measure = (progress) => {
  progress("what a call costs")
  return costOf(withContenders, withMemory.map(start))
}

const PROCESSES = 2

/**
 * Reports a second that a database takes from 80 instances: of one circuit, and of a thousand one by one or in batches.
 */
export const measureReports: Measure = async (progress) => {
  progress("reports a second")
  const cases = {
    "reports-of-1-circuit": { circuits: 1, batch: 1 },
    // Creates the rows of all circuits, so that the next case creates none.
    "reports-of-1k-circuits-batched": { circuits: 1000, batch: 100 },
    "reports-of-1k-circuits": { circuits: 1000, batch: 1 }
  }
  const samples: Array<{ case: string; contender: string; counted: number; failed: number }> = []
  const starts = databases.flatMap((name) => Array.from({ length: PROCESSES }, () => ({ name })))
  await withContenders(starts, async (contenders) => {
    for (let round = 0; round <= 3; round++) {
      for (const [name, load] of Object.entries(cases)) {
        for (const database of round % 2 === 0 ? databases : databases.toReversed()) {
          const processes = contenders.filter((contender) => contender.name === database)
          const replies = await Promise.all(
            processes.map((contender) =>
              contender.request("reports", { ...load, instances: 80 / PROCESSES, millis: 1000 })
            )
          )
          const sum = (what: "counted" | "failed") => replies.reduce((total, reply) => total + reply[what], 0)
          // The first round warms up.
          if (round > 0) {
            samples.push({ case: name, contender: database, counted: sum("counted"), failed: sum("failed") })
          }
        }
      }
    }
  })
  const row = (what: "counted" | "failed", name: string, database: string): Result => ({
    case: what === "counted" ? name : `${name}-failed`,
    contender: database,
    value: median(
      samples.flatMap((sample) => sample.case === name && sample.contender === database ? [sample[what]] : [])
    ),
    unit: "reports/s"
  })
  return Object.keys(cases).flatMap((name) =>
    (["counted", "failed"] as const).flatMap((what) => databases.map((database) => row(what, name, database)))
  )
}

/**
 * With the default `syncEvery` of a second, after which MariaDB and SQLite are read again. Postgres announces changes.
 */
export const measurePropagation: Measure = (progress) => {
  progress("from a change here to a rejection there")
  const starts = Object.fromEntries(databases.map((name) => [name, { name: `${name}-any` }]))
  return propagationOf(withContenders, starts, { warmUpPasses: 1, passes: 8, circuits: 20, millis: 1000 })
}

/** Statements a second, by the rate of calls. */
export const measureStatements: Measure = (progress) =>
  withContenders(databases.map(start), async (contenders) => {
    const results: Array<Result> = []
    for (const rate of [1000, 10_000, 100_000]) {
      const name = `at-${inThousands(rate)}`
      progress(`statements ${name}`)
      for (const contender of contenders) {
        const { calls, statements } = await workAt(
          contender,
          { rate, seconds: 8, circuits: 1, failing: 0 },
          () => contender.request("work", {})
        )
        results.push(
          { case: `statements-${name}`, contender: contender.name, value: statements, unit: "statements/s" },
          { case: `calls-${name}`, contender: contender.name, value: calls, unit: "calls/s" }
        )
      }
    }
    return byCase(results)
  })

/** The delay of the event loop under load. */
export const measureDelay: Measure = (progress) => {
  progress("the event loop's delay")
  const measured = withMemory.map((name) => ({ case: "event-loop", contender: name, start: { name } }))
  return delayOf(withContenders, measured, 3)
}
