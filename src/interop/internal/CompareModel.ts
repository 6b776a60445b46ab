/** The models of a comparison. `Compare` exports them. */
import type * as Config from "effect/Config"
import type * as Effect from "effect/Effect"
import type { Guard } from "../../Guard.ts"
import type { Outcome } from "../../Outcome.ts"

/**
 * Which of the two breakers.
 *
 * @category models
 * @since 0.1.0
 */
export type Side = "old" | "new"

/**
 * Where two breakers disagree about a call.
 *
 * - `Decided`: one ran the call, or would have, and the other did not.
 * - `Outcome`: both had it run, and judged it differently. It is compared where both say how they judge.
 *
 * @category models
 * @since 0.1.0
 */
export interface Mismatch {
  readonly _tag: "Decided" | "Outcome"
  readonly circuit: string
  /** The one that decided about this call. */
  readonly decides: Side
  readonly old: "run" | "rejected" | Outcome["_tag"]
  readonly new: "run" | "rejected" | Outcome["_tag"]
  /** Why each rejected the call, or took it for a failure of its own; `undefined` where that needs no reason, or is not known. */
  readonly reasons: { readonly old: string | undefined; readonly new: string | undefined }
}

/**
 * Options of `compare`.
 *
 * @category models
 * @since 0.1.0
 */
export interface CompareOptions {
  /**
   * Which one decides. An effect is run for each call, so a flag can switch by share or by tenant. If it fails, the old one decides, and
   * that is logged at `References.UnhandledLogLevel`. Default: what `CIRCUIT_BREAKER_DECIDES` is when the call is made, else `old`.
   */
  readonly decides?: Side | Effect.Effect<Side, Config.ConfigError> | undefined
  /**
   * Called for each mismatch, beside the call and not in it. Default: a warning in the log, at most one a second. The counter
   * `circuit_breaker.compare.mismatches` counts all of them in any case.
   */
  readonly onMismatch?: ((mismatch: Mismatch) => Effect.Effect<void>) | undefined
  /**
   * Whether both are asked. If not, only the one that decides is. If an effect fails, both are, and that is logged at
   * `References.UnhandledLogLevel`. Default: what `CIRCUIT_BREAKER_COMPARISON` is when the call is made, else `true`.
   */
  readonly compare?: boolean | Effect.Effect<boolean, Config.ConfigError> | undefined
}

/** The two breakers, whatever their calls fail with and need. */
export type Sides = Readonly<Record<Side, Guard<any, any>>>

export const otherSide = (side: Side): Side => side === "old" ? "new" : "old"
