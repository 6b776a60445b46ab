/**
 * What the benchmark on Redis says: a table, and whether each bound holds.
 */
export interface Result {
  readonly case: string
  readonly contender: string
  readonly value: number
  readonly unit: string
}

export const toJson = (results: ReadonlyArray<Result>): string =>
  JSON.stringify(results.map((result) => ({ ...result, value: Number(result.value.toPrecision(4)) })), undefined, 2)

export const toTable = (results: ReadonlyArray<Result>): string =>
  align(results.map((result) => {
    // The first of a case is what the others are compared with.
    const first = results.find(({ case: name }) => name === result.case)!
    return [
      result === first ? result.case : "",
      result.contender,
      format(result.value),
      result.unit,
      result === first || result.value === 0 ? "" : `ours / it: ${format(first.value / result.value)}`
    ]
  }))

const format = (value: number): string =>
  value.toLocaleString("en-US", { maximumFractionDigits: value < 1 ? 3 : value < 100 ? 1 : 0 })

const align = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) =>
      row.map((cell, i) => i === 2 ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)).join("  ").trimEnd()
    )
    .join("\n")
}

interface Bound {
  readonly text: string
  readonly measured: number
  readonly least?: number
  readonly most?: number
}

export const toBounds = (results: ReadonlyArray<Result>): string =>
  align(
    boundsOf(results).map(({ least = 0, measured, most = Infinity, text }) => [
      text,
      measured >= least && measured <= most ? "met" : "NOT MET",
      `${format(measured)} ×`,
      most === Infinity ? `at least ${least} ×` : `at most ${most} ×`
    ])
  )

const boundsOf = (results: ReadonlyArray<Result>): ReadonlyArray<Bound> => {
  const value = (name: string, contender = "ours") =>
    results.find((result) => result.case === name && result.contender === contender)!.value
  return [
    {
      text: "local, 64 fibers: ours / Effect's own",
      measured: value("local-64") / value("local-64", "effect"),
      least: 50
    },
    {
      text: "strict, 64 fibers: ours / Effect's own",
      measured: value("strict-64") / value("strict-64", "effect"),
      least: 3
    },
    {
      text: "what a call costs: on Redis / on memory",
      measured: value("added-local") / value("added-local", "ours-memory"),
      most: 1.2
    },
    {
      text: "commands a second: at 100,000 calls a second / at 1,000",
      measured: value("commands-at-100k") / value("commands-at-1k"),
      most: 1.25
    },
    {
      text: "the event loop's delay, p99: slow Redis / Redis as it is",
      measured: value("event-loop-slow-p99") / value("event-loop-p99"),
      most: 1.25
    }
  ]
}
