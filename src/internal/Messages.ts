/**
 * Every line this library logs, as data: `docs/logs.md` lists the same lines, and a test compares the two. A text never
 * holds a value. Values travel in the fields, as annotations, so that a log can be searched by its text.
 */
import type * as LogLevel from "effect/LogLevel"

export interface Message<Field extends string = string> {
  /** `Unhandled` is the level that `References.UnhandledLogLevel` names, or no line at all where that is `undefined`. */
  readonly level: LogLevel.Severity | "Unhandled"
  readonly text: string
  readonly fields: ReadonlyArray<Field>
}

/** A line's fields, all of them and no others. */
export type FieldsOf<Line extends Message> = Readonly<Record<Line["fields"][number], unknown>>

const line = <const Level extends Message["level"], const Field extends string = never>(
  level: Level,
  text: string,
  ...fields: ReadonlyArray<Field>
): Message<Field> & { readonly level: Level } => ({ level, text, fields })

export const messages = {
  // a circuit and its storage
  loadFailed: line("Error", "Failed to load a circuit", "circuit", "cause"),
  persistFailed: line("Error", "Failed to persist a circuit", "circuit", "cause"),
  decodeFailed: line("Error", "Failed to decode a circuit", "circuit", "cause"),
  storageUnreachable: line("Warn", "The storage is unreachable, continuing in memory", "backend"),
  storageRecovered: line("Info", "The storage has recovered", "backend"),
  subscribeRefused: line(
    "Warn",
    "Subscribing to changes was refused; polling every syncEvery instead",
    "cause"
  ),
  subscribeFailing: line(
    "Warn",
    "Changes of others do not arrive, though the storage answers; polling every syncEvery until they do",
    "backend",
    "cause"
  ),
  announceFailed: line(
    "Warn",
    "A change could not be announced and was made without; others learn of it with their next report",
    "circuit",
    "cause"
  ),
  policiesDiffer: line(
    "Warn",
    "Instances of a circuit have different policies; deploy one policy to all of them",
    "circuit",
    "fingerprint",
    "other"
  ),
  reportRefused: line(
    "Warn",
    "A report was refused because a newer version of this library owns the circuit; update this instance",
    "circuit",
    "success",
    "failure"
  ),
  reportGivenUp: line(
    "Warn",
    "A report was not acknowledged within half the idle time and is given up; the fleet may miss its counts",
    "circuit",
    "success",
    "failure"
  ),
  madeTwice: line(
    "Warn",
    "Two services guard one circuit, because their module was evaluated twice; both go on",
    "circuit",
    "service",
    "other"
  ),
  servedTwice: line(
    "Warn",
    "A service is provided on two storages in memory, whose circuits share nothing; provide one storage around all breakers",
    "circuit",
    "service"
  ),
  notFenced: line(
    "Warn",
    "The storage cannot decide between instances, so these fields of the policy have no effect",
    "circuit",
    "backend",
    "fields"
  ),
  fieldIneffective: line("Warn", "A field of the policy has no effect", "circuit", "field", "because"),
  capacityReached: line(
    "Warn",
    "A keyed breaker has no free place for a new key; raise its capacity or shorten its idleTimeToLive",
    "breaker",
    "capacity",
    "action"
  ),
  policyChanged: line("Info", "The policy of a breaker was changed", "circuit", "changed"),
  exportedTwice: line(
    "Warn",
    "Two layers export the metrics of breakers into one registry of metrics, where they replace each other's series; provide one"
  ),
  opened: line(
    "Warn",
    "The circuit has opened",
    "circuit",
    "from",
    "reason",
    "openedBy",
    "instance",
    "evidence",
    "openForMillis"
  ),
  wouldHaveOpened: line(
    "Warn",
    "The circuit would have opened; its calls go on, and the reason says why",
    "circuit",
    "from",
    "reason",
    "instance",
    "evidence"
  ),
  halfOpened: line(
    "Warn",
    "The circuit is half-open and takes probes",
    "circuit",
    "from",
    "reason",
    "instance",
    "evidence"
  ),
  closed: line("Warn", "The circuit has closed", "circuit", "from", "reason", "instance", "evidence"),
  sheds: line(
    "Warn",
    "The circuit sheds a share of the calls, because too many of them fail",
    "circuit",
    "share",
    "instance"
  ),
  shedsNoMore: line("Warn", "The circuit sheds no more calls", "circuit", "instance"),
  overrideSet: line("Warn", "An operator has set an override", "circuit", "mode", "reason", "actor", "instance"),
  overrideEnded: line("Info", "An override has ended", "circuit", "mode", "reason", "actor", "instance", "change"),
  changesOmitted: line(
    "Warn",
    "The circuits of a breaker change so often that not every change is logged",
    "breaker",
    "lines",
    "periodMillis"
  ),
  approaching: line("Debug", "The circuit comes close to opening", "circuit", "share", "whyNot"),
  persistenceEnabled: line("Debug", "Persistence enabled", "backend"),
  circuitRestored: line("Debug", "Circuit restored", "circuit", "state", "failure_count"),
  circuitPersisted: line("Debug", "Circuit persisted", "circuit", "state"),
  adopted: line("Trace", "Adopted a newer generation of the fleet", "circuit", "state", "generation"),
  tripped: line("Trace", "The circuit tripped on this instance's own calls", "circuit", "reason"),
  leaseGranted: line("Trace", "A lease was granted", "circuit"),
  leaseDenied: line("Trace", "A lease was denied", "circuit"),
  callAdmitted: line("Trace", "Call admitted", "circuit", "probe"),
  callRejected: line("Trace", "Call rejected", "circuit", "refusal"),
  callEnded: line("Trace", "Call ended", "circuit", "outcome", "slow", "timeout", "late"),

  // configuration
  notEnforced: line("Warn", "Breakers do not enforce their policies", "mode", "source"),
  enforced: line("Info", "Breakers enforce their policies", "source"),
  enforcementUnclear: line(
    "Warn",
    "CIRCUIT_BREAKER_ENABLED must be true or false; breakers enforce their policies",
    "value"
  ),
  configRead: line(
    "Info",
    "The configuration of breakers was read",
    "source",
    "enabled",
    "persistence",
    "services"
  ),
  reloaded: line("Info", "The configuration of breakers was read again", "source", "circuits"),
  reloadFailed: line(
    "Error",
    "The configuration of breakers could not be read again; all policies stay as they are",
    "source",
    "problems"
  ),
  reloadFixed: line("Warn", "Settings have changed that hold from the next start of the process", "source", "settings"),
  nothingToWatch: line(
    "Warn",
    "There is no configuration file to watch; name one by the option file or by CIRCUIT_BREAKER_CONFIG"
  ),
  configUnknown: line("Warn", "A configuration file has a key that nobody reads", "problem"),
  configUnused: line("Warn", "A configuration file has a service without a breaker", "problem"),
  redisUnused: line(
    "Warn",
    "A configuration file has a redis.url, but persistence does not name redis",
    "source",
    "persistence"
  ),
  decidesUnclear: line(
    "Warn",
    "CIRCUIT_BREAKER_DECIDES must be old or new; the old breaker decides",
    "value"
  ),
  comparisonUnclear: line(
    "Warn",
    "CIRCUIT_BREAKER_COMPARISON must be true or false; breakers are compared",
    "value"
  ),
  variablesMisspelt: line(
    "Warn",
    "Variables under the prefix of a breaker look like its own, but it does not read them",
    "prefix",
    "variables"
  ),
  variablesUnread: line("Debug", "Variables under the prefix of a breaker are not read by it", "prefix", "variables"),

  // two breakers that are compared
  breakersDisagree: line(
    "Warn",
    "Two compared breakers disagree about a call",
    "circuit",
    "kind",
    "decides",
    "old",
    "new",
    "old_reason",
    "new_reason",
    "unlogged"
  ),

  // storages made of storages
  fallback: line(
    "Warn",
    "A storage did not answer; falling back to the next",
    "operation",
    "from",
    "to",
    "cause"
  ),
  fallbackAgain: line(
    "Debug",
    "A storage did not answer again; falling back to the next",
    "operation",
    "from",
    "to",
    "cause"
  ),
  storageSkipped: line(
    "Warn",
    "A storage is skipped after 3 consecutive failures, until it answers",
    "backend",
    "for",
    "cause"
  ),
  storageBack: line("Info", "A skipped storage answers again and is back in use", "backend"),
  reconciled: line("Info", "Circuits were reconciled", "from", "to", "circuits", "forward", "back", "failed"),
  comparisonFailed: line("Warn", "Comparing the copies failed; trying again after repairEvery", "cause"),
  regionUnreachable: line(
    "Warn",
    "A region is skipped after 3 consecutive failures, until it answers; its changes are queued",
    "region",
    "for",
    "cause"
  ),
  regionRecovered: line("Info", "A skipped region answers again; sending its queued changes", "region"),
  migrationUnreachable: line(
    "Warn",
    "A storage of a migration is skipped after 3 consecutive failures, until it answers",
    "backend",
    "for",
    "cause"
  ),
  migrationRecovered: line("Info", "A skipped storage of a migration answers again", "backend"),
  phaseChanged: line("Info", "The phase of a migration has changed", "phase"),
  newerInNewStorage: line("Info", "The new storage had newer circuits; copied to the old one", "circuits"),
  unhealthy: line("Warn", "The storage is not healthy", "backend", "cause"),
  healthyAgain: line("Info", "The storage is healthy again", "backend"),
  effectStoreFailed: line(
    "Warn",
    "The store of Effect's breakers failed, and is asked again for the next call",
    "circuit",
    "cause"
  ),
  fileDamaged: line("Warn", "A circuit's file is damaged; using the newest whole backup", "file", "damage"),

  // code of the user that failed where no caller waits for it; the breaker's name follows the text of the first two
  classifyFailed: line("Unhandled", "classify failed; the call counts as ignored"),
  scheduleFailed: line("Unhandled", "openFor schedule failed; using 60 seconds, or maxOpenFor if less"),
  adapterFailed: line("Unhandled", "A function of an adapted breaker failed; its call goes on"),
  decidesFailed: line("Unhandled", "decides of a comparison failed; the old breaker decides"),
  comparisonFlagFailed: line("Unhandled", "compare of a comparison failed; both breakers are asked"),
  shadowFailed: line("Unhandled", "A breaker that does not decide failed; the call goes on"),
  onMismatchFailed: line("Unhandled", "onMismatch of a comparison failed"),
  leaseNotRenewed: line("Unhandled", "The lease of a probe of Effect's own breaker was not renewed; trying again"),
  includeFailed: line("Unhandled", "include of BreakerMetrics failed; the breaker is exported"),
  listenerFailed: line("Unhandled", "A listener of Breaker.onEvent failed; it stays subscribed")
}
