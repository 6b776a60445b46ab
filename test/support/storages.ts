/** Storages as processes see them: one memory behind links that tests can make fail. */
import { Context, Effect, Layer, Schema, type Scope, Stream } from "effect"
import { rm } from "node:fs/promises"
import { Breaker } from "../../src/index.ts"
import * as FileStorageLive from "../../src/layers/FileStorageLive.ts"
import * as Memory from "../../src/Storage/Memory.ts"
import * as Storage from "../../src/Storage/Storage.ts"
import { temporaryDirectory } from "./servers/processes.ts"

export type Operation = "sync" | "change" | "probe" | "bells"

/** Replaces a request that a link would pass on. */
export type Fault = <A>(request: Effect.Effect<A, Storage.StorageError>) => Effect.Effect<A, Storage.StorageError>

/** One process's connection to a storage. */
export class Link {
  readonly storage: Storage.Storage
  readonly layer: Layer.Layer<Storage.Storage>
  /** The operations that were sent, in order. */
  readonly sent: Array<Operation> = []
  /** The reports that were sent, in order. */
  readonly reports: Array<Storage.CircuitReport> = []
  readonly changes: Array<Storage.Change> = []
  readonly probes: Array<Storage.Probe> = []
  #faults: { readonly [O in Operation]?: Fault | undefined } = {}
  #of: Storage.Storage

  constructor(of: Storage.Storage, capabilities: Partial<Storage.Capabilities> = {}) {
    this.#of = of
    const through = <A>(operation: Operation, request: Effect.Effect<A, Storage.StorageError>) =>
      Effect.suspend(() => {
        this.sent.push(operation)
        return this.#faults[operation]?.(request) ?? request
      })
    this.storage = {
      ...of,
      // Without bells each circuit in use is reported once an interval, which most tests count on.
      capabilities: { ...of.capabilities, shared: true, bells: false, ...capabilities },
      changes: capabilities.pushes === false ? Stream.empty : of.changes,
      sync: (reports) => {
        this.reports.push(...reports)
        return through("sync", this.#of.sync(reports))
      },
      change: (circuit, change) => {
        this.changes.push(change)
        return through("change", this.#of.change(circuit, change))
      },
      probe: (circuit, probe) => {
        this.probes.push(probe)
        return through("probe", this.#of.probe(circuit, probe))
      },
      ...(of.bells === undefined ? {} : { bells: (since) => through("bells", this.#of.bells!(since)) })
    }
    this.layer = Layer.succeed(Storage.Storage, this.storage)
  }

  /** Applies a fault to these operations, or to all, from now on. `undefined` ends the fault. */
  fault(fault: Fault | undefined, ...operations: ReadonlyArray<Operation>): void {
    const named = operations.length === 0 ? ["sync", "change", "probe", "bells"] as const : operations
    this.#faults = { ...this.#faults, ...Object.fromEntries(named.map((operation) => [operation, fault])) }
  }

  /** Passes all further requests to another storage, as if the first had lost its data. Its pushes do not come from there. */
  moveTo(other: Storage.Storage): void {
    this.#of = other
  }

  makeKeyed<const P extends Breaker.Policy & Breaker.KeyedOptions>(name: string, policy: P) {
    return Breaker.makeKeyed(name, policy).pipe(Effect.provide(this.layer))
  }

  make<const P extends Breaker.Policy>(name: string, policy: P) {
    return Breaker.make(name, policy).pipe(Effect.provide(this.layer))
  }
}

export const memory: Effect.Effect<Storage.Storage> = Memory.make()

/** Files in a directory that is removed when the scope closes. */
export const files: Effect.Effect<Storage.Storage, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(temporaryDirectory),
  (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
).pipe(
  Effect.flatMap((directory) => Layer.build(FileStorageLive.layer({ directory }))),
  Effect.map(Context.get(Storage.Storage))
)

/** Links from several processes to one memory. */
export const processes = (count: number, capabilities: Partial<Storage.Capabilities> = {}) =>
  Effect.map(memory, (storage) => Array.from({ length: count }, () => new Link(storage, capabilities)))

const error = (reason: Storage.StorageError["reason"]) =>
  new Storage.StorageError({ operation: "test", reason, cause: reason })

/** The error of a storage that uses another copy of this library: the same tag, another class. */
export class ForeignStorageError
  extends Schema.TaggedError<ForeignStorageError>("another/copy/StorageError")("StorageError", {
    operation: Schema.String,
    reason: Schema.Literals(["Unavailable", "Deadline", "Invalid", "Denied"]),
    cause: Schema.Defect()
  })
{}

export const failingAsForeign = (reason: Storage.StorageError["reason"]): Fault => () =>
  Effect.fail(new ForeignStorageError({ operation: "test", reason, cause: reason }) as Storage.StorageError)
export const failing = (reason: Storage.StorageError["reason"]): Fault => () => Effect.fail(error(reason))
export const hanging: Fault = () => Effect.never
export const slow = (millis: number): Fault => (request) => Effect.delay(request, millis)
/** The storage performs the request, but the reply is lost. */
export const lostReply: Fault = (request) => Effect.andThen(request, Effect.never)
