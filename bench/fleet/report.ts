/**
 * The results of a benchmark of a fleet: a table, and whether each bound is met.
 */
export interface Result {
  readonly case: string
  readonly contender: string
  readonly value: number
  readonly unit: string
}

export type Measure = (progress: (text: string) => void) => Promise<ReadonlyArray<Result>>

export const toJson = (results: ReadonlyArray<Result>): string =>
  JSON.stringify(results.map((result) => ({ ...result, value: Number(result.value.toPrecision(4)) })), undefined, 2)

const toTable = (results: ReadonlyArray<Result>): string =>
  align(results.map((result) => {
    const first = results.find(({ case: name }) => name === result.case)!
    return [
      result === first ? result.case : "",
      result.contender,
      format(result.value),
      result.unit,
      result === first || result.value === 0 ? "" : `${first.contender} / it: ${format(first.value / result.value)}`
    ]
  }))

export const format = (value: number): string =>
  value.toLocaleString("en-US", { maximumFractionDigits: value < 1 ? 3 : value < 100 ? 1 : 0 })

export const align = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) =>
      row.map((cell, i) => i === 2 ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)).join("  ").trimEnd()
    )
    .join("\n")
}

export interface Bound {
  readonly text: string
  readonly measured: number
  readonly least?: number
  readonly most?: number
}

const toBounds = (bounds: ReadonlyArray<Bound>): string =>
  align(
    bounds.map(({ least = 0, measured, most = Infinity, text }) => [
      text,
      measured >= least && measured <= most ? "met" : "NOT MET",
      `${format(measured)} ×`,
      most === Infinity ? `at least ${least} ×` : `at most ${most} ×`
    ])
  )

/** Runs the measurements one after another and prints the results: as tables, or with `--json` as JSON. */
export const print = async (
  measures: ReadonlyArray<Measure>,
  boundsOf: (value: (name: string, contender: string) => number) => ReadonlyArray<Bound>
): Promise<void> => {
  const progress = (text: string) => {
    if (process.stderr.isTTY) console.error(`… ${text}`)
  }
  const results: Array<Result> = []
  for (const measure of measures) results.push(...await measure(progress))
  const value = (name: string, contender: string) =>
    results.find((result) => result.case === name && result.contender === contender)!.value
  console.log(
    process.argv.includes("--json") ? toJson(results) : `${toTable(results)}\n\n${toBounds(boundsOf(value))}`
  )
}
