/** Sentences about a circuit: what it does now, until when, and why. */
import type { Output } from "../../src/cli/Output.ts"
import type { Act } from "../../src/dashboard/internal/Feed.ts"
import { evidenceLine } from "../../src/internal/EvidenceLine.ts"
import { duration, visible } from "../shared/text.ts"
import { ratesOf, type Row, STATUS_NAMES } from "./model.ts"

const left = (millis: number | null, since: number, now: number): number | undefined =>
  millis === null ? undefined : Math.max(0, millis - (now - since))

/** The next event of a circuit, and when it is due. */
export const next = (row: Row, now: number): string => {
  const { at, circuit: { override, remaining, state } } = row
  if (override !== null) {
    const rest = left(override.remaining, at, now)
    return rest === undefined ? "until somebody clears it" : `ends in ${duration(rest)}`
  }
  if (state === "half_open") return "takes probes now"
  if (state === "closed") return refusing(row)
  const rest = left(remaining, at, now)
  return rest === undefined || rest === 0 ? "probes with the next call" : `next probe in ${duration(rest)}`
}

/** A closed circuit refuses calls where its policy sheds a share of them, where it has a limit, and while it ramps up. */
const refusing = (row: Row): string => {
  const { failure, rejected, success } = ratesOf(row)
  return rejected === 0 ? "" : `refuses ${Math.round((100 * rejected) / (success + failure + rejected))} % of the calls`
}

/** Since when it is so. */
export const age = ({ at, circuit: { elapsed } }: Row, now: number): string =>
  elapsed === null ? "" : `for ${duration(elapsed + (now - at))}`

export const because = ({ circuit: { override, why } }: Row): string =>
  override !== null ? `${visible(override.actor)}: ${visible(override.reason)}` : visible(why ?? "")

/** A state or a mode as it is read: `forced-open`. */
export const word = (name: string): string => name.replace("_", "-")

/** A change as one line. `overrideBefore` is the override that was in force until then. */
export const transition = (
  { actor, from, override, reason, to }: Output.Change,
  overrideBefore: string | null
): string =>
  `${word(from === to ? overrideBefore ?? from : from)} → ${word(override ?? to)}: ${
    [actor, reason].filter((text) => text !== null).map(visible).join(": ")
  }`

/** The evidence of an opening as one line, with the beginning of an instance's long name. */
export const evidence = (value: unknown): string =>
  value === null ? "" : visible(evidenceLine(value).replace(/\b([0-9a-f]{8})[0-9a-f]{24}\b/, "$1…"))

/** The consequence of an act, shown before it is done. */
export const consequence = (row: Row, { act, forMillis, mode }: Act): string => {
  const name = visible(row.circuit.circuit)
  const now = `It is ${STATUS_NAMES[row.status].toLowerCase()} now.`
  const end = forMillis === undefined ? "until somebody clears it" : `for ${duration(forMillis)}`
  switch (act) {
    case "override":
      switch (mode) {
        case "disabled":
          return `${now} Every call through ${name} will run, on all instances, and nothing is counted, ${end}.`
        case "metrics_only":
          return `${now} Every call through ${name} will run, on all instances, and is counted, ${end}.`
        default:
          return `${now} Every call through ${name} will be rejected, on all instances, ${end}.`
      }
    case "clear":
      return `${now} The override of ${name} ends, and the circuit is ${row.circuit.state.replace("_", "-")} again.`
    case "half-open":
      return `${now} The next calls through ${name} are probes: if they succeed it closes, if one fails it opens again.`
    case "reset":
      return `${now} ${name} closes on all instances, and its consecutive openings are forgotten.`
  }
}
