/** One breaker's part in the fleet of its storage, which the memberships of all its circuits share. */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Plan } from "../../core/Plan.ts"
import type { Log } from "../Log.ts"
import type { FleetPolicy } from "../ResolvedPolicy.ts"
import type { Connection } from "./Connection.ts"
import type { Batches, Rounds } from "./Rounds.ts"

export interface Membership {
  readonly connection: Connection
  readonly batches: Batches
  readonly rounds: Rounds
  /** Random: no two instances have the same, in whatever process. */
  readonly instance: string
  readonly policy: FleetPolicy
  /** The part of the plan by which the fleet's evidence is judged and its probes are granted. */
  readonly plan: Pick<Plan, "rule" | "probes" | "successes" | "leaseMillis" | "maxOpenForMillis">
  /** Whether the fleet opens on pooled evidence, or with whichever instance trips. */
  readonly isPooled: boolean
  /** Whether successes are reported and changes polled for. Not so on memory with `any` and `local`: nobody else needs them. */
  readonly polls: boolean
  /** The `within`s of the rule, in milliseconds. */
  readonly withins: ReadonlyArray<number>
  readonly fingerprint: string
  /** Logs to the loggers of this breaker. */
  readonly log: Log
  /** Whether it was logged that another policy than its own was met. */
  hasLoggedPolicies: boolean
  /** Whether it was logged that a newer version of the library owns its circuits. */
  hasLoggedVersion: boolean
  /** Whether the breaker's scope has closed. */
  hasLeft: boolean
}

/** A random id, about 150 bits: nobody else has the same. */
export const randomId: Effect.Effect<string> = Effect.map(
  Effect.all([Random.next, Random.next, Random.next]),
  (parts) => parts.map((part) => part.toString(36).slice(2)).join("")
)
