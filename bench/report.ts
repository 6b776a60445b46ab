/**
 * The results of the benchmark, as tables for people and as JSON for machines.
 */
import type { Bound } from "./bounds.ts"
import type { EngineResult, MemoryResult, Result } from "./results.ts"

export interface Results {
  readonly calls: ReadonlyArray<Result>
  readonly memory: ReadonlyArray<MemoryResult>
  readonly engine: ReadonlyArray<EngineResult>
  readonly bounds: ReadonlyArray<Bound>
}

/** One flat array: an entry for each measurement, by its `case`, then one for each `bound`. */
export const toJson = ({ bounds, calls, engine, memory }: Results): string =>
  JSON.stringify(
    [
      ...calls.map((result) => ({ ...result, addedNs: round(result.addedNs), bareNs: round(result.bareNs) })),
      ...memory.map((result) => ({ ...result, bytesPerCircuit: round(result.bytesPerCircuit) })),
      ...engine.map((result) => ({ ...result, value: round(result.value) })),
      ...bounds.map(({ atMost, measured, met, text, unit }) => ({
        bound: text,
        measured: Number(measured.toPrecision(4)),
        atMost: Number(atMost.toPrecision(4)),
        unit,
        met
      }))
    ],
    undefined,
    2
  )

const round = (value: number): number => Math.round(value * 10) / 10

export const toText = ({ bounds, calls, engine, memory }: Results): string =>
  [toTable(calls, memory), ...engine.length === 0 ? [] : [toEngineTable(engine)], toBoundsTable(bounds)].join("\n\n")

const toTable = (calls: ReadonlyArray<Result>, memory: ReadonlyArray<MemoryResult>): string => {
  const rows = [["case", "contender", "added", "bare call", "first / it"]]
  const nanos = calls.map((result) => ({ ...result, value: result.addedNs, unit: "ns" }))
  const bytes = memory.map((result) => ({ ...result, value: result.bytesPerCircuit, unit: "B", bareNs: undefined }))
  let previous = ""
  for (const row of [...nanos, ...bytes]) {
    const first = [...nanos, ...bytes].find(({ case: name }) => name === row.case)!
    rows.push([
      row.case === previous ? "" : row.case,
      row.contender,
      `${format(row.value)} ${row.unit}`,
      row.bareNs === undefined ? "" : `${format(row.bareNs)} ns`,
      row === first ? "" : ratio(first.value / row.value)
    ])
    previous = row.case
  }
  return align(rows)
}

const toEngineTable = (engine: ReadonlyArray<EngineResult>): string =>
  align(engine.map(({ case: name, unit, value }) => [name, unit, round(value).toLocaleString("en-US")]))

const toBoundsTable = (bounds: ReadonlyArray<Bound>): string => {
  const cell = (value: number, unit: Bound["unit"]) => `${unit === "×" ? ratio(value) : format(value)} ${unit}`
  return align([
    ["bound", "", "measured", "at most"],
    ...bounds.map(({ atMost, measured, met, text, unit }) => [
      text,
      met ? "met" : "NOT MET",
      cell(measured, unit),
      cell(atMost, unit)
    ])
  ])
}

const format = (value: number): string => Math.round(value).toLocaleString("en-US")

const ratio = (value: number): string => value >= 0.25 ? value.toFixed(2) : value.toFixed(3)

const align = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) =>
      row.map((cell, column) => column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)).join("  ")
        .trimEnd()
    )
    .join("\n")
}
