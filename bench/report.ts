/**
 * What the benchmark says: a table, and whether each bound holds.
 */
export interface Result {
  readonly case: string
  readonly contender: string
  /** What a call takes longer than the bare call of the same kind. */
  readonly addedNs: number
  readonly bareNs: number
}

export interface MemoryResult {
  readonly case: string
  readonly contender: string
  readonly bytesPerCircuit: number
}

/** What the sync engine costs. */
export interface EngineResult {
  readonly case: string
  readonly value: number
  readonly unit: string
}

export const toJson = (
  results: ReadonlyArray<Result>,
  memory: ReadonlyArray<MemoryResult>,
  engine: ReadonlyArray<EngineResult>
): string =>
  JSON.stringify(
    [
      ...results.map(({ addedNs, case: name, contender }) => ({ case: name, contender, addedNs: round(addedNs) })),
      ...memory.map((result) => ({ ...result, bytesPerCircuit: round(result.bytesPerCircuit) })),
      ...engine.map((result) => ({ ...result, value: round(result.value) }))
    ],
    undefined,
    2
  )

const round = (value: number): number => Math.round(value * 10) / 10

// -----------------------------------------------------------------------------
// table
// -----------------------------------------------------------------------------

export const toTable = (results: ReadonlyArray<Result>, memory: ReadonlyArray<MemoryResult>): string => {
  const rows = [["case", "contender", "added", "bare call", "ours / it"]]
  const seconds = results.map((result) => ({ ...result, value: result.addedNs, unit: "ns" }))
  const bytes = memory.map((result) => ({ ...result, value: result.bytesPerCircuit, unit: "B", bareNs: undefined }))
  let previous = ""
  for (const row of [...seconds, ...bytes]) {
    // The first of a case is what the others are compared with.
    const ours = [...seconds, ...bytes].find(({ case: name }) => name === row.case)!
    rows.push([
      row.case === previous ? "" : row.case,
      row.contender,
      `${format(row.value)} ${row.unit}`,
      row.bareNs === undefined ? "" : `${format(row.bareNs)} ns`,
      row === ours ? "" : ratio(ours.value / row.value)
    ])
    previous = row.case
  }
  return align(rows)
}

export const toEngineTable = (engine: ReadonlyArray<EngineResult>): string =>
  align(engine.map(({ case: name, unit, value }) => [name, unit, round(value).toLocaleString("en-US")]))

const format = (value: number): string => Math.round(value).toLocaleString("en-US")

const ratio = (value: number): string => value >= 0.095 ? value.toFixed(2) : value.toFixed(3)

const align = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) =>
      row.map((cell, column) => column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)).join("  ")
        .trimEnd()
    )
    .join("\n")
}

// -----------------------------------------------------------------------------
// bounds
// -----------------------------------------------------------------------------

interface Bound {
  readonly text: string
  readonly measured: number
  readonly atMost: number
  readonly unit: "×" | "ns" | "B"
}

export const toBounds = (results: ReadonlyArray<Result>, memory: ReadonlyArray<MemoryResult>): string => {
  const rows = boundsOf(results, memory).map(({ atMost, measured, text, unit }) => [
    text,
    measured <= atMost ? "met" : "NOT MET",
    unit === "×" ? `${ratio(measured)} ×` : `${format(measured)} ${unit}`,
    unit === "×" ? `at most ${ratio(atMost)} ×` : `at most ${format(atMost)} ${unit}`
  ])
  return align(rows)
}

const boundsOf = (results: ReadonlyArray<Result>, memory: ReadonlyArray<MemoryResult>): ReadonlyArray<Bound> => {
  const added = (name: string, contender: string) =>
    results.find((result) => result.case === name && result.contender === contender)!.addedNs
  const bytes = (name: string) =>
    memory.find((result) => result.case === name && result.contender === "ours")!.bytesPerCircuit
  const times = (text: string, measured: number, of: number, atMost: number): Bound => ({
    text,
    measured: measured / of,
    atMost,
    unit: "×"
  })
  const [consecutive, window] = ["closed-consecutive", "closed-window"]
  const ours = added(consecutive, "ours")
  return [
    times("closed: ours / cockatiel's consecutive", ours, added(consecutive, "cockatiel"), 0.9),
    times("closed: ours / cockatiel's sampling breaker", added(window, "ours"), added(window, "cockatiel"), 1),
    times("closed: ours / Effect's own", ours, added(consecutive, "effect"), 1 / 20),
    times("closed, window: ours / Effect's own", added(window, "ours"), added(window, "effect"), 1 / 20),
    times("ours-service / ours", added(consecutive, "ours-service"), ours, 1.25),
    times("ours-service / ours, window", added(window, "ours-service"), added(window, "ours"), 1.25),
    {
      text: "timeout: ours over Effect.timeout alone",
      measured: added("closed-timeout", "ours") - added("closed-timeout", "timeout-alone"),
      atMost: 150,
      unit: "ns"
    },
    times(
      "closed: ours in a fleet / ours alone",
      added("closed-synced", "ours-synced"),
      added("closed-synced", "ours-alone"),
      1.1
    ),
    times(
      "rejection: ours in a fleet / ours alone",
      added("rejection-synced", "ours-synced"),
      added("rejection-synced", "ours-alone"),
      1.1
    ),
    times("rejection: ours / cockatiel's", added("rejection", "ours"), added("rejection", "cockatiel"), 1 / 12),
    times("keyed, 100 hot keys / a single circuit", added("keyed-100-hot", "ours"), ours, 1.5),
    {
      text: "keyed, 100,000 keys: within the map's get + 1.5 × a single circuit",
      measured: added("keyed-100k", "ours"),
      atMost: added("keyed-100k", "map-get") + 1.5 * ours,
      unit: "ns"
    },
    {
      text: "bytes of a consecutive circuit",
      measured: bytes("memory-consecutive-100k"),
      atMost: 300,
      unit: "B"
    },
    { text: "bytes of a circuit with a window of 60 s", measured: bytes("memory-window-100k"), atMost: 1024, unit: "B" }
  ]
}
