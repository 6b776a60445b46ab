/**
 * All circuits of a storage as one JSON document, to keep or to import into any storage, of the same kind or another.
 *
 * **Details**
 *
 * The document is an `Archive`: plain JSON, versioned, with a `Schema`. Of a circuit it has the state with the time that remains,
 * the override, the openings and the hint, why it is so, the fingerprint of the policy that made it so, the lifetime counts, and
 * the policy itself where it is given. The evidence of the window, probes that run, and the history stay behind.
 *
 * Time goes on: what is imported is as old as the document, by its `exported_at` and the importer's clock. A circuit that had 30
 * seconds to stay open when it was exported 20 seconds ago has 10, an override whose end has come is not brought back, and a
 * half-open circuit takes probes at once. Consecutive openings are kept. A document from the future counts as of now.
 *
 * **Gotchas**
 *
 * - An export reads circuit by circuit and stops nobody: each circuit is as it was at one moment, all of them are not.
 * - Storages keep no policies, so an import configures no breaker: the archive has them for whoever builds breakers from it.
 * - Everyone who can write the document can open circuits and lift overrides. It holds what reasons and evidence hold.
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
import { type CircuitRecord, FORMAT, isWritable, snapshot as snapshotOf } from "../core/Record.ts"
import { isReserved } from "../core/Reserved.ts"
import { oneOf, refuse } from "../internal/Check.ts"
import { monotonicMillis } from "../internal/Clock.ts"
import { prefixOf } from "../internal/Prefix.ts"
import { digest, fingerprint, resolve } from "../internal/Resolve.ts"
import { Data, type Policy } from "../Policy.ts"
import { type Operation, type Snapshot, type SnapshotState, Storage, StorageError } from "./Storage.ts"

/** Raised when an older version of this library could no longer import a document without harm. */
const VERSION = 1

const Version = Schema.Literal(VERSION).annotate({
  message: `Expected ${VERSION}, the version that this library knows`
})

// -----------------------------------------------------------------------------
// the document
// -----------------------------------------------------------------------------

/**
 * A circuit as it was, without what cannot be moved: its window, and leases of probes. Times are milliseconds as of the archive's
 * `exported_at`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ArchivedSnapshot extends Omit<Snapshot, "asOf" | "state" | "streak" | "totals"> {
  readonly state:
    | Exclude<SnapshotState, { readonly _tag: "HalfOpen" }>
    | { readonly _tag: "HalfOpen"; readonly successes: number }
}

/**
 * A policy as far as it is data.
 *
 * @category models
 * @since 0.1.0
 */
export interface ArchivedPolicy {
  /** As `Breaker.fingerprint` has it. */
  readonly fingerprint: string
  /** JSON that `Breaker.Data` decodes. */
  readonly data: unknown
  /** What the policy has and data cannot say: a `Schedule` for the open time, and `classify`. */
  readonly omitted: ReadonlyArray<"openFor" | "classify">
}

/**
 * @category models
 * @since 0.1.0
 */
export interface ArchivedCircuit {
  readonly name: string
  readonly snapshot: ArchivedSnapshot
  /** The policy that was given for it. Who last changed the circuit may have had another: see the snapshot's `fingerprint`. */
  readonly policy?: ArchivedPolicy | undefined
}

/**
 * The document.
 *
 * @category models
 * @since 0.1.0
 */
export interface Archive {
  readonly version: typeof VERSION
  /** ISO 8601 in UTC, by the clock of the process that exported it. */
  readonly exported_at: string
  /** What the circuits were in, for people: `redis`. */
  readonly backend: string
  /** In the order of their names, none twice. */
  readonly circuits: ReadonlyArray<ArchivedCircuit>
}

const Count = Schema.Natural
const Time = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))

