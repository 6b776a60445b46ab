/**
 * The laws of a storage, as a suite that any test runner runs against any storage.
 *
 * Who writes a storage runs it: against the real server, and with more than one connection to it. What the types of
 * `Storage` cannot say stands here, each law a check with a name:
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
 * Three kinds of laws: examples that say what must come of one rule each; one that lets many things happen in no order and
 * compares each answer with the pure functions in the core of this library, which any storage must agree with; and some that
 * look at the machine, such as that the event loop is never held up.
 *
 * **Gotchas**
 *
 * Circuits have names that no other run has, so a server can be used again and by others; they are left behind, to expire. A
 * few names stand for themselves (the empty one, `__proto__`): of those only lifetime counts are touched.
 *
 * On a real server the laws wait in real time: a few `unit`s each, one of them a second. Give each half a minute, and run
 * them on the live clock (`it.live`, `advance: Effect.sleep`).
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
import { type Capabilities, Storage, type StorageError } from "./Storage.ts"

/**
 * A storage broke a law: which, what was looked at, what had to come and what came.
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
    return `${this.law}\n  looked at: ${this.claim}\n  expected:  ${this.expected}\n  came:      ${this.actual}`
  }
}

/**
 * What is tested, and how time passes for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Params<E = never, R = never, RH = never> {
  /**
   * What the storage can do. It is held to all of it, and where it can't do something, to what holds without: `laws` says which
   * laws these are.
   */
  readonly capabilities: Capabilities
  /**
   * The storage. It is built anew for each law, and for some twice at once: as two processes would, so what they share (a
   * server, a directory) must not be made by the layer itself.
   */
  readonly layer: (options: { readonly idleTimeToLive: Duration.Duration }) => Layer.Layer<Storage, E, R>
  /**
   * Lets time pass for the storage: `TestClock.adjust` where it reads Effect's clock, `Effect.sleep` (on the live clock) or a
   * shift of the server's clock where it does not.
   */
  readonly advance: (by: Duration.Duration) => Effect.Effect<void, never, RH>
  /**
   * The least time that laws wait, and in which a few operations are certainly answered. Default 100 ms. Times that come back
   * may be off by 20 ms, for who reads its clock twice or keeps whole milliseconds.
   */
  readonly unit?: Duration.Input | undefined
  /** For how long twenty operations at once may hold up the event loop: the median of five goes. Default 50 ms. */
  readonly maxBlocking?: Duration.Input | undefined
  /** How many random histories are compared with the pure record. Default 20. */
  readonly histories?: number | undefined
  /** From which these follow. Default 1, so that what failed once fails again. */
  readonly seed?: number | undefined
  /**
   * Rewrites the stored record of a circuit behind the storage's back, as another version or an accident would: `f` gets it
   * and returns what shall stand there instead. With it, what is said of future formats and of damage is tested, too.
   */
  readonly rewrite?:
    | ((circuit: string, f: (record: Readonly<Record<string, unknown>>) => unknown) => Effect.Effect<void, unknown, RH>)
    | undefined
  /** Cuts storages off from their data until the scope closes. With it, what holds during an outage is tested, too. */
  readonly outage?: Effect.Effect<void, unknown, RH | Scope.Scope> | undefined
}

/**
 * One law. The name says it, and is no other law's.
 *
 * @category models
 * @since 0.1.0
 */
export interface Law<E = never, R = never> {
  readonly name: string
  /** Of which storages it is demanded: with, or without, these capabilities. Empty for all. */
  readonly requires: Partial<Capabilities>
  /** Fails with what is not so, or with what the layer fails with. Needs no clock but the one that `advance` is about. */
  readonly check: Effect.Effect<void, ConformanceError | E, R>
}

/**
 * The laws that a storage with these capabilities must keep, each to be run as a test of its own. None is skipped in silence:
 * a capability that is not declared removes the laws about it and brings in the law of what holds without it, and the hooks
 * `rewrite` and `outage` bring in their own.
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

const CAPABILITIES = ["shared", "durable", "pushes", "history", "fences"] as const

/** How often a law about time is tried that fails on a machine which stood still meanwhile. */
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
    // What a law scopes ends with its own scope, not with this one's.
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
    const run = `conformance-${Math.random().toString(36).slice(2)}-`
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
      // A timer may be early by a millisecond, by somebody else's clock.
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
  ...machine,
  ...outages,
  ...formats,
  ...fenceless,
  ...all
]
