/** The fields of a service in a file and in the environment: those of a policy, in snake case, and a few by other names. */
import { keyedFields, type Kind, policyFields, snakeCase } from "../../internal/PolicyFields.ts"

export interface Field {
  /** In a file, from a service on: `["half_open", "probes"]`. */
  readonly keys: ReadonlyArray<string>
  /** In the environment, after the service's prefix; `undefined` where the environment does not have it. */
  readonly variable: string | undefined
  readonly kind: Kind
  /** Where it is in the policy; `undefined` for the parts of `trip`. */
  readonly policy: ReadonlyArray<string> | undefined
  /** Whether only keyed breakers have it. */
  readonly isKeyed: boolean
  /** For editors. */
  readonly description: string
}

const about: Readonly<Record<string, string>> = {
  trip: "When a closed circuit opens, whole. Not besides failure_threshold and error_rate_threshold.",
  openFor: "How long an open circuit stays open. Default 60 seconds.",
  maxOpenFor: "The upper limit of an open time. Default 1 hour.",
  "halfOpen.probes": "How many probes the whole fleet runs at once. Default 1.",
  "halfOpen.successes": "How many probes must succeed before the circuit closes. Default 1.",
  "halfOpen.sample.calls": "How many probes decide whether the circuit closes. Default 10. Not besides successes.",
  "halfOpen.sample.failureRate":
    "The circuit reopens where the share of failed probes reaches this. Above 0; default 0.5.",
  "halfOpen.lease": "How long a probe holds its place. Default: the probe's timeout + 1 second, or 30 seconds.",
  "halfOpen.timeout": "The timeout of a probe. Only where the class declares a timeout.",
  "halfOpen.ramp": "For this long after closing, a growing share of the calls is admitted. Default: no ramp.",
  "throttle.k": "How many calls run for each that is accepted, while some fail. At least 1; default 2.",
  "throttle.within": "The window of the requests by which calls are shed. Default 2 minutes.",
  "throttle.minimumCalls": "Of fewer requests nothing is shed. Default 20.",
  "throttle.max": "The largest share of the calls that is shed; 0 for none. Default 0.9.",
  timeout: "The timeout of a call. Only where the class declares it.",
  maxConcurrent: "How many calls may run at once. Only where the class declares it.",
  consistency: "How fresh the fleet's view must be before a call runs. Default local.",
  "consistency.maxAge": "How old the fleet's view may be when a call runs.",
  evidence: "Whose outcomes open the circuit for the fleet.",
  onStorageError: "What a call does whose request to the storage fails. Default allow.",
  enforcement: "enforce (the default), or metricsOnly: every call runs, and is recorded.",
  approachAt:
    "At this share of a threshold the circuit is told to come close to opening; false for never. Default 0.8.",
  syncEvery: "The interval between reports to the storage. Default 1 second.",
  reports:
    "How often healthy circuits are reported: quiet (the default), every 10 to 30 seconds on a storage with bells, or every interval.",
  capacity: "The most circuits at once, of a keyed breaker. Default 10000.",
  idleTimeToLive: "A keyed breaker forgets a circuit that was not used for this long. Default 1 hour.",
  overflow: "How a keyed breaker serves a new key when there is no room. Default evictIdle.",
  neverOpenMoreThan: "The largest share of a keyed breaker's keys whose circuits may be open. Default 1."
}

const openFor = { kind: "duration", policy: ["openFor"], isKeyed: false } as const

/** The fields that a file has besides those of the policy. The first four are parts of `trip`. */
const others: ReadonlyArray<Field> = [
  {
    keys: ["failure_threshold"],
    variable: "FAILURE_THRESHOLD",
    kind: "count",
    policy: undefined,
    isKeyed: false,
    description: "The circuit opens after this many consecutive failures."
  },
  {
    keys: ["error_rate_threshold"],
    variable: "ERROR_RATE_THRESHOLD",
    kind: "rate",
    policy: undefined,
    isKeyed: false,
    description: "The circuit opens when the share of failures within the window reaches this, in [0, 1]."
  },
  {
    keys: ["window"],
    variable: "WINDOW",
    kind: "duration",
    policy: undefined,
    isKeyed: false,
    description: "The window of error_rate_threshold. Default 60 seconds."
  },
  {
    keys: ["minimum_calls"],
    variable: "MINIMUM_CALLS",
    kind: "count",
    policy: undefined,
    isKeyed: false,
    description: "How many calls error_rate_threshold needs. Default 10."
  },
  {
    ...openFor,
    keys: ["recovery_timeout"],
    variable: "RECOVERY_TIMEOUT",
    description: "Another name of open_for: how long an open circuit stays open."
  },
  {
    ...openFor,
    keys: ["timeout_seconds"],
    variable: undefined,
    description: "Another name of open_for. It is no timeout of calls."
  }
]

/** All fields. Those of the policy follow the others, in the policy's order. */
export const fields: ReadonlyArray<Field> = [
  ...others,
  ...[policyFields, keyedFields].flatMap((fields) =>
    fields.map(({ kind, path }): Field => ({
      keys: path.map(snakeCase),
      variable: path.map(snakeCase).join("_").toUpperCase(),
      kind,
      policy: path,
      isKeyed: fields === keyedFields,
      description: about[path.join(".")] ?? path.join(".")
    }))
  )
]

/** The variables of a service, without its prefix. */
export const variables: ReadonlyArray<string> = fields.flatMap(({ variable }) => variable ?? [])

/** The prefix of a service's variables: `payments-eu` has `PAYMENTS_EU`. */
export const prefixOf = (service: string): string => service.toUpperCase().replaceAll(/[^\p{L}\p{N}]/gu, "_")
