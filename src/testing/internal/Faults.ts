/** The faults of a storage, both of a real one behind `FaultyStorage` and of the simulated one. */
import type * as Duration from "effect/Duration"
import { durationIn, fieldsIn, oneOf, rateIn, refuse, YEAR_MILLIS } from "../../internal/Check.ts"

/**
 * The faults of a storage. Shares are from 0 to 1, of requests at random: by Effect's `Random` of the layer, or by the seed of a
 * simulation, so that a run can be repeated. Default: nothing.
 *
 * @category models
 * @since 0.1.0
 */
export interface Faults {
  /** How long each request takes to arrive, by the clock. At most a year. */
  readonly latency?: Duration.Input | undefined
  /** The share of requests that never arrive. They are not answered. */
  readonly losesRequests?: number | undefined
  /** The share of requests that are carried out and never answered. Changes that the storage pushes are lost, too. */
  readonly losesReplies?: number | undefined
  /** No request arrives, and nothing is pushed. `silent`: nothing is answered. `refused`: all fail at once with `Unavailable`. */
  readonly outage?: "silent" | "refused" | undefined
}

/** Throws a `RangeError` where a fault makes no sense. */
export const checkFaults = (what: string, faults: Faults): void => {
  const { latency, losesReplies = 0, losesRequests = 0, outage } = faults
  refuse(what, [
    ...fieldsIn("", faults, ["latency", "losesRequests", "losesReplies", "outage"]),
    ...(latency === undefined ? [] : durationIn("latency", latency, 0, YEAR_MILLIS)),
    ...rateIn("losesRequests", losesRequests),
    ...rateIn("losesReplies", losesReplies),
    ...(outage === undefined ? [] : oneOf("outage", outage, ["silent", "refused"]))
  ])
}
