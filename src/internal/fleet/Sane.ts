/** A storage may answer anything: what of it can be made sense of. */
import type { Snapshot } from "../../Storage/Storage.ts"

/** Whether it is a snapshot, with so many totals where it matters. */
export const isSane = (snapshot: unknown, totals?: number): snapshot is Snapshot => {
  const { state, ...rest } = (snapshot ?? {}) as Partial<Snapshot>
  if (!isCount(rest.generation) || !isCount(rest.openings) || !isTime(rest.asOf) || !isTime(rest.openFor)) return false
  if (!Array.isArray(rest.totals) || (totals !== undefined && rest.totals.length !== totals)) return false
  if (rest.lifetime === undefined || typeof rest.streak !== "number") return false
  switch (state?._tag) {
    case "Closed":
      return true
    case "Open":
      return isTime(state.remaining)
    case "HalfOpen":
      return isCount(state.live) && isCount(state.successes)
    default:
      return false
  }
}

const isTime = (value: unknown): boolean => typeof value === "number" && Number.isFinite(value)
const isCount = (value: unknown): boolean => isTime(value) && (value as number) >= 0
