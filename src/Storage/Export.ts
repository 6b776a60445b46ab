/**
 * All circuits of a storage as one JSON document, to keep as a backup or to import into any storage.
 *
 * **Details**
 *
 * The document is an `Archive`: plain JSON, versioned, with a `Schema`. For each circuit it has the state with its
 * remaining time, the override, the openings and the hint, the cause of the last change, the fingerprint of the policy
 * that made it, the lifetime counts, and the policy itself if one is given. The evidence of the window, running probes
 * and the history are left out.
 *
 * Times keep running between export and import, by the document's `exported_at` and the importer's clock. A circuit
 * that had 30 seconds of open time left when it was exported 20 seconds ago has 10. An override that has expired
 * meanwhile is not imported. A half-open circuit takes probes at once. Consecutive openings are kept. A document with
 * an `exported_at` in the future is imported as if it had just been exported.
 *
 * **Gotchas**
 *
 * - An export reads one circuit after the other and does not block writes: each circuit is consistent in itself, but
 *   the circuits are not all of the same moment.
 * - Storages keep no policies, so an import configures no breaker. The archive contains them for programs that build
 *   breakers from it.
 * - Anyone who can write the document can open circuits and lift overrides. It contains all reasons and evidence in
 *   plain text.
 *
 * **Example** (From one storage to another)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Breaker, Storage, Trip } from "effect-breaker"
 * import * as Export from "effect-breaker/Storage/Export"
 *
 * class Payments extends Breaker.Service<Payments>()("payments", { trip: Trip.consecutiveFailures(1) }) {}
 *
 * const exported = Effect.gen(function*() {
 *   yield* Effect.ignore(Payments.wrap(Effect.fail("declined")))
 *   const archive = yield* Export.exportCircuits({ policies: { payments: Payments.policy } })
 *   return JSON.stringify(archive)
 * }).pipe(Effect.provide(Payments.layer), Effect.provide(Storage.MemoryStorageLive))
 *
 * const text = await Effect.runPromise(exported)
 *
 * const imported = Effect.gen(function*() {
 *   const circuits = yield* Export.importCircuits(JSON.parse(text), { actor: "ann" })
 *   const error = yield* Effect.flip(Payments.wrap(Effect.succeed("charged")))
 *   return [circuits.map(({ circuit, result }) => `${circuit}: ${result}`), Breaker.isRejection(error)]
 * }).pipe(Effect.provide(Payments.layer, { local: true }), Effect.provide(Storage.MemoryStorageLive, { local: true }))
 *
 * await Effect.runPromise(imported) // => [["payments: Imported"], true]
 * ```
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { isSchedule } from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Stream from "effect/Stream"
import { change } from "../core/Change.ts"
import { noDelta } from "../core/Delta.ts"
import { type CircuitRecord, FORMAT, isBlank, isWritable, snapshot as snapshotOf } from "../core/Record.ts"
import { isReserved, RESERVED_PREFIX } from "../core/Reserved.ts"
import { oneOf, refuse } from "../internal/Check.ts"
import { prefixOf } from "../internal/CircuitName.ts"
import { monotonicMillis } from "../internal/Clock.ts"
import { actorProblems } from "../internal/OperatorInput.ts"
import { dataOf, digest, fingerprint, keyedFields, resolve } from "../internal/ResolvedPolicy.ts"
import { Data, type Policy } from "../Policy.ts"
import { type Operation, type Snapshot, type SnapshotState, Storage, StorageError } from "./Storage.ts"

/** Bump when an older version of this library could no longer import a document without damage. */
const VERSION = 1

const Version = Schema.Literal(VERSION).annotate({
  message: `Expected version ${VERSION}, the only one that this library can import`
})

// -----------------------------------------------------------------------------
// the document
// -----------------------------------------------------------------------------

