/**
 * The policy of a breaker, and how another one is put in force while the breaker lives.
 *
 * **Invariants**
 *
 * - A policy is checked as a whole before anything changes, and put in force without a step in between, so that no call and no other
 *   change meets half of it.
 */
import * as Effect from "effect/Effect"
import { isSchedule } from "effect/Schedule"
import { PolicyError } from "../BreakerError.ts"
import { formatMillis, ruleInWords } from "../core/TripRule.ts"
import type { PolicyChange } from "../Event.ts"
import { fieldsIn, isObject, type Problem } from "./Check.ts"
import type { Policy } from "./PolicyModel.ts"
import {
  dataFields,
  fingerprint,
  given,
  idleMillisOf,
  keyedFields,
  keyedParts,
  type KeyedPolicy,
  keyedProblems,
  merge,
  problems,
  type Resolved,
  undeclared,
  withDefaults
} from "./ResolvedPolicy.ts"

/** The breaker whose policy it is. */
export interface Holder {
  readonly name: string
  readonly isKeyed: boolean
  /** The policy that the error type of the breaker's calls was made from. */
  readonly declared: Policy
  /** Fields that hold where the policy does not set them. */
  readonly defaults: Policy
  /** The problems of a policy with the breaker's storage. */
  readonly unfit: (resolved: Resolved) => ReadonlyArray<Problem>
  /** Puts a policy in force, in one step. */
  readonly apply: (put: Put) => void
}

/** A policy that is put in force, and what is changed by it. */
export interface Put {
  readonly policy: KeyedPolicy
  readonly resolved: Resolved
  readonly fingerprint: string
  readonly changed: ReadonlyArray<PolicyChange>
}

export class PolicyInForce {
  readonly #holder: Holder
  #policy: KeyedPolicy
  #resolved: Resolved
  #fingerprint: string

  /** `policy` is one without problems. */
  constructor(holder: Holder, policy: KeyedPolicy) {
    this.#holder = holder
    this.#policy = policy
    this.#resolved = withDefaults(policy)
    this.#fingerprint = fingerprint(policy)
  }

  get policy(): KeyedPolicy {
    return this.#policy
  }

  get fingerprint(): string {
    return this.#fingerprint
  }

  /** Replaces the fields that are given. */
  reconfigure(change: KeyedPolicy): Effect.Effect<ReadonlyArray<PolicyChange>, PolicyError> {
    return Effect.suspend(() => {
      const more = this.#holder.isKeyed ? keyedFields : []
      const wrong = fieldsIn("", change, [...dataFields, ...more])
      const found = wrong.length > 0 || !isObject(change) ? wrong : problems(change, more)
      if (found.length > 0) return this.#refused(found)
      const policy = merge(this.#policy, change)
      const problemsOfAll = this.#check(policy)
      return problemsOfAll.length > 0 ? this.#refused(problemsOfAll) : Effect.succeed(this.#put(policy))
    })
  }

  /** Puts a whole policy without problems in force. A field that it does not set has its default again. */
  replace(policy: KeyedPolicy): ReadonlyArray<PolicyChange> {
    return this.#put(this.#overDefaults(policy))
  }

  /** The problem of a whole policy, by itself and for this breaker. */
  problems(policy: KeyedPolicy): ReadonlyArray<Problem> {
    return this.#check(this.#overDefaults(policy))
  }

  #overDefaults(policy: KeyedPolicy): KeyedPolicy {
    return { ...given(this.#holder.defaults), ...given(policy) }
  }

  #check(policy: KeyedPolicy): ReadonlyArray<Problem> {
    const { declared, isKeyed, unfit } = this.#holder
    const own = isKeyed ? [...problems(policy, keyedFields), ...keyedProblems(policy)] : problems(policy)
    return own.length > 0 ? own : [...undeclared(declared, policy), ...unfit(withDefaults(policy))]
  }

  #put(policy: KeyedPolicy): ReadonlyArray<PolicyChange> {
    const resolved = withDefaults(policy)
    const changed = differences(this.#fields(this.#policy, this.#resolved), this.#fields(policy, resolved))
    const hasOtherSchedule = this.#resolved.openFor !== resolved.openFor
    this.#policy = policy
    this.#resolved = resolved
    if (changed.length > 0 || hasOtherSchedule) {
      this.#fingerprint = fingerprint(policy)
      this.#holder.apply({ policy, resolved, fingerprint: this.#fingerprint, changed })
    }
    return changed
  }

  #refused(found: ReadonlyArray<Problem>): Effect.Effect<never, PolicyError> {
    return Effect.fail(
      new PolicyError({
        circuit: this.#holder.name,
        problems: found.map(({ field, range, value }) => ({ field, got: value, allowed: range }))
      })
    )
  }

