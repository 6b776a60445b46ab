/** A breaker's error, as it is or as the cause of another error. */
import { hasProperty, isTagged } from "effect/Predicate"
import type { BreakerError } from "../../BreakerError.ts"
import { isRejection } from "../../BreakerError.ts"

/** How deep it may lie: an error of the client has a reason, and the reason its cause. */
const MOST_CAUSES = 8

/** The breaker's error that an error is, or carries as its reason or cause. */
export const rejectionIn = (error: unknown): BreakerError | undefined => {
  let at = error
  try {
    for (let depth = 0; depth < MOST_CAUSES; depth++) {
      if (isRejection(at)) return at as BreakerError
      if (isTagged(at, "HttpClientError") && hasProperty(at, "reason")) at = at.reason
      else if (hasProperty(at, "cause")) at = at.cause
      else return undefined
    }
  } catch {
    // A getter of the application's own error threw: it is no error of a breaker.
  }
  return undefined
}