/**
 * A circuit's snapshot without the parts that cannot be moved: its window, and leases of probes. Times are milliseconds
 * as of the archive's `exported_at`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ArchivedSnapshot extends Omit<Snapshot, "asOf" | "state" | "streak" | "totals"> {
  readonly state:
    | Exclude<SnapshotState, { readonly _tag: "HalfOpen" }>
    | Pick<Extract<SnapshotState, { readonly _tag: "HalfOpen" }>, "_tag" | "successes" | "failures" | "probesIn">
}

/**
 * The data of a policy.
 *
 * @category models
 * @since 0.1.0
 */
export interface ArchivedPolicy {
  /** The result of `Breaker.fingerprint`. */
  readonly fingerprint: string
  /** JSON that `Breaker.Data` decodes. */
  readonly data: unknown
  /** Parts of the policy that are not data and therefore left out: a `Schedule` for the open time, and `classify`. */
  readonly omitted: ReadonlyArray<"openFor" | "classify">
}

/**
 * A circuit in an export.
 *
 * @category models
 * @since 0.1.0
 */
export interface ArchivedCircuit {
  readonly name: string
  readonly snapshot: ArchivedSnapshot
  /**
   * The policy that was given for it. The last change may have been made under another: see the snapshot's
   * `fingerprint`.
   */
  readonly policy?: ArchivedPolicy | undefined
}

/**
 * The exported document.
 *
 * @category models
 * @since 0.1.0
 */
export interface Archive {
  readonly version: typeof VERSION
  /** ISO 8601 in UTC, by the clock of the process that exported it. */
  readonly exported_at: string
  /** The backend of the exported storage, for people: `redis`. */
  readonly backend: string
  /** Sorted by name, each name once. */
  readonly circuits: ReadonlyArray<ArchivedCircuit>
}

const Count = Schema.Natural
const Time = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))

const nameProblem = (name: string): string | undefined =>
  name.isWellFormed()
    ? isReserved(name)
      ? `Expected a name that does not begin with ${RESERVED_PREFIX}, which this library keeps for itself`
      : undefined
    : "Expected well-formed Unicode"

const isData = Schema.makeFilter((data: unknown) => {
  const decoded = Schema.decodeUnknownResult(Data, strict)(data)
  return Result.isSuccess(decoded) ? undefined : decoded.failure.issue
})

const CircuitSchema: Schema.Codec<ArchivedCircuit> = Schema.Struct({
  name: Schema.String.check(Schema.makeFilter(nameProblem)),
  snapshot: Schema.Struct({
    format: Count.check(
      Schema.makeFilter((format) =>
        format <= FORMAT ? undefined : `Expected at most ${FORMAT}, got ${format} of a newer version of this library`
      )
    ),
    // Generations grow with the clock in microseconds: a larger one leaves too little room for those to come.
    generation: Count.check(Schema.isLessThanOrEqualTo(2 ** 52)),
    state: Schema.Union([
      Schema.TaggedStruct("Closed", {}),
      Schema.TaggedStruct("Open", { remaining: Time }),
      Schema.TaggedStruct("HalfOpen", {
        successes: Count,
        failures: Schema.optional(Count),
        probesIn: Schema.optional(Time)
      })
    ]),
    elapsed: Schema.optional(Time),
    openings: Count,
    openFor: Time,
    override: Schema.optional(Schema.Struct({
      kind: Schema.Literals(["ForcedOpen", "Disabled", "MetricsOnly"]),
      reason: Schema.String,
      actor: Schema.String,
      remaining: Schema.optional(Time)
    })),
    hint: Time,
    why: Schema.optional(Schema.Struct({
      reason: Schema.String,
      actor: Schema.optional(Schema.String),
      evidence: Schema.optional(Schema.Json)
    })),
    fingerprint: Schema.optional(Schema.String),
    lifetime: Schema.Struct({
      success: Count,
      failure: Count,
      ignored: Count,
      timeout: Count,
      slow: Count,
      rejected: Count,
      opened: Count,
      lastSuccessAge: Schema.optional(Time),
      lastSuccessDuration: Schema.optional(Time),
      lastFailureAge: Schema.optional(Time),
      lastFailureDuration: Schema.optional(Time),
      lastOpenedAge: Schema.optional(Time)
    })
  }),
  policy: Schema.optional(Schema.Struct({
    fingerprint: Schema.String,
    data: Schema.Json.check(isData),
    omitted: Schema.Array(Schema.Literals(["openFor", "classify"]))
  }))
})

