/** Recorded calls: read from a file of lines of JSON, or made of what a storage remembers. */
import * as Effect from "effect/Effect"
import type { HistoryEntry, Snapshot } from "../../Storage/Storage.ts"
import { type CliFailure, usage } from "./Failure.ts"
import type { Call, Segment } from "./Replay.ts"
import { jsonOf } from "./Text.ts"

export interface Recording {
  readonly circuit: string
  /** Sorted by their start. */
  readonly calls: ReadonlyArray<Call>
  /** Unix milliseconds. */
  readonly end: number
  /** Calls that were rejected when it was recorded. Their outcome is not known, so they are not replayed. */
  readonly rejected: number
  /** The states that the circuit was in, where they are known. */
  readonly was: ReadonlyArray<Segment>
  readonly notes: ReadonlyArray<string>
}

type Line = Readonly<Record<string, unknown>>

const isLine = (value: unknown): value is Line => typeof value === "object" && value !== null && !Array.isArray(value)

const countOf = (line: Line, key: string): number => {
  const value = line[key]
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : 0
}

const timeIn = (value: unknown): number | undefined => {
  const millis = typeof value === "number" ? value : typeof value === "string" ? Date.parse(value) : Number.NaN
  return Number.isFinite(millis) && millis >= 0 ? millis : undefined
}

/** The most calls that are replayed. */
const MOST_CALLS = 5_000_000

/** The calls of a span of time, spread evenly over it, failures among successes. */
const spread = (
  { failure, ignored, slow, success }: Readonly<Record<"success" | "failure" | "ignored" | "slow", number>>,
  from: number,
  to: number
): ReadonlyArray<Call> => {
  const all = success + failure + ignored
  const rest = success + ignored
  const calls: Array<Call> = []
  // The i-th of `of` places has one of `count` where the whole number that is due by then grows.
  const isOne = (count: number, i: number, of: number) => Math.floor((i + 1) * count / of) > Math.floor(i * count / of)
  for (let i = 0, others = 0; i < all && i <= MOST_CALLS; i++) {
    const at = from + (to - from) * (i + 1) / all
    const isFailure = isOne(failure, i, all)
    const outcome = isFailure ? "failure" : isOne(ignored, others++, rest) ? "ignored" : "success"
    calls.push({ startedAt: at, endedAt: at, outcome, isSlow: isOne(slow, i, all) })
  }
  return calls
}

// -----------------------------------------------------------------------------
// a file
// -----------------------------------------------------------------------------

interface Circuits {
  readonly calls: Array<Call>
  rejected: number
  readonly changes: Array<{ readonly at: number; readonly to: Segment["state"] }>
  /** The counts of the last event, from which the next one's differ by the calls in between. */
  last: { readonly at: number; readonly counts: Readonly<Record<string, number>> } | undefined
}

const OUTCOMES = ["success", "failure", "ignored", "timeout"]

const STATES = { closed: "Closed", open: "Open", half_open: "HalfOpen" } as const

/** Adds one line. Returns its problem, if it has one. */
const add = (into: Circuits, line: Line): string | undefined => {
  const at = timeIn(line["at"])
  if (typeof line["_tag"] === "string") return addEvent(into, line, at)
  if (at === undefined) return "\"at\" must be a time such as 2026-01-31T12:00:00.000Z, or Unix milliseconds"
  const to = line["to"]
  if (typeof to === "string") {
    const state = STATES[to as keyof typeof STATES]
    if (state === undefined) return "\"to\" must be closed, open or half_open"
    into.changes.push({ at, to: state })
    return undefined
  }
  const { outcome } = line
  if (outcome !== undefined) {
    if (!OUTCOMES.includes(outcome as string)) return `"outcome" must be one of ${OUTCOMES.join(", ")}`
    const duration = typeof line["duration"] === "number" && line["duration"] >= 0 ? line["duration"] : 0
    into.calls.push({
      startedAt: at - duration,
      endedAt: at,
      outcome: outcome === "timeout" ? "failure" : outcome as Call["outcome"],
      isSlow: false
    })
    return undefined
  }
  const over = line["over"]
  if (typeof over !== "number" || !(over > 0)) return "it has neither an \"outcome\" nor counts \"over\" milliseconds"
  addCounts(into, line, at - over, at)
  return undefined
}

