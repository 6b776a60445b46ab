/**
 * The laws of a storage, as a suite for any test runner and any storage.
 *
 * Run it when you write a storage, against the real server and with more than one connection to it. It checks the rules
 * that the types of `Storage` cannot express. Each law is a check with a name:
 *
 * ```ts
 * import { describe, it } from "@effect/vitest"
 * import * as Conformance from "effect-breaker/Storage/Conformance"
 * import * as MemoryStorage from "effect-breaker/Storage/Memory"
 * import { Layer } from "effect"
 * import { Storage } from "effect-breaker"
 * import { TestClock } from "effect/testing"
 *
 * describe("memory storage", () => {
 *   const laws = Conformance.laws({
 *     capabilities: { shared: false, durable: false, pushes: true, history: true, fences: true },
 *     layer: (options) => Layer.effect(Storage.Storage, MemoryStorage.make(options)),
 *     advance: TestClock.adjust
 *   })
 *   for (const law of laws) it.effect(law.name, () => law.check)
 * })
 * ```
 *
 * There are three kinds of laws. Most are examples of one rule each. One sends random operations in random order, and
 * compares each answer with the pure functions in the core of this library, with which every storage must agree. Some
 * observe the process, for example that no operation blocks the event loop.
 *
 * **Gotchas**
 *
 * Every run uses circuit names of its own, so a server can be used by several runs and by others. The circuits are left
 * behind and expire. A few names are used as they are (the empty one, `__proto__`): of those only lifetime counts are
 * changed.
 *
 * On a real server the laws wait in real time: a few `unit`s each, one of them a second. Allow 30 seconds for each law,
 * and run them on the live clock (`it.live`, `advance: Effect.sleep`).
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { bells } from "../conformance/Bells.ts"
import { losses, transitions } from "../conformance/Changes.ts"
import { show, type Unmet, unmet } from "../conformance/Claim.ts"
import { all } from "../conformance/Histories.ts"
import { circuitOf, type Definition, HOUR } from "../conformance/Law.ts"
import { names } from "../conformance/Names.ts"
import { probes } from "../conformance/Probes.ts"
import { expiry, formats, records } from "../conformance/Records.ts"
import { reads, reports } from "../conformance/Reports.ts"
import { announcements, fenceless, machine, operators, outages } from "../conformance/Running.ts"
import { monotonicMillis } from "../internal/Clock.ts"
import { randomId } from "../internal/Ids.ts"
import { type Capabilities, Storage, type StorageError } from "./Storage.ts"

/**
 * A storage broke a law: the law, the claim that was checked, the expected value and the actual one.
 *
 * @category errors
 * @since 0.1.0
 */
export class ConformanceError
  extends Schema.TaggedError<ConformanceError>("effect-breaker/Storage/ConformanceError")("ConformanceError", {
    law: Schema.String,
    claim: Schema.String,
    expected: Schema.String,
    actual: Schema.String,
    cause: Schema.optionalKey(Schema.Defect())
  })
{
  override get message(): string {
    return `${this.law}\n  checked:  ${this.claim}\n  expected: ${this.expected}\n  actual:   ${this.actual}`
  }
}

/**
 * The storage under test, and how time passes for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Params<E = never, R = never, RH = never> {
  /** The capabilities of the storage. They decide which laws it must keep: see `laws`. */
  readonly capabilities: Capabilities
  /**
   * The storage. It is built anew for each law. Some laws build it twice, as two processes would, so anything that the
   * two share (a server, a directory) must be made outside of the layer.
   */
  readonly layer: (options: { readonly idleTimeToLive: Duration.Duration }) => Layer.Layer<Storage, E, R>
  /**
   * Lets time pass for the storage: `TestClock.adjust` if it reads Effect's clock. Otherwise `Effect.sleep` (on the
   * live clock) or a shift of the server's clock.
   */
  readonly advance: (by: Duration.Duration) => Effect.Effect<void, never, RH>
  /**
   * The shortest wait of a law. It must be long enough for a few operations to be answered. Default 100 ms. Times in
   * answers may be off by 20 ms, because a storage may read its clock twice or keep whole milliseconds.
   */
  readonly unit?: Duration.Input | undefined
  /** For how long twenty operations at once may block the event loop, in the shortest of five attempts. Default 50 ms. */
  readonly maxBlocking?: Duration.Input | undefined
  /** How many random histories are compared with the pure record. Default 20. */
  readonly histories?: number | undefined
  /** The seed of these histories. Default 1, so that a history that failed once fails again. */
  readonly seed?: number | undefined
  /**
   * Replaces the stored record of a circuit without the storage, as another version or an accident would: `f` gets the
   * record and returns its replacement. Enables the laws about newer formats and damaged records.
   */
  readonly rewrite?:
    | ((circuit: string, f: (record: Readonly<Record<string, unknown>>) => unknown) => Effect.Effect<void, unknown, RH>)
    | undefined
  /** Cuts storages off from their data until the scope closes. Enables the laws about outages. */
  readonly outage?: Effect.Effect<void, unknown, RH | Scope.Scope> | undefined
}

