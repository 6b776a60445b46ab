/** The policy of a keyed breaker: that of its circuits, and how many of them it keeps. */
import * as Duration from "effect/Duration"
import { countIn, durationIn, oneOf, type Problem } from "./Check.ts"
import type { Overflow } from "./Keys.ts"
import type { Policy } from "./PolicyModel.ts"

export interface KeyedPolicy extends Policy {
  readonly capacity?: number | undefined
  readonly idleTimeToLive?: Duration.Input | undefined
  readonly overflow?: Overflow | undefined
}

/** The options of a keyed breaker, with their defaults, and the policy of its circuits. */
export const keyedParts = (
  { capacity = 10_000, idleTimeToLive = "1 hour", overflow = "evictIdle", ...own }: KeyedPolicy
) => ({ capacity, idleTimeToLive, overflow, own })

/** How long an unused circuit is kept, in milliseconds. The policy is one without problems. */
export const idleMillisOf = (policy: KeyedPolicy): number =>
  Duration.toMillis(Duration.fromInputUnsafe(keyedParts(policy).idleTimeToLive))

export const keyedProblems = (policy: KeyedPolicy): ReadonlyArray<Problem> => {
  const { capacity, idleTimeToLive, overflow } = keyedParts(policy)
  return [
    ...countIn("capacity", capacity, 1, 10_000_000),
    ...durationIn("idleTimeToLive", idleTimeToLive, 1, Number.MAX_SAFE_INTEGER),
    ...oneOf("overflow", overflow, ["evictIdle", "shareOne", "passThrough"])
  ]
}