const addCounts = (into: Circuits, line: Line, from: number, to: number): void => {
  const [success, failure, ignored, slow] = ["success", "failure", "ignored", "slow"].map((key) => countOf(line, key))
  // One by one, because there may be more than a function takes as arguments.
  for (const call of spread({ success: success!, failure: failure!, ignored: ignored!, slow: slow! }, from, to)) {
    into.calls.push(call)
  }
  into.rejected += countOf(line, "rejected")
}

/** An event of a breaker. Its snapshot counts all calls, so two of them tell what happened in between. */
const addEvent = (into: Circuits, line: Line, givenAt: number | undefined): string | undefined => {
  const snapshot = line["snapshot"]
  const statistics = isLine(snapshot) ? snapshot["statistics"] : undefined
  if (!isLine(statistics)) return undefined
  const isFailure = line["_tag"] === "Failure" || line["_tag"] === "Timeout"
  const at = givenAt ?? (isFailure ? timeIn(statistics["lastFailureTime"]) : undefined)
  if (line["_tag"] === "Transition" && at !== undefined && typeof line["to"] === "string") {
    into.changes.push({ at, to: line["to"] as Segment["state"] })
  }
  if (at === undefined) return undefined
  const keys = ["success", "failure", "ignored", "slow", "rejected"]
  const counts = Object.fromEntries(keys.map((key) => [key, countOf(statistics, key)]))
  const before = into.last
  into.last = { at, counts }
  const differences = Object.fromEntries(
    keys.map((key) => [key, Math.max(0, counts[key]! - (before?.counts[key] ?? 0))])
  )
  if (before === undefined) addCounts(into, isFailure ? { failure: 1 } : {}, at, at)
  else addCounts(into, differences, Math.min(before.at, at), at)
  return undefined
}

const segmentsOf = (
  changes: ReadonlyArray<{ readonly at: number; readonly to: Segment["state"] }>,
  from: number,
  to: number,
  first: Segment["state"] = "Closed"
): ReadonlyArray<Segment> => {
  const segments: Array<Segment> = []
  let [state, since] = [first, from]
  for (const change of changes.toSorted((a, b) => a.at - b.at)) {
    const at = Math.min(to, Math.max(from, change.at))
    if (at > since) segments.push({ state, from: since, to: at })
    ;[state, since] = [change.to, at]
  }
  return [...segments, { state, from: since, to }].filter(({ from, to }) => to > from)
}

const recordingOf = (
  circuit: string,
  { calls, changes, rejected }: Circuits,
  notes: ReadonlyArray<string>
): Recording => {
  const sorted = calls.toSorted((a, b) => a.startedAt - b.startedAt)
  const end = sorted.reduce((latest, { endedAt }) => Math.max(latest, endedAt), -Infinity)
  const was = changes.length === 0 || sorted.length === 0 ? [] : segmentsOf(changes, sorted[0]!.startedAt, end)
  return { circuit, calls: sorted, end, rejected, was, notes }
}

/** Reads lines of JSON: of `record`, of single calls, or events of breakers. */
export const parseRecording = (
  text: string,
  file: string,
  wanted: string | undefined
): Effect.Effect<Recording, CliFailure> =>
  Effect.suspend(() => {
    const circuits = new Map<string, Circuits>()
    let calls = 0
    for (const [index, raw] of text.split("\n").entries()) {
      if (raw.trim() === "") continue
      const problem = (what: string) => Effect.fail(usage(`${file}, line ${index + 1}: ${what}`))
      let line: unknown
      try {
        line = JSON.parse(raw)
      } catch {
        return problem("it is no JSON")
      }
      if (!isLine(line)) return problem("it is no JSON object")
      const name = typeof line["circuit"] === "string" ? line["circuit"] : ""
      if (wanted !== undefined && name !== wanted && name !== "") continue
      const into = circuits.get(name) ?? { calls: [], rejected: 0, changes: [], last: undefined }
      circuits.set(name, into)
      const before = into.calls.length
      const wrong = add(into, line)
      if (wrong !== undefined) return problem(wrong)
      calls += into.calls.length - before
      if (calls > MOST_CALLS) return problem(`there are more than ${MOST_CALLS.toLocaleString("en")} calls until here`)
    }
    const withCalls = [...circuits].filter(([, { calls }]) => calls.length > 0)
    const [first] = withCalls
    if (first === undefined) {
      return Effect.fail(usage(`${file} has no calls${wanted === undefined ? "" : ` of ${jsonOf(wanted)}`}`))
    }
    if (withCalls.length > 1) {
      const names = withCalls.slice(0, 5).map(([name]) => jsonOf(name)).join(", ")
      return Effect.fail(usage(`${file} has calls of ${withCalls.length} circuits: name one of ${names}`))
    }
    return Effect.succeed(recordingOf(first[0], first[1], []))
  })

