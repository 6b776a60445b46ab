/** `show` and `history`: one circuit, and its changes. */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { NO_SUCH_CIRCUIT } from "../../core/Change.ts"
import { evidenceLine } from "../../internal/EvidenceLine.ts"
import type { Circuit } from "../../Operator.ts"
import type { HistoryEntry, Snapshot } from "../../Storage/Storage.ts"
import type { Output } from "../Output.ts"
import { CliFailure, exitCodes } from "./Failure.ts"
import { changeOf, circuitOf } from "./Output.ts"
import { type Flags, print, screen, withStorage } from "./Session.ts"
import {
  type Column,
  cut,
  headerOf,
  isoOf,
  jsonOf,
  nameOf,
  painted,
  rowOf,
  safe,
  spanOf,
  timeOf,
  widthsOf
} from "./Text.ts"
import { overrideText, paintOf, wordOf } from "./Words.ts"

/** One span for each width of buckets that instances count in. */
const SPANS_MILLIS = [60_000, 600_000, 3_600_000, 36_000_000]

const LATEST = 5

/** So much of a name or a piece of evidence is shown in text. JSON has all of it. */
const LONGEST_LINE = 1000

export const noSuchCircuit = (circuit: string): CliFailure =>
  new CliFailure({ code: exitCodes.no, text: `${nameOf(circuit)}: ${NO_SUCH_CIRCUIT.replace(/, or say.*/, "")}` })

const percent = (part: number, whole: number): string =>
  whole === 0 ? "0 %" : `${(100 * part / whole).toFixed(part === 0 || part === whole ? 0 : 1)} %`