const nameProblem = (name: string): string | undefined =>
  name.isWellFormed()
    ? isReserved(name) ? "Expected the name of a circuit, not one that the library keeps for itself" : undefined
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
    // Above all clocks of the next hundred years a generation leaves no room for others.
    generation: Count.check(Schema.isLessThanOrEqualTo(2 ** 52)),
    state: Schema.Union([
      Schema.TaggedStruct("Closed", {}),
      Schema.TaggedStruct("Open", { remaining: Time }),
      Schema.TaggedStruct("HalfOpen", { successes: Count })
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
 * The schema of the document: its own JSON. It refuses what this version does not know, unknown fields among it where it is asked
 * to as `importCircuits` does, with `onExcessProperty: "error"`.
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
        : "Expected a time as 2026-01-31T12:00:00.000Z"
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
 * What was to be imported is no archive that this version knows, and nothing was written.
 *
 * @category errors
 * @since 0.1.0
 */
export class ArchiveError
  extends Schema.TaggedError<ArchiveError>("effect-breaker/Storage/ArchiveError")("ArchiveError", {
    /** Where the first thing is that is wrong: `circuits[3].snapshot.state`. Empty for the document itself. */
    path: Schema.String,
    problem: Schema.String
  })
{
  override get message(): string {
    return `No archive that can be imported${this.path === "" ? "" : `, at ${this.path}`}: ${this.problem}`
  }
}

const strict = { onExcessProperty: "error" } as const

const issuesOf = SchemaIssue.makeFormatterStandardSchemaV1()

const firstIssue = (issue: SchemaIssue.Issue): { readonly path: string; readonly issue: string } => {
  const [first] = issuesOf(issue).issues
  const path = (first?.path ?? []).map((part) => typeof part === "object" ? part.key : part)
  return {
    path: path.map((key) => typeof key === "number" ? `[${key}]` : `.${String(key)}`).join("").replace(/^\./, ""),
    issue: first?.message ?? "makes no sense"
  }
}

/** More would be no evidence of ours, and too much for the stack. */
const DEEPEST = 100

const isDeeper = (value: unknown, levels: number): boolean =>
  isObject(value) && (levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1)))

const decode = (document: unknown): Result.Result<Archive, ArchiveError> =>
  isDeeper(document, DEEPEST)
    ? Result.fail(new ArchiveError({ path: "", problem: `Expected at most ${DEEPEST} levels` }))
    // What another version has is not to be told of field by field.
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
 * Circuits could not be read, so there is no archive: one that lacks some would not say so wherever it is imported. Leave them out
 * by `filter` to have the others.
 *
 * @category errors
 * @since 0.1.0
 */
export class ExportError extends Schema.TaggedError<ExportError>("effect-breaker/Storage/ExportError")("ExportError", {
  /** One for each circuit, which it names. `Denied` is one that a newer version of this library owns. */
  errors: Schema.Array(StorageError)
}) {
  override get message(): string {
    return `${this.errors.length} circuits cannot be exported`
  }
}

/**
 * @category models
 * @since 0.1.0
 */
export interface ExportOptions {
  /** Which circuits. Default: all. */
  readonly filter?: ((circuit: string) => boolean) | undefined
  /**
   * The policies to put beside their circuits, by the names of their breakers; a keyed breaker's goes with the circuits of all its
   * keys. What `Breaker.Defaults` sets is yours to put in.
   */
  readonly policies?: Readonly<Record<string, Policy>> | undefined
}

/** As many circuits as a request of breakers has at most. */
const BATCH = 100

type Read = readonly [circuit: string, read: Result.Result<Snapshot, StorageError>]

const invalid = (operation: string, circuit: string, cause: unknown): StorageError =>
  new StorageError({ operation, circuit, reason: "Invalid", cause })

const denied = (operation: string, circuit: string, cause: string): StorageError =>
  new StorageError({ operation, circuit, reason: "Denied", cause })

const NEWER = "a newer version of this library owns the circuit"

/** Pure reads, with what each came to. */
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

/** The policies of circuits, checked. The circuit's own goes before that of a keyed breaker. */
const policiesOf = (policies: Readonly<Record<string, Policy>> = {}) => {
  const all = Object.entries(policies).map(([name, policy]) => {
    resolve(name, policy)
    return { name, prefix: prefixOf(name), policy: archivedPolicy(policy) }
  })
  return (circuit: string): ArchivedPolicy | undefined =>
    (all.find(({ name }) => name === circuit) ?? all.find(({ prefix }) => circuit.startsWith(prefix)))?.policy
}