/**
 * The schema of the document, which is its own JSON. `importCircuits` also refuses unknown fields: pass
 * `onExcessProperty: "error"` to do the same.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Archive: Schema.Codec<Archive> = Schema.Struct({
  version: Version,
  exported_at: Schema.String.check(
    Schema.makeFilter((text) =>
      Option.exists(DateTime.make(text), (time) => DateTime.formatIso(time) === text)
        ? undefined
        : "Expected a time such as 2026-01-31T12:00:00.000Z"
    )
  ),
  backend: Schema.String,
  circuits: Schema.Array(CircuitSchema).check(Schema.makeFilter((circuits) => {
    const names = new Set<string>()
    const twice = circuits.findIndex(({ name }) => names.size === names.add(name).size)
    return twice === -1 ? undefined : { path: [twice, "name"], issue: "Expected a name that no other circuit has" }
  }))
})

/**
 * The document is not an archive that this version can import. Nothing was written.
 *
 * @category errors
 * @since 0.1.0
 */
export class ArchiveError
  extends Schema.TaggedError<ArchiveError>("effect-breaker/Storage/ArchiveError")("ArchiveError", {
    /** The path of the first problem: `circuits[3].snapshot.state`. Empty for the document itself. */
    path: Schema.String,
    problem: Schema.String
  })
{
  override get message(): string {
    return `Cannot import the archive: ${this.path === "" ? "" : `at ${this.path}: `}${this.problem}`
  }
}

const strict = { onExcessProperty: "error" } as const

const issuesOf = SchemaIssue.makeFormatterStandardSchemaV1()

const firstIssue = (issue: SchemaIssue.Issue): { readonly path: string; readonly issue: string } => {
  const [first] = issuesOf(issue).issues
  const path = (first?.path ?? []).map((part) => typeof part === "object" ? part.key : part)
  return {
    path: path.map((key) => typeof key === "number" ? `[${key}]` : `.${String(key)}`).join("").replace(/^\./, ""),
    issue: first?.message ?? "Expected an archive"
  }
}

/** The library's own evidence is never so deep, and deeper documents could overflow the stack. */
const MOST_LEVELS = 100

const isDeeper = (value: unknown, levels: number): boolean =>
  isObject(value) && (levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1)))

const decode = (document: unknown): Result.Result<Archive, ArchiveError> =>
  isDeeper(document, MOST_LEVELS)
    ? Result.fail(new ArchiveError({ path: "", problem: `Expected at most ${MOST_LEVELS} levels of nesting` }))
    // Check the version first: of another version's document only the version is worth reporting.
    : Schema.decodeUnknownResult(Schema.Struct({ version: Version }))(document).pipe(
      Result.flatMap(() => Schema.decodeUnknownResult(Archive, strict)(document)),
      Result.mapError(({ issue }) => {
        const { issue: problem, path } = firstIssue(issue)
        return new ArchiveError({ path, problem })
      })
    )

// -----------------------------------------------------------------------------
// export
// -----------------------------------------------------------------------------

/**
 * Some circuits could not be read, so there is no archive: an incomplete one could be imported without notice. To
 * export the other circuits, leave these out with `filter`.
 *
 * @category errors
 * @since 0.1.0
 */
