/** An error that another error is, or carries as its reason or cause. */
import { hasProperty, isTagged } from "effect/Predicate"
import { type BreakerError, isNotCalled, isRejection } from "../BreakerError.ts"

/** How deep it may lie: an error of the client has a reason, and the reason its cause. */
const MOST_CAUSES = 8

const carried = (error: unknown, is: (error: unknown) => boolean): unknown => {
  let at = error
  try {
    for (let depth = 0; depth < MOST_CAUSES; depth++) {
      if (is(at)) return at
      if (isTagged(at, "HttpClientError") && hasProperty(at, "reason")) at = at.reason
      else if (hasProperty(at, "cause")) at = at.cause
      else return undefined
    }
  } catch {
    // A getter of the application's own error threw: it is no error of a breaker.
  }
  return undefined
}

/** The breaker's error that an error is, or carries as its reason or cause. */
export const rejectionIn = (error: unknown): BreakerError | undefined =>
  carried(error, isRejection) as BreakerError | undefined

/** Whether an error says that the call was not made, by itself or by an error that it carries: see `isNotCalled`. */
export const saysNotCalled = (error: unknown): boolean => carried(error, isNotCalled) !== undefined
