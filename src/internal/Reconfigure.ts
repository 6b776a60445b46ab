/** Puts another policy in force, on a breaker and all of its circuits. */
import type { LocalMillis } from "../core/Time.ts"
import type { PolicyChange } from "../Event.ts"
import type { Storage } from "../Storage/Storage.ts"
import type { Circuit } from "./Circuit.ts"
import { unfencedFields } from "./Ineffective.ts"
import type { Keys } from "./Keys.ts"
import { messages } from "./Messages.ts"
import type { Put } from "./PolicyInForce.ts"
import { idleMillisOf, keyedParts, type Resolved } from "./ResolvedPolicy.ts"
import { replacePolicy, type Shared } from "./Shared.ts"
import { lookAgain } from "./Waiting.ts"

/** The parts of a breaker that follow from its policy. */
export interface Parts {
  readonly storage: Storage
  /** The breaker's entry to its fleet. */
  readonly fleet: { readonly reconfigure: (policy: Resolved, fingerprint: string) => void } | undefined
  readonly shared: Shared
  /** The circuits of a keyed breaker, or the one of any other. */
  readonly circuits: Keys | { readonly all: () => Iterable<Circuit>; readonly circuit: Circuit }
}

/** The order is a rule: the fleet's part comes first, because it collects what was counted under the policy before. */
export const reconfigure = (parts: Parts, { changed, fingerprint, policy, resolved }: Put): void => {
  const { circuits, fleet, shared, storage } = parts
  const before = { ...shared }
  const now = shared.ticker.exact()
  fleet?.reconfigure(resolved, fingerprint)
  replacePolicy(shared, resolved)
  for (const circuit of circuits.all()) {
    circuit.policyReplaced(before, now)
    lookAgain(circuit)
  }
  if ("configure" in circuits) {
    circuits.configure({ ...keyedParts(policy), idleMillis: idleMillisOf(policy) })
  }
  shared.meter.reconfigured()
  tell(parts, changed, now)
  const fields = unfencedFields(policy)
  if (storage.capabilities.fences || !changed.some(({ field }) => fields.includes(field))) return
  shared.log(messages.notFenced, { circuit: shared.name, backend: storage.backend, fields: fields.join(", ") })
}

const tell = (
  { circuits, shared: { hub, log, name } }: Parts,
  changed: ReadonlyArray<PolicyChange>,
  now: LocalMillis
): void => {
  const inWords = changed.map(({ field, from, to }) => `${field} from ${from} to ${to}`).join("; ")
  log(messages.policyChanged, { circuit: name, changed: inWords })
  if (!hub.listening) return
  // A keyed breaker may have more circuits than a listener holds events.
  const snapshot = "circuit" in circuits ? circuits.circuit.snapshot(now) : undefined
  hub.publish({ _tag: "Reconfigured", circuit: name, changed, snapshot })
}