const plural = (count: number, word: string): string => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`

const stateLine = (snapshot: Snapshot): string => {
  const { elapsed, openings, state } = snapshot
  const since = elapsed === undefined ? "" : ` for ${spanOf(elapsed)}`
  switch (state._tag) {
    case "Closed":
      return `closed${since}`
    case "Open":
      return `open${since}, ${openings === 1 ? "its first opening" : `${openings} openings in a row`}`
    case "HalfOpen":
      return `half-open${since}, ${plural(state.live, "probe")} running, ${have(state.successes)} succeeded${
        state.failures === undefined ? "" : `, ${have(state.failures)} failed`
      }`
  }
}

const have = (probes: number): string => probes === 1 ? "1 has" : `${probes} have`

const nextLine = ({ hint, override, state }: Snapshot): string | undefined => {
  if (override?.kind === "ForcedOpen") return "no probe while it is forced open"
  if (override?.kind === "Disabled") return "every call runs and none is recorded"
  const wait = hint > 0 ? `, the dependency asked for ${spanOf(hint)}` : ""
  if (state._tag === "Open") {
    return state.remaining > 0 ? `a probe in ${spanOf(state.remaining)}${wait}` : `a probe with the next call${wait}`
  }
  if (state._tag === "HalfOpen" && state.nextLapse !== undefined) {
    return `a place for another probe in ${spanOf(state.nextLapse)} at the latest`
  }
  return undefined
}

const callsLine = ({ lifetime }: Snapshot): string => {
  const { failure, ignored, rejected, slow, success, timeout } = lifetime
  const calls = success + failure
  return [
    plural(calls, "call"),
    `${failure.toLocaleString("en")} failed (${percent(failure, calls)}${
      timeout === 0 ? "" : `, ${timeout} by timeout`
    })`,
    ...slow === 0 ? [] : [`${slow.toLocaleString("en")} slow`],
    ...ignored === 0 ? [] : [`${ignored.toLocaleString("en")} ignored`],
    `${rejected.toLocaleString("en")} rejected`,
    `opened ${lifetime.opened === 1 ? "once" : `${lifetime.opened} times`}`
  ].join(", ")
}

const lastLine = ({ lifetime }: Snapshot): string | undefined => {
  const { lastFailureAge, lastFailureDuration, lastSuccessAge, lastSuccessDuration } = lifetime
  const took = (millis: number | undefined) => millis === undefined ? "" : ` (took ${spanOf(millis)})`
  const parts = [
    ...lastSuccessAge === undefined ? [] : [`success ${spanOf(lastSuccessAge)} ago${took(lastSuccessDuration)}`],
    ...lastFailureAge === undefined ? [] : [`failure ${spanOf(lastFailureAge)} ago${took(lastFailureDuration)}`]
  ]
  return parts.length === 0 ? undefined : parts.join(", ")
}

const windowsOf = ({ totals }: Snapshot): Output.Show["windows"] =>
  totals.flatMap((counts, index) =>
    counts.success + counts.failure + (counts.shed ?? 0) === 0
      ? []
      : [{ within: SPANS_MILLIS[index]!, ...counts, shed: counts.shed ?? 0 }]
  )

const policyLine = ({ fingerprint }: Snapshot, given: string | undefined): string | undefined => {
  if (fingerprint === undefined || given === undefined) return fingerprint
  return given === fingerprint
    ? `${fingerprint}, which is the given policy`
    : `${fingerprint} last changed the state; the given policy is another, ${given}`
}

/** The lines of a circuit, as `show` prints them and as it is shown before an act. `given` is the fingerprint of a policy to compare with. */
export const linesOf = (
  { circuit, snapshot }: Circuit,
  colours: boolean,
  given?: string
): ReadonlyArray<string> => {
  const policy = policyLine(snapshot, given)
  const { members, override, why } = snapshot
  const evidence = why?.evidence === undefined ? undefined : safe(evidenceLine(why.evidence))
  const fields: ReadonlyArray<readonly [name: string, text: string | undefined]> = [
    ["state", painted(stateLine(snapshot), paintOf({ ...snapshot, override: undefined }), colours)],
    [
      "override",
      override === undefined ?
        undefined :
        `${safe(overrideText(override))}, ${
          override.remaining === undefined ? "until it is cleared" : `for ${spanOf(override.remaining)} more`
        }: ${safe(override.reason)}`
    ],
    [
      "why",
      why === undefined ? undefined : `${safe(why.reason)}${why.actor === undefined ? "" : ` (${safe(why.actor)})`}`
    ],
    ["evidence", evidence === "" ? undefined : evidence],
    ["next", nextLine(snapshot)],
    ["calls", callsLine(snapshot)],
    ["last", lastLine(snapshot)],
    ...windowsOf(snapshot).map(({ failure, shed, slow, success, within }) =>
      [
        `last ${spanOf(within)}`,
        `${plural(success + failure, "call")}, ${percent(failure, success + failure)} failed, ${
          percent(slow, success + failure)
        } slow${shed === 0 ? "" : `, ${percent(shed, success + failure + shed)} of the requests shed`}`
      ] as const
    ),
    ["streak", snapshot.streak === 0 ? undefined : `${plural(snapshot.streak, "consecutive failure")}`],
    ["policy", policy === undefined ? undefined : safe(policy)],
    [
      "instances",
      members === undefined ? undefined : `at most ${members.toLocaleString("en")} reported within the idle time`
    ]
  ]
  return [
    painted(cut(safe(circuit), LONGEST_LINE), "bold", colours),
    ...fields.flatMap(([name, text]) => text === undefined ? [] : [`  ${name.padEnd(9)} ${cut(text, LONGEST_LINE)}`])
  ]
}

// -----------------------------------------------------------------------------
// changes
// -----------------------------------------------------------------------------

const changeColumns: ReadonlyArray<Column<HistoryEntry>> = [
  { title: "AT", text: ({ at }) => timeOf(at) },
  { title: "CHANGE", text: ({ from, to }) => from === to ? wordOf(to) : `${wordOf(from)} → ${wordOf(to)}` },
  { title: "OVERRIDE", text: ({ override }) => override === undefined ? "" : wordOf(override as "Disabled") },
  { title: "BY", text: ({ why }) => why.actor ?? "", least: 6 },
  { title: "WHY", text: ({ why }) => why.reason, least: 12 }
]

const changeLines = (entries: ReadonlyArray<HistoryEntry>, across: number, colours: boolean): ReadonlyArray<string> => {
  if (entries.length === 0) return []
  const widths = widthsOf(changeColumns, entries, across)
  return [
    headerOf(changeColumns, widths, colours),
    ...entries.map((entry) => rowOf(changeColumns, widths, entry, colours))
  ]
}

// -----------------------------------------------------------------------------
// the commands
// -----------------------------------------------------------------------------

/** `given` is the fingerprint of a policy to compare with. */
export const show = (flags: Flags, circuit: string, given: string | undefined) =>
  withStorage(flags, ({ operator }) =>
    Effect.gen(function*() {
      const found = yield* operator.get(circuit, { withins: SPANS_MILLIS })
      if (Option.isNone(found)) return yield* noSuchCircuit(circuit)
      const { snapshot } = found.value
      const changes = yield* operator.history(circuit, { limit: LATEST })
      const now = yield* Clock.currentTimeMillis
      const matches = given === snapshot.fingerprint
      if (flags.json) {
        const output: Output.Show = {
          ...circuitOf(found.value, now),
          backend: operator.backend,
          at: isoOf(now),
          windows: windowsOf(snapshot),
          changes: changes.map((entry) => changeOf(circuit, entry)),
          instances: snapshot.members ?? null,
          policy: given === undefined ? null : { fingerprint: given, matches }
        }
        return yield* print(jsonOf(output))
      }
      const { colours, columns } = yield* screen
      const latest = changeLines(changes, columns - 2, colours).map((line) => `  ${line}`)
      yield* print([
        ...linesOf(found.value, colours, given),
        ...latest.length === 0 ? [] : ["", ...latest]
      ].join("\n"))
    }))

export const history = (flags: Flags, circuit: string, limit: number) =>
  withStorage(flags, ({ operator }) =>
    Effect.gen(function*() {
      if (!operator.capabilities.history) yield* Console.error(`The storage ${operator.backend} keeps no history`)
      const entries = yield* operator.history(circuit, { limit })
      if (entries.length === 0 && Option.isNone(yield* operator.get(circuit))) return yield* noSuchCircuit(circuit)
      if (flags.json) {
        const output: Output.History = { circuit, changes: entries.map((entry) => changeOf(circuit, entry)) }
        return yield* print(jsonOf(output))
      }
      const { colours, columns } = yield* screen
      if (entries.length > 0) yield* print(changeLines(entries, columns, colours).join("\n"))
      else if (operator.capabilities.history) yield* Console.error(`${nameOf(circuit)} has not changed`)
    }))
