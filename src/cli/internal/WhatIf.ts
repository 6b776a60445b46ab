/** `what-if`: what a circuit would have done under other policies. */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { usage } from "./Failure.ts"
import { readText, writeFile } from "./Files.ts"
import { readPolicy } from "./PolicyFile.ts"
import { parseRecording, type Recording, recordingFrom, spansMillis } from "./Recording.ts"
import { replay, type Replayed, type Segment } from "./Replay.ts"
import { type Flags, print, screen, withStorage } from "./Session.ts"
import { noSuchCircuit } from "./Show.ts"
import { type Column, headerOf, isoOf, jsonOf, nameOf, painted, rowOf, safe, spanOf, timeOf, widthsOf } from "./Text.ts"
import { svgOf } from "./Timeline.ts"

export interface WhatIfFlags {
  readonly circuit: string | undefined
  readonly from: string | undefined
  readonly policies: ReadonlyArray<string>
  readonly svg: string | undefined
}

// -----------------------------------------------------------------------------
// recordings
// -----------------------------------------------------------------------------

const MOST_CHANGES = 1000

const fromStorage = (flags: Flags, circuit: string) =>
  withStorage(flags, ({ operator }) =>
    Effect.gen(function*() {
      const found = yield* operator.get(circuit, { withins: spansMillis })
      if (Option.isNone(found)) return yield* noSuchCircuit(circuit)
      const history = yield* operator.history(circuit, { limit: MOST_CHANGES })
      const recording = recordingFrom(circuit, found.value.snapshot, history, yield* Clock.currentTimeMillis)
      if (recording.calls.length === 0) {
        return yield* usage(
          `The storage remembers no calls of ${nameOf(circuit)}: record it with effect-breaker record`
        )
      }
      return recording
    }))

const recordingOf = (flags: Flags, { circuit, from }: WhatIfFlags) =>
  Effect.gen(function*() {
    if (from !== undefined) return yield* parseRecording(yield* readText(from), nameOf(from), circuit)
    if (circuit !== undefined) return yield* fromStorage(flags, circuit)
    return yield* usage("Of what? Name a circuit of the storage, or a recording by --from FILE")
  })

// -----------------------------------------------------------------------------
// the answer
// -----------------------------------------------------------------------------

const columns: ReadonlyArray<Column<Replayed>> = [
  { title: "POLICY", text: ({ policy }) => policy, least: 8 },
  { title: "OPENED", text: ({ openings }) => openings.length === 0 ? "never" : `${openings.length}×` },
  { title: "NOT CLOSED", text: ({ notClosedMillis }) => notClosedMillis === 0 ? "" : spanOf(notClosedMillis) },
  { title: "REJECTED", text: ({ calls, rejected }) => `${rejected} of ${calls}` },
  { title: "FAILURES SPARED", text: ({ failuresSpared }) => String(failuresSpared) },
  { title: "SUCCESSES REJECTED", text: ({ successesRejected }) => String(successesRejected) },
  { title: "FIRST OPENED", text: ({ openings }) => openings[0] === undefined ? "" : timeOf(openings[0].at) },
  { title: "WHY", text: ({ openings }) => openings[0]?.reason ?? "", least: 12 }
]

const MARKS = { Closed: "·", Open: "█", HalfOpen: "▒" } as const

const PAINTS = { Closed: "green", Open: "red", HalfOpen: "yellow" } as const

/** One line of a timeline: a character for each part of the time, which shows the worst state in it. */
const barOf = (
  segments: ReadonlyArray<Segment>,
  from: number,
  to: number,
  across: number,
  colours: boolean
): string => {
  const step = Math.max(1, to - from) / across
  return Array.from({ length: across }, (_, i) => {
    const [begin, end] = [from + i * step, from + (i + 1) * step]
    const states = segments.filter((segment) => segment.from < end && segment.to > begin).map(({ state }) => state)
    const state = states.includes("Open") ? "Open" : states.includes("HalfOpen") ? "HalfOpen" : "Closed"
    return painted(MARKS[state], PAINTS[state], colours)
  }).join("")
}

interface Answer {
  readonly recording: Recording
  readonly replays: ReadonlyArray<Replayed>
  readonly from: number
  readonly to: number
}

