/** A storage may answer anything, so the shape of an answer is checked before it is used. */
import { isSnapshotAlert } from "../core/Record.ts"
import type { Snapshot } from "../Storage/Storage.ts"

const MODES: ReadonlyArray<unknown> = ["ForcedOpen", "Disabled", "MetricsOnly"]

/** Whether it is a snapshot, with this number of totals where one is given. */
export const isSnapshot = (value: unknown, totals?: number): value is Snapshot => {
  const { state, ...rest } = (value ?? {}) as Partial<Snapshot>
  if (!isCount(rest.generation) || !isCount(rest.openings) || !isNumber(rest.asOf) || !isNumber(rest.openFor)) {
    return false
  }
  if (!Array.isArray(rest.totals) || (totals !== undefined && rest.totals.length !== totals)) return false
  if (!rest.totals.every(isCounts) || !isObject(rest.lifetime) || typeof rest.streak !== "number") return false
  if (rest.alert !== undefined && !isSnapshotAlert(rest.alert)) return false
  if (rest.override !== undefined && !MODES.includes((rest.override as Snapshot["override"] | null)?.kind)) return false
  switch (state?._tag) {
    case "Closed":
      return true
    case "Open":
      return isNumber(state.remaining)
    case "HalfOpen":
      return isCount(state.live) && isCount(state.successes) && isCount(state.failures ?? 0)
    default:
      return false
  }
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null
const isCounts = (value: unknown): boolean =>
  isObject(value) && "success" in value && "failure" in value && isNumber(value.success) && isNumber(value.failure)
const isNumber = (value: unknown): boolean => typeof value === "number" && Number.isFinite(value)
const isCount = (value: unknown): boolean => isNumber(value) && (value as number) >= 0