  #fields(policy: KeyedPolicy, resolved: Resolved): Fields {
    return this.#holder.isKeyed
      ? { ...fieldsOf(policy, resolved), ...keyedFieldsOf(policy) }
      : fieldsOf(policy, resolved)
  }
}

// -----------------------------------------------------------------------------
// policies as text
// -----------------------------------------------------------------------------

type Fields = Readonly<Record<string, string>>

const orNone = (millis: number | undefined): string => millis === undefined ? "none" : formatMillis(millis)

const sampleInWords = ({ failures, successes }: Resolved): string =>
  `${failures} failures of ${successes + failures - 1} probes reopen`

const throttleInWords = ({ throttle }: Resolved): string => {
  if (throttle === undefined) return "none"
  const { k, max, minimumCalls, window } = throttle
  return `k ${k} of at least ${minimumCalls} calls within ${formatMillis(window.duration)}, at most ${max}`
}

const fieldsOf = (policy: Policy, resolved: Resolved): Fields => {
  const { fleet, openFor } = resolved
  return {
    trip: ruleInWords(resolved.rule),
    openFor: isSchedule(openFor) ? "a schedule" : formatMillis(openFor),
    maxOpenFor: formatMillis(resolved.maxOpenForMillis),
    "halfOpen.probes": `${resolved.probes}`,
    "halfOpen.successes": `${resolved.successes}`,
    "halfOpen.sample": policy.halfOpen?.sample === undefined ? "none" : sampleInWords(resolved),
    "halfOpen.lease": formatMillis(resolved.leaseMillis),
    "halfOpen.timeout": orNone(resolved.probeTimeoutMillis),
    "halfOpen.ramp": resolved.rampMillis === 0 ? "none" : formatMillis(resolved.rampMillis),
    throttle: throttleInWords(resolved),
    timeout: orNone(resolved.timeoutMillis),
    maxConcurrent: `${resolved.maxConcurrent ?? "none"}`,
    consistency: fleet.maxAgeMillis === Infinity
      ? "local"
      : fleet.maxAgeMillis === 0
      ? "strict"
      : `at most ${formatMillis(fleet.maxAgeMillis)} old`,
    evidence: fleet.evidence ?? "by the storage",
    onStorageError: policy.onStorageError ?? "allow",
    enforcement: resolved.enforcement,
    approachAt: `${resolved.approachAt ?? "never"}`,
    syncEvery: formatMillis(fleet.syncEveryMillis),
    reports: fleet.isQuiet ? "quiet" : "every interval"
  }
}

const keyedFieldsOf = (policy: KeyedPolicy): Fields => {
  const { capacity, neverOpenMoreThan, overflow } = keyedParts(policy)
  return {
    capacity: `${capacity}`,
    idleTimeToLive: formatMillis(idleMillisOf(policy)),
    overflow,
    neverOpenMoreThan: `${neverOpenMoreThan}`
  }
}

/** Every field of a policy in words, with the defaults. */
export const inWords = (policy: KeyedPolicy): Fields => ({
  ...fieldsOf(policy, withDefaults(policy)),
  ...keyedFieldsOf(policy)
})

const differences = (from: Fields, to: Fields): ReadonlyArray<PolicyChange> =>
  Object.entries(to).flatMap(([field, value]) =>
    value === from[field] ? [] : [{ field, from: from[field]!, to: value }]
  )

// -----------------------------------------------------------------------------
// of a breaker in hand
// -----------------------------------------------------------------------------

/** Apart from the breakers, because nobody but a configuration may take a field back that the class or the caller has set. */
const ofBreakers = new WeakMap<object, PolicyInForce>()

export const remember = (breaker: object, inForce: PolicyInForce): void => {
  ofBreakers.set(breaker, inForce)
}

/** The policy in force of a breaker; `undefined` for a test's, and for one that is not of this library. */
export const inForceOf = (breaker: object): PolicyInForce | undefined => ofBreakers.get(breaker)