/**
 * One law. Its name states it and is unique.
 *
 * @category models
 * @since 0.1.0
 */
export interface Law<E = never, R = never> {
  readonly name: string
  /** The law applies to storages with (`true`) or without (`false`) these capabilities. Empty: it applies to all. */
  readonly requires: Partial<Capabilities>
  /**
   * Fails with a `ConformanceError` if the storage breaks the law, or with the error of the layer. Run it on the clock
   * that `advance` moves.
   */
  readonly check: Effect.Effect<void, ConformanceError | E, R>
}

/**
 * The laws that a storage with these capabilities must keep, each to be run as a test of its own. For a missing
 * capability, its laws are replaced by the law of how a storage without it behaves. The hooks `rewrite` and `outage`
 * add laws of their own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const laws = <E = never, R = never, RH = never>(params: Params<E, R, RH>): ReadonlyArray<Law<E, R | RH>> =>
  definitions
    .filter(({ hooks, requires }) =>
      hooks.every((hook) => params[hook] !== undefined) &&
      CAPABILITIES.every((key) => requires[key] === undefined || requires[key] === params.capabilities[key])
    )
    .map((definition) => ({
      name: definition.name,
      requires: definition.requires,
      check: checkOf(definition, params)
    }))

const CAPABILITIES = ["shared", "durable", "pushes", "history", "fences", "bells"] as const

/** How often a law about time is tried again if it fails while the machine was stalled. */
const MOST_TRIES = 5

const checkOf = <E, R, RH>(
  definition: Definition,
  params: Params<E, R, RH>,
  tries = 1
): Effect.Effect<void, ConformanceError | E, R | RH> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const now = () => monotonicMillis(clock)
    const start = now()
    let meant = 0
    const once = tryOf(definition, params, (millis) => {
      meant += millis
    })
    const isLate = () => now() - start - meant > unitOf(params)
    return yield* Effect.catchIf(
      Effect.scoped(once),
      () => definition.timed === true && isLate() && tries < MOST_TRIES,
      () => checkOf(definition, params, tries + 1)
    )
  })

const unitOf = ({ unit = "100 millis" }: Pick<Params, "unit">): number =>
  Duration.toMillis(Duration.fromInputUnsafe(unit))

const tryOf = <E, R, RH>(
  definition: Definition,
  params: Params<E, R, RH>,
  waits: (millis: number) => void
): Effect.Effect<void, ConformanceError | E, R | RH | Scope.Scope> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<R | RH>()
    // Resources of a law end with the law's own scope, not with this one.
    const provided = <A, E2>(
      effect: Effect.Effect<A, E2, R | RH | Scope.Scope>
    ): Effect.Effect<A, E2, Scope.Scope> =>
      Effect.flatMap(Effect.scope, (scope) => Effect.provideContext(effect, Context.add(context, Scope.Scope, scope)))
    const unit = unitOf(params)
    const idleTimeToLive = definition.idleUnits === undefined ? HOUR : definition.idleUnits * unit
    const build = Effect.suspend(() =>
      Layer.build(Layer.fresh(params.layer({ idleTimeToLive: Duration.millis(idleTimeToLive) })))
    ).pipe(Effect.map(Context.get(Storage)), provided)
    const done = (claim: string) => Effect.catch((error: unknown) => unmet(claim, "done", error))
    const storage = yield* build
    const run = `conformance-${yield* randomId}-`
    yield* definition.check({
      storage,
      unit,
      another: build.pipe(done("building the storage once more")),
      capabilities: params.capabilities,
      idleTimeToLive,
      maxBlocking: Duration.toMillis(params.maxBlocking ?? "50 millis"),
      histories: params.histories ?? 20,
      seed: params.seed ?? 1,
      circuit: (label = "", of = storage) => circuitOf(of, `${run}${label}`),
      // By another clock, a timer may fire a millisecond early.
      wait: (millis) =>
        Effect.suspend(() => {
          waits(millis)
          return Effect.provideContext(params.advance(Duration.millis(millis + 2)), context)
        }),
      rewrite: (circuit, f) =>
        (params.rewrite?.(circuit.name, f) ?? Effect.void).pipe(
          Effect.provideContext(context),
          done("rewriting the record")
        ),
      outage: (params.outage ?? Effect.void).pipe(provided, done("the outage"))
    }).pipe(Effect.mapError((error) => inLaw(definition.name, error)))
  })

const inLaw = (law: string, error: Unmet | StorageError): ConformanceError =>
  error._tag === "Unmet"
    ? new ConformanceError({ law, claim: error.claim, expected: error.expected, actual: error.actual })
    : new ConformanceError({
      law,
      claim: `${error.operation} of ${show(error.circuit)}`,
      expected: "an answer",
      actual: `StorageError ${error.reason}: ${String(error.cause)}`,
      cause: error
    })

const definitions: ReadonlyArray<Definition> = [
  ...reads,
  ...reports,
  ...transitions,
  ...losses,
  ...probes,
  ...records,
  ...names,
  ...expiry,
  ...operators,
  ...announcements,
  ...bells,
  ...machine,
  ...outages,
  ...formats,
  ...fenceless,
  ...all
]