export class ExportError extends Schema.TaggedError<ExportError>("effect-breaker/Storage/ExportError")("ExportError", {
  /** One error for each circuit, naming it. `Denied`: a newer version of this library wrote the circuit. */
  errors: Schema.Array(StorageError)
}) {
  override get message(): string {
    const named = this.errors.slice(0, 3).map(({ circuit, reason }) => `${JSON.stringify(circuit)} (${reason})`)
    const count = this.errors.length
    return `Cannot export ${count} ${count === 1 ? "circuit" : "circuits"}: ${named.join(", ")}${
      count > 3 ? ", …" : ""
    }`
  }
}

/**
 * Which circuits are exported, and with which policies.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExportOptions {
  /** Selects the circuits, by name. Default: all. */
  readonly filter?: ((circuit: string) => boolean) | undefined
  /**
   * Policies to archive beside their circuits, by the names of their breakers. The policy of a keyed breaker is
   * archived with the circuits of all its keys. Defaults set by `Breaker.Defaults` are not merged in.
   */
  readonly policies?: Readonly<Record<string, Policy>> | undefined
}

/** Circuits per request, the same as a breaker's requests have at most. */
const BATCH = 100

type Read = readonly [circuit: string, read: Result.Result<Snapshot, StorageError>]

const invalid = (operation: string, circuit: string, cause: unknown): StorageError =>
  new StorageError({ operation, circuit, reason: "Invalid", cause })

const denied = (operation: string, circuit: string, cause: string): StorageError =>
  new StorageError({ operation, circuit, reason: "Denied", cause })

const NEWER = "a newer version of this library wrote the circuit"

