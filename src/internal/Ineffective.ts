/** Policy fields without an effect. They are logged once, when the breaker is made, because nothing else would show them. */
import * as Effect from "effect/Effect"
import type { Storage } from "../Storage/Storage.ts"
import { hasBells } from "./Bells.ts"
import { logged } from "./Log.ts"
import { messages } from "./Messages.ts"
import type { Policy } from "./PolicyModel.ts"
import type { Resolved } from "./ResolvedPolicy.ts"

export const reportIneffective = (
  circuit: string,
  policy: Policy,
  resolved: Resolved,
  storage: Storage
): Effect.Effect<void> =>
  Effect.andThen(
    reportUnfenced(circuit, policy, storage),
    Effect.forEach(
      ineffective(policy, resolved, storage),
      ([field, because]) => logged(messages.fieldIneffective, { circuit, field, because }),
      { discard: true }
    )
  )

/** The fields of a policy that need a storage which can decide between instances. */
export const unfencedFields = ({ consistency = "local", evidence, onStorageError }: Policy): ReadonlyArray<string> => [
  ...(consistency === "local" ? [] : ["consistency"]),
  ...(onStorageError === "fail" ? ["onStorageError"] : []),
  ...(evidence === "pooled" ? ["evidence"] : [])
]

const reportUnfenced = (circuit: string, policy: Policy, { backend, capabilities }: Storage): Effect.Effect<void> => {
  const fields = unfencedFields(policy)
  return capabilities.fences || fields.length === 0
    ? Effect.void
    : logged(messages.notFenced, { circuit, backend, fields: fields.join(", ") })
}

/** The fields that other fields of the policy, or the storage, leave without an effect, and why. */
const ineffective = (
  { consistency = "local", onStorageError, reports }: Policy,
  { slowerThanMillis = 0, timeoutMillis = Infinity }: Resolved,
  { backend, bells, capabilities }: Storage
): ReadonlyArray<readonly [field: string, because: string]> => [
  ...(onStorageError === "fail" && consistency === "local" && capabilities.fences
    ? [["onStorageError", "under consistency local no call waits for the storage"]] as const
    : []),
  ...(reports === "quiet" && !hasBells({ bells, capabilities })
    ? [["reports", `${backend} has no bells, so each circuit in use is reported every interval`]] as const
    : []),
  ...(reports === "quiet" && consistency === "strict"
    ? [["reports", "under consistency strict each call waits for its report"]] as const
    : []),
  ...(slowerThanMillis > timeoutMillis
    ? [["trip.slowerThan", "a call ends at its timeout, before it is slow"]] as const
    : [])
]