const jsonAnswer = ({ from, recording, replays, to }: Answer): string => {
  const segments = (of: ReadonlyArray<Segment>) =>
    of.map(({ from, state, to }) => ({
      state: state === "HalfOpen" ? "half_open" : state.toLowerCase(),
      from: isoOf(from),
      to: isoOf(to)
    }))
  return jsonOf({
    circuit: recording.circuit,
    from: isoOf(from),
    to: isoOf(to),
    calls: recording.calls.length,
    rejected_when_recorded: recording.rejected,
    notes: recording.notes,
    was: segments(recording.was),
    policies: replays.map((replayed) => ({
      policy: replayed.policy,
      calls: replayed.calls,
      rejected: replayed.rejected,
      failures: replayed.failures,
      failures_spared: replayed.failuresSpared,
      successes_rejected: replayed.successesRejected,
      not_closed: replayed.notClosedMillis,
      openings: replayed.openings.map(({ at, closedAt, reason }) => ({
        at: isoOf(at),
        reason,
        closed_at: closedAt === null ? null : isoOf(closedAt),
        lasted: closedAt === null ? null : closedAt - at
      })),
      segments: segments(replayed.segments)
    }))
  })
}

const textAnswer = ({ from, recording, replays, to }: Answer) =>
  Effect.map(screen, ({ colours, columns: across, isTerminal }) => {
    const widths = widthsOf(columns, replays, across)
    const failed = recording.calls.filter(({ outcome }) => outcome === "failure").length
    const rows = [
      ...recording.was.length === 0 ? [] : [{ label: "as it was", segments: recording.was }],
      ...replays.map(({ policy, segments }) => ({ label: policy, segments }))
    ]
    const label = Math.min(24, Math.max(...rows.map(({ label }) => label.length)))
    const bar = Math.max(20, (isTerminal ? Math.min(across, 120) : 100) - label - 2)
    return [
      `${nameOf(recording.circuit)}: ${recording.calls.length} calls, ${failed} failed, from ${timeOf(from)} for ${
        spanOf(to - from)
      }`,
      ...recording.rejected === 0
        ? []
        : [
          `${recording.rejected} calls were rejected when it was recorded. Nobody knows how they would have ended, so they are left out.`
        ],
      ...recording.notes,
      "",
      headerOf(columns, widths, colours),
      ...replays.map((replayed) => rowOf(columns, widths, replayed, colours)),
      "",
      ...rows.map(({ label: text, segments }) =>
        `${safe(text).slice(0, label).padEnd(label)}  ${barOf(segments, from, to, bar, colours)}`
      ),
      `${" ".repeat(label)}  · closed  █ open  ▒ half-open`
    ].join("\n")
  })

export const whatIf = (flags: Flags, options: WhatIfFlags) =>
  Effect.gen(function*() {
    if (options.policies.length === 0) return yield* usage("Under which policy? Give one or more by --policy FILE")
    const recording = yield* recordingOf(flags, options)
    const policies = yield* Effect.forEach(options.policies, (file) => readPolicy(file, recording.circuit))
    const replays = yield* Effect.forEach(policies, (policy) => replay(policy, recording.calls, recording.end))
    const from = recording.calls[0]!.startedAt
    const ends = replays.flatMap(({ segments }) => segments.map(({ to }) => to))
    const to = Math.max(recording.end, ...ends)
    const answer = { recording, replays, from, to }
    yield* print(flags.json ? jsonAnswer(answer) : yield* textAnswer(answer))
    if (options.svg === undefined) return
    const rows = [
      ...recording.was.length === 0 ? [] : [{ label: "as it was", segments: recording.was, note: "" }],
      ...replays.map(({ failuresSpared, openings, policy, rejected, segments }) => ({
        label: policy,
        segments,
        note: `opened ${openings.length}×, ${rejected} calls rejected, ${failuresSpared} failures spared`
      }))
    ]
    yield* writeFile(options.svg, svgOf(`What if: ${recording.circuit}`, rows, from, to))
    yield* Console.error(`The timeline is in ${nameOf(options.svg)}`)
  })
