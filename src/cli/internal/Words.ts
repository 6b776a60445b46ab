/** States and overrides in words, for people. */
import type { StateFilter } from "../../Operator.ts"
import type { Snapshot, SnapshotOverride } from "../../Storage/Storage.ts"
import { type Paint, spanOf } from "./Text.ts"

/** How a state or a mode is written on the command line. */
const WORDS: Readonly<Record<StateFilter, string>> = {
  Closed: "closed",
  Open: "open",
  HalfOpen: "half-open",
  ForcedOpen: "forced-open",
  Disabled: "disabled",
  MetricsOnly: "metrics-only"
}

export const wordOf = (state: StateFilter): string => WORDS[state]

/** The states of a list such as `open,half-open`. Throws a `RangeError` that names the word that is none. */
export const statesIn = (list: string): ReadonlyArray<StateFilter> =>
  list.split(",").map((word) => {
    const found = Object.entries(WORDS).find(([, known]) => known === word.trim().toLowerCase().replaceAll("_", "-"))
    if (found === undefined) {
      throw new RangeError(`${JSON.stringify(word.slice(0, 40))} is no state: use ${Object.values(WORDS).join(", ")}`)
    }
    return found[0] as StateFilter
  })

export const stateText = ({ state }: Snapshot): string => wordOf(state._tag)

export const overrideText = ({ actor, kind }: SnapshotOverride): string => `${wordOf(kind)} by ${actor}`

/** How long the override lasts, else the state. */
export const leftOf = ({ override, state }: Snapshot): string => {
  if (override !== undefined) return override.remaining === undefined ? "until cleared" : spanOf(override.remaining)
  if (state._tag === "Open") return state.remaining === 0 ? "probe due" : spanOf(state.remaining)
  return ""
}

export const paintOf = ({ override, state }: Snapshot): Paint | undefined =>
  override?.kind === "ForcedOpen" || state._tag === "Open"
    ? "red"
    : state._tag === "HalfOpen"
    ? "yellow"
    : override === undefined
    ? "green"
    : "cyan"
