/** Details of a call that its adapter knows, for spans and recordings. */
import * as Context from "effect/Context"

export interface CallDetails {
  readonly url?: string | undefined
  readonly method?: string | undefined
}

/** The HTTP client sets it for the adapters of other breakers. */
export const CallDetails: Context.Reference<CallDetails> = Context.Reference<CallDetails>(
  "effect-breaker/CallDetails",
  { defaultValue: () => ({}) }
)