const archivedPolicy = (policy: Policy): ArchivedPolicy => {
  const { classify, openFor, ...data } = policy
  const scheduled = isSchedule(openFor)
  return {
    fingerprint: fingerprint(policy),
    data: Schema.encodeSync(Data)({ ...data, ...scheduled || openFor === undefined ? {} : { openFor } }),
    omitted: [...scheduled ? ["openFor" as const] : [], ...classify === undefined ? [] : ["classify" as const]]
  }
}

/** Nothing that an import would bring: the circuit was forgotten since it was listed, or never was. */
const isBlank = ({ generation, lifetime, override }: Snapshot): boolean =>
  generation === 0 && override === undefined &&
  lifetime.success + lifetime.failure + lifetime.ignored + lifetime.rejected + lifetime.opened === 0

/**
 * An archive of the circuits in the storage at hand, without this library's own. It is read 100 circuits at a time, and writes
 * nothing.
 *
 * It fails with `StorageError` where the storage cannot be asked, and with `ExportError` where single circuits cannot be read.
 * Throws a `RangeError` for policies that make no sense.
 *
 * **Gotchas**
 *
 * It has no deadline: put `Effect.timeout` around it.
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

/** A circuit as it is read again: one that could not be is never exported. */
const archived = (
  name: string,
  snapshot: Snapshot,
  age: number,
  policy: ArchivedPolicy | undefined
): Result.Result<ArchivedCircuit, StorageError> =>
  Result.try({
    try: () => {
      const { asOf: _, state, streak: __, totals: ___, ...rest } = aged(snapshot, age)
      const kept = state._tag === "HalfOpen" ? { _tag: state._tag, successes: state.successes } : state
      const text = JSON.stringify({ name, snapshot: { ...rest, state: kept }, policy })
      return Schema.decodeUnknownSync(CircuitSchema)(JSON.parse(text))
    },
    catch: (cause) => invalid("export", name, cause)
  })