/** Reads each circuit, with an error for each that failed. */
const readAll = (
  storage: Storage,
  circuits: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<Read>, StorageError> => {
  const reading = { instance: "export", sequence: 1, generation: 0, delta: noDelta, withins: [] }
  return Effect.map(
    storage.sync(circuits.map((circuit) => ({ circuit, ...reading }))),
    (synced) =>
      circuits.map((circuit, index): Read => [
        circuit,
        Result.flatMap(
          synced[index]?.result ?? Result.fail(invalid("sync", circuit, "no answer")),
          ({ snapshot }) =>
            isWritable(snapshot) ? Result.succeed(snapshot) : Result.fail(denied("sync", circuit, NEWER))
        )
      ])
  )
}

/**
 * Checks the policies and finds the one of a circuit. A policy of exactly its name takes precedence over a keyed
 * breaker's.
 */
const policiesOf = (policies: Readonly<Record<string, Policy>> = {}) => {
  const all = Object.entries(policies).map(([name, policy]) => {
    resolve(name, policy, keyedFields)
    return { name, prefix: prefixOf(name), policy: archivedPolicy(policy) }
  })
  return (circuit: string): ArchivedPolicy | undefined =>
    (all.find(({ name }) => name === circuit) ?? all.find(({ prefix }) => circuit.startsWith(prefix)))?.policy
}

const archivedPolicy = (policy: Policy): ArchivedPolicy => {
  const { classify, openFor } = policy
  const data = dataOf(policy)
  const scheduled = isSchedule(openFor)
  return {
    fingerprint: fingerprint(policy),
    data: Schema.encodeSync(Data)(data),
    omitted: [...scheduled ? ["openFor" as const] : [], ...classify === undefined ? [] : ["classify" as const]]
  }
}

/**
 * Exports the circuits of the provided storage, except those that this library keeps for itself. Reads 100 circuits at
 * a time, and writes nothing.
 *
 * Fails with `StorageError` if the storage cannot be reached, and with `ExportError` if single circuits cannot be read.
 * Throws a `RangeError` for an invalid policy.
 *
 * **Gotchas**
 *
 * It has no deadline: add `Effect.timeout`.
 *
 * @category operations
 * @since 0.1.0
 */
export const exportCircuits = (
  { filter = () => true, policies }: ExportOptions = {}
): Effect.Effect<Archive, ExportError | StorageError, Storage> => {
  const policyOf = policiesOf(policies)
  return Effect.gen(function*() {
    const storage = yield* Storage
    const names = [...new Set(yield* Stream.runCollect(Stream.filter(storage.list, filter)))].toSorted()
    const clock = yield* Clock.Clock
    const now = () => monotonicMillis(clock)
    const read = yield* Effect.forEach(
      Arr.chunksOf(names, BATCH),
      (batch) => Effect.map(readAll(storage, batch), (reads) => ({ reads, at: now() }))
    )
    const end = now()
    const [circuits, errors] = Arr.separate(
      read.flatMap(({ at, reads }) =>
        reads.flatMap(([name, read]) =>
          // The circuit was forgotten after it was listed.
          Result.isSuccess(read) && isBlank(read.success)
            ? []
            : [Result.flatMap(read, (snapshot) => archived(name, snapshot, end - at, policyOf(name)))]
        )
      )
    )
    if (errors.length > 0) return yield* new ExportError({ errors })
    const exported_at = DateTime.formatIso(yield* DateTime.now)
    return { version: VERSION, exported_at, backend: storage.backend, circuits }
  })
}

/** The archived circuit, decoded from its own JSON: a circuit that could not be imported is never exported. */
const archived = (
  name: string,
  snapshot: Snapshot,
  age: number,
  policy: ArchivedPolicy | undefined
): Result.Result<ArchivedCircuit, StorageError> =>
  Result.try({
    try: () => {
      const { asOf: _, state, streak: __, totals: ___, ...rest } = aged(snapshot, age)
      const { live: _live, nextLapse: _nextLapse, ...kept } = { live: 0, nextLapse: 0, ...state }
      const text = JSON.stringify({ name, snapshot: { ...rest, state: kept }, policy })
      return Schema.decodeUnknownSync(CircuitSchema)(JSON.parse(text))
    },
    catch: (cause) => invalid("export", name, cause)
  })

/** The snapshot `by` milliseconds later, if nothing happens meanwhile. */
const aged = <S extends ArchivedSnapshot>(snapshot: S, by: number): S => {
  const later = (age: number | undefined) => age === undefined ? undefined : age + by
  const left = (remaining: number) => Math.max(0, remaining - by)
  const { elapsed, hint, lifetime, override, state } = snapshot
  return {
    ...snapshot,
    state: state._tag === "Open"
      ? { ...state, remaining: left(state.remaining) }
      : state._tag === "HalfOpen" && state.probesIn !== undefined
      ? { ...state, probesIn: left(state.probesIn) }
      : state,
    elapsed: later(elapsed),
    override: override?.remaining === undefined
      ? override
      : { ...override, remaining: left(override.remaining) },
    hint: left(hint),
    lifetime: {
      ...lifetime,
      lastSuccessAge: later(lifetime.lastSuccessAge),
      lastFailureAge: later(lifetime.lastFailureAge),
      lastOpenedAge: later(lifetime.lastOpenedAge)
    }
  }
}

// -----------------------------------------------------------------------------
// import
// -----------------------------------------------------------------------------

/**
 * Which circuits are imported, by whom, and what becomes of those that exist.
 *
 * @category models
 * @since 0.1.0
 */
export interface ImportOptions extends ExportOptions {
  /** Returns what would be done, and writes nothing. Default `false`. */
  readonly dryRun?: boolean | undefined
  /** The person or program that imports, for the history. */
  readonly actor?: string | undefined
  /**
   * For a circuit that was ever changed and differs from the document: `replace` (the default) imports it, `keep`
   * leaves it as it is. A circuit with lifetime counts only is no conflict.
   */
  readonly onConflict?: "replace" | "keep" | undefined
}

/**
 * A field of a circuit's snapshot that an import changes, before and after.
 *
 * @category models
 * @since 0.1.0
 */
export interface Difference {
  readonly field: string
  readonly before: unknown
  readonly after: unknown
}

/**
 * The result for one circuit of the document.
 *
 * - `Imported`: the circuit was changed, in one step.
 * - `WouldImport`: it would have been changed, but for `dryRun`.
 * - `Unchanged`: it already is as in the document, except for times less than 5 seconds apart.
 * - `Kept`: it differs from the document, and was left as it is because of `onConflict`.
 * - `Superseded`: the same document was imported within the idle time, and the circuit has changed since. It was left
 *   as it is.
 * - `Refused`: the request failed with `error`. With `Denied` or `Invalid` the circuit was not changed. Otherwise it
 *   may have been: import again.
 *
 * @category models
 * @since 0.1.0
 */
export interface ImportedCircuit {
  readonly circuit: string
  readonly result: "Imported" | "WouldImport" | "Unchanged" | "Kept" | "Superseded" | "Refused"
  /** The differences between the circuit before the import and the document. */
  readonly differences: ReadonlyArray<Difference>
  readonly error?: StorageError | undefined
  /**
   * Both fingerprints, if the given policy differs from the archived one: the circuit's policy in the document, or else
   * the policy that last changed it.
   */
  readonly mismatch?: { readonly archived: string; readonly given: string } | undefined
}

/** Circuits imported at once, so that a large document does not take all connections of a pool. */
const CONCURRENCY = 16

/**
 * Imports the circuits of a document (the result of `JSON.parse`) into the provided storage. Returns a result for each
 * circuit, in the document's order.
 *
 * **Details**
 *
 * The whole document is checked before anything is written. Another version, unknown fields, numbers out of range, and
 * names that occur twice, are not well-formed or are this library's own fail with `ArchiveError`, which names the
 * place. If the storage then refuses a circuit, that circuit's result is `Refused` and the others are imported: check
 * the results.
 *
 * A circuit is changed in one step, under a new generation that every instance adopts, with a row of history that names
 * the document and the `actor`. It has no evidence afterwards. Its lifetime counts are the larger ones of both sides,
 * because both may have counted the same calls. Importing the same document again changes nothing more: a circuit that
 * is as in the document is left alone, and so is, within the idle time, a circuit that has changed since.
 *
 * Throws a `RangeError` for invalid options.
 *
 * **Gotchas**
 *
 * It has no deadline: add `Effect.timeout`. An interrupted import has imported some circuits; it can be run again.
 *
 * @category operations
 * @since 0.1.0
 */
export const importCircuits = (
  document: unknown,
  { actor, dryRun = false, filter = () => true, onConflict = "replace", policies }: ImportOptions = {}
): Effect.Effect<ReadonlyArray<ImportedCircuit>, ArchiveError, Storage> => {
  refuse("importCircuits", [
    ...oneOf("onConflict", onConflict, ["replace", "keep"]),
    ...(actor === undefined ? [] : actorProblems(actor))
  ])
  const policyOf = policiesOf(policies)
  return Effect.gen(function*() {
    const { backend, circuits, exported_at } = yield* Effect.fromResult(decode(document))
    const storage = yield* Storage
    const exportedAt = DateTime.toEpochMillis(DateTime.makeUnsafe(exported_at))
    const why = { reason: `imported from ${backend}, as of ${exported_at}`, ...actor === undefined ? {} : { actor } }

    const importOne = Effect.fnUntraced(function*(circuit: ArchivedCircuit, there: Read[1], readAt: number) {
      const { name } = circuit
      const now = yield* Clock.currentTimeMillis
      const ended = (result: ImportedCircuit["result"], rest: Partial<ImportedCircuit> = {}): ImportedCircuit => ({
        circuit: name,
        result,
        differences: [],
        ...mismatchOf(circuit, policyOf(name)),
        ...rest
      })
      if (Result.isFailure(there)) return ended("Refused", { error: there.failure })
      const to: Operation["to"] = { _tag: "Import", snapshot: snapshotFrom(circuit, Math.max(0, now - exportedAt)) }
      const operation: Operation = {
        _tag: "Operation",
        // The same id for the same document, so that a repeated import takes effect once.
        id: `import ${exported_at} ${digest(JSON.stringify(circuit))}`,
        known: to.snapshot.generation,
        why,
        to
      }
      const differences = differencesOf(there.success, now - readAt, operation, now)
      if (differences.length === 0) return ended("Unchanged")
      if (onConflict === "keep" && there.success.generation > 0) return ended("Kept", { differences })
      if (!storage.capabilities.fences) {
        return ended("Refused", { differences, error: denied("change", name, "the storage keeps no circuits") })
      }
      if (dryRun) return ended("WouldImport", { differences })
      const changed = yield* Effect.result(storage.change(name, operation))
      if (Result.isFailure(changed)) return ended("Refused", { differences, error: changed.failure })
      const isDone = differencesOf(changed.success.snapshot, 0, operation, now).length === 0
      return ended(isDone ? "Imported" : "Superseded", { differences })
    })

    const imported = yield* Effect.forEach(
      Arr.chunksOf(circuits.filter(({ name }) => filter(name)), BATCH),
      Effect.fnUntraced(function*(batch) {
        const names = batch.map(({ name }) => name)
        const there = yield* readAll(storage, names).pipe(
          Effect.catch((error) => Effect.succeed(names.map((name): Read => [name, Result.fail(error)])))
        )
        const readAt = yield* Clock.currentTimeMillis
        return yield* Effect.forEach(
          batch,
          (circuit, index) => importOne(circuit, there[index]![1], readAt),
          { concurrency: CONCURRENCY }
        )
      })
    )
    return imported.flat()
  })
}

const mismatchOf = (
  { policy, snapshot }: ArchivedCircuit,
  given: ArchivedPolicy | undefined
): Pick<ImportedCircuit, "mismatch"> => {
  const archived = policy?.fingerprint ?? snapshot.fingerprint
  return archived === undefined || given === undefined || archived === given.fingerprint
    ? {}
    : { mismatch: { archived, given: given.fingerprint } }
}

const snapshotFrom = ({ snapshot }: ArchivedCircuit, age: number): Snapshot => {
  const { state, ...rest } = aged(snapshot, age)
  return { ...rest, asOf: 0, state: state._tag === "HalfOpen" ? { ...state, live: 0 } : state, streak: 0, totals: [] }
}

/** The fields that the operation changes, computed by applying it to a record made from the snapshot of `age` ago. */
const differencesOf = (
  there: Snapshot,
  age: number,
  operation: Operation,
  now: number
): ReadonlyArray<Difference> => {
  const like = { ...there, generation: Math.max(1, there.generation) }
  const before = change(undefined, { _tag: "PutBack", snapshot: like, age, leases: [] }, now, Infinity).record
  const after = change(before, operation, now, Infinity).record
  const [was, is] = [comparable(before, now), comparable(after, now)]
  return Object.keys(was).flatMap((field) =>
    isAlike(was[field], is[field], field) ? [] : [{ field, before: was[field], after: is[field] }]
  )
}

const comparable = (record: CircuitRecord | undefined, now: number): Readonly<Record<string, unknown>> => {
  const { asOf: _, format: __, generation: ___, streak: ____, totals: _____, ...rest } = snapshotOf(
    record,
    [],
    now,
    Infinity
  )
  return rest
}

/** How far apart equal times may be, because clocks of hosts differ and requests take time. */
const SLACK_MILLIS = 5000

const isAlike = (a: unknown, b: unknown, key: string): boolean =>
  typeof a === "number" && typeof b === "number"
    ? Math.abs(a - b) < (/^(remaining|elapsed|hint)$|Age$/.test(key) ? SLACK_MILLIS : 0.01)
    : isObject(a) && isObject(b)
    ? Object.keys({ ...a, ...b }).every((key) => isAlike(a[key], b[key], key))
    : a === b

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null