// -----------------------------------------------------------------------------
// a storage
// -----------------------------------------------------------------------------

const MINUTE = 60_000

/** The widths of buckets that instances count in, and the spans that are counted in each. */
const GRIDS: ReadonlyArray<{ readonly width: number; readonly from: number; readonly to: number }> = [
  { width: 1000, from: 0, to: MINUTE },
  { width: 10_000, from: MINUTE, to: 10 * MINUTE },
  { width: MINUTE, from: 10 * MINUTE, to: 60 * MINUTE },
  { width: 10 * MINUTE, from: 60 * MINUTE, to: 600 * MINUTE }
]

/** The spans to ask a storage for, so that their differences are the buckets of its window. */
export const spansMillis: ReadonlyArray<number> = GRIDS.flatMap(({ from, to, width }) =>
  Array.from({ length: (to - from) / width }, (_, i) => from + (i + 1) * width)
)

/** Evidence is spread over so long before a change, because a storage does not keep when each call ended. */
const EVIDENCE_MILLIS = 10_000

/** The calls of the window: what each span has more than the next shorter one of the same grid. */
const callsInWindow = ({ totals }: Snapshot, now: number): ReadonlyArray<Call> => {
  let index = 0
  for (const { from, to, width } of GRIDS) {
    const spans = totals.slice(index, index + (to - from) / width)
    index += spans.length
    const last = spans.at(-1)
    if (last === undefined || last.success + last.failure === 0) continue
    return spans.flatMap((counts, i) => {
      const shorter = spans[i - 1] ?? { success: 0, failure: 0, slow: 0 }
      // Of a wider grid the first span holds everything that is younger.
      const begin = from + (i + 1) * width
      const end = i === 0 ? 0 : begin - width
      return spread(
        {
          success: Math.max(0, counts.success - shorter.success),
          failure: Math.max(0, counts.failure - shorter.failure),
          slow: Math.max(0, counts.slow - shorter.slow),
          ignored: 0
        },
        now - begin,
        now - end
      )
    })
  }
  return []
}

/** The calls that a change was decided on, as far as its evidence tells. */
const callsBefore = ({ at, to, why }: HistoryEntry): ReadonlyArray<Call> => {
  if (to !== "Open") return []
  const evidence = isLine(why.evidence) ? why.evidence : {}
  const windows = Array.isArray(evidence["totals"]) ? evidence["totals"].filter(isLine) : []
  const widest =
    windows.toSorted((a, b) =>
      countOf(b, "success") + countOf(b, "failure") - countOf(a, "success") - countOf(a, "failure")
    )[0] ?? {}
  const streak = Math.max(
    countOf(evidence, "streak"),
    countOf(evidence, "failures"),
    Number(/^(\d+) consecutive/.exec(why.reason)?.[1] ?? 0)
  )
  const [success, failure, slow] = ["success", "failure", "slow"].map((key) => countOf(widest, key))
  const rest = Math.max(0, failure! - streak)
  const middle = at - EVIDENCE_MILLIS / 10
  return [
    ...spread({ success: success!, failure: rest, slow: slow!, ignored: 0 }, at - EVIDENCE_MILLIS, middle),
    ...spread({ success: 0, failure: streak, slow: 0, ignored: 0 }, middle, at - 1)
  ]
}

/** A recording of what a storage remembers: the evidence of each change, and the window. `history` is newest first. */
export const recordingFrom = (
  circuit: string,
  snapshot: Snapshot,
  history: ReadonlyArray<HistoryEntry>,
  now: number
): Recording => {
  const oldest = history.toReversed()
  const calls = [...oldest.flatMap(callsBefore), ...callsInWindow(snapshot, now)]
    .toSorted((a, b) => a.startedAt - b.startedAt)
  const begin = calls[0]?.startedAt ?? now
  return {
    circuit,
    calls,
    end: now,
    rejected: 0,
    was: segmentsOf(oldest.map(({ at, to }) => ({ at, to })), begin, now, oldest[0]?.from ?? snapshot.state._tag),
    notes: [
      "A storage keeps no single calls: these are the evidence of each opening, spread over the 10 seconds before it, and the window. " +
      "Record the circuit with `effect-breaker record` for an exact answer."
    ]
  }
}