/** The snapshot as it is `by` milliseconds later, when nothing happens. */
const aged = <S extends ArchivedSnapshot>(snapshot: S, by: number): S => {
  const later = (age: number | undefined) => age === undefined ? undefined : age + by
  const left = (remaining: number) => Math.max(0, remaining - by)
  const { elapsed, hint, lifetime, override, state } = snapshot
  return {
    ...snapshot,
    state: state._tag === "Open" ? { ...state, remaining: left(state.remaining) } : state,
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
 * @category models
 * @since 0.1.0
 */
export interface ImportOptions extends ExportOptions {
  /** Says what would be done, and writes nothing. Default `false`. */
  readonly dryRun?: boolean | undefined
  /** Who does it, for the history. */
  readonly actor?: string | undefined
  /**
   * What becomes of a circuit that was ever changed, and differs from the document: the document's word holds (`replace`, the
   * default), or the circuit stays as it is (`keep`). One that has nothing but counts is no conflict.
   */
  readonly onConflict?: "replace" | "keep" | undefined
}

/**
 * What an import changes of a circuit: a field of its snapshot, as it was and as it is after that.
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
 * What became of a circuit of the document.
 *
 * - `Imported`: it was changed, whole and at once.
 * - `WouldImport`: it would be, were it not for `dryRun`.
 * - `Unchanged`: it is as the document has it already, but for times that are less than 5 seconds apart.
 * - `Kept`: it differs, and stays as it is by `onConflict`.
 * - `Superseded`: this very document was imported into it in the last idle time, and it has gone on since. It stays so.
 * - `Refused`: the storage could not be asked, or refused, for `error`. Not changed where that is `Denied` or `Invalid`; else
 *   nobody knows: import again.
 *
 * @category models
 * @since 0.1.0
 */
export interface ImportedCircuit {
  readonly circuit: string
  readonly result: "Imported" | "WouldImport" | "Unchanged" | "Kept" | "Superseded" | "Refused"
  /** How the document differs from what was there. */
  readonly differences: ReadonlyArray<Difference>
  readonly error?: StorageError | undefined
  /** The fingerprints, where the circuit's policy in the document, or else the one that last changed it, is not the given one. */
  readonly mismatch?: { readonly archived: string; readonly given: string } | undefined
}

/** At once, so that a large document does not take all connections of a pool. */
const CONCURRENCY = 16

/**
 * Imports the circuits of a document, as `JSON.parse` gives it, into the storage at hand, and says what became of each, in the
 * document's order.
 *
 * **Details**
 *
 * The whole document is checked before anything is written: another version, unknown fields, numbers out of range, a name that is
 * there twice, none at all or this library's own fail it with `ArchiveError`, which names the place. What a storage refuses after
 * that is told of its circuit alone, `Refused`, and the others are imported: look for them.
 *
 * A circuit is changed in one step, in a generation of its own that every instance hears of, with a row of history that names the
 * document and the `actor`. Its evidence is empty then. Its lifetime counts are the larger ones of both, for they may count the
 * same calls. To import a document again changes nothing more: what is as the document says is left alone, and within an idle
 * time a circuit that has gone on since is, too.
 *
 * Throws a `RangeError` for options that make no sense.
 *
 * **Gotchas**
 *
 * It has no deadline: put `Effect.timeout` around it. Who is interrupted has imported some circuits and can import again.
 *
 * @category operations
 * @since 0.1.0
 */
export const importCircuits = (
  document: unknown,
  { actor, dryRun = false, filter = () => true, onConflict = "replace", policies }: ImportOptions = {}
): Effect.Effect<ReadonlyArray<ImportedCircuit>, ArchiveError, Storage> => {
  refuse("importCircuits", oneOf("onConflict", onConflict, ["replace", "keep"]))
  const policyOf = policiesOf(policies)
  return Effect.gen(function*() {
    const { backend, circuits, exported_at } = yield* Effect.fromResult(decode(document))
    const storage = yield* Storage
    const exportedAt = DateTime.toEpochMillis(DateTime.makeUnsafe(exported_at))
    const why = { reason: `imported from ${backend}, as of ${exported_at}`, ...actor === undefined ? {} : { actor } }

    const importOne = Effect.fnUntraced(function*(circuit: ArchivedCircuit, there: Read[1], readAt: number) {
      const { name } = circuit
      const now = yield* Clock.currentTimeMillis
      const told = (result: ImportedCircuit["result"], rest: Partial<ImportedCircuit> = {}): ImportedCircuit => ({
        circuit: name,
        result,
        differences: [],
        ...mismatchOf(circuit, policyOf(name)),
        ...rest
      })
      if (Result.isFailure(there)) return told("Refused", { error: there.failure })
      const to: Operation["to"] = { _tag: "Import", snapshot: snapshotFrom(circuit, Math.max(0, now - exportedAt)) }
      const operation: Operation = {
        _tag: "Operation",
        // The same for the same document, so that it happens once.
        id: `import ${exported_at} ${digest(JSON.stringify(circuit))}`,
        known: to.snapshot.generation,
        why,
        to
      }
      const differences = differencesOf(there.success, now - readAt, operation, now)
      if (differences.length === 0) return told("Unchanged")
      if (onConflict === "keep" && there.success.generation > 0) return told("Kept", { differences })
      if (!storage.capabilities.fences) {
        return told("Refused", { differences, error: denied("change", name, "the storage keeps no circuits") })
      }
      if (dryRun) return told("WouldImport", { differences })
      const changed = yield* Effect.result(storage.change(name, operation))
      if (Result.isFailure(changed)) return told("Refused", { differences, error: changed.failure })
      const isDone = differencesOf(changed.success.snapshot, 0, operation, now).length === 0
      return told(isDone ? "Imported" : "Superseded", { differences })
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

/** What the operation changes of a circuit that was so `age` ago, found out by doing it to a record that is like it. */
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

/** How far apart times may be: clocks of two hosts differ, and requests take their time. */
const SLACK = 5000

const isAlike = (a: unknown, b: unknown, key: string): boolean =>
  typeof a === "number" && typeof b === "number"
    ? Math.abs(a - b) < (/^(remaining|elapsed|hint)$|Age$/.test(key) ? SLACK : 0.01)
    : isObject(a) && isObject(b)
    ? Object.keys({ ...a, ...b }).every((key) => isAlike(a[key], b[key], key))
    : a === b

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null
