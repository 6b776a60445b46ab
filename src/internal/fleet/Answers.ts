/** A storage may answer anything, so the shape of an answer is checked before it is used. */
import type { Snapshot } from "../../Storage/Storage.ts"

/** Whether it is a snapshot, with this number of totals where one is given. */
export const isSnapshot = (value: unknown, totals?: number): value is Snapshot => {
  const { state, ...rest } = (value ?? {}) as Partial<Snapshot>
  if (!isCount(rest.generation) || !isCount(rest.openings) || !isNumber(rest.asOf) || !isNumber(rest.openFor)) {
    return false
  }
  if (!Array.isArray(rest.totals) || (totals !== undefined && rest.totals.length !== totals)) return false
  if (rest.lifetime === undefined || typeof rest.streak !== "number") return false
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

const isNumber = (value: unknown): boolean => typeof value === "number" && Number.isFinite(value)
const isCount = (value: unknown): boolean => isNumber(value) && (value as number) >= 0
