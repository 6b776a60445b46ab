/**
 * The breakers that live in this process: to list them, to find one by its circuit's name, and to hear all of their events.
 *
 * Breakers register by themselves, from when they are made until their scope closes. No layer has to be provided. A test can have a
 * registry of its own by `layer`.
 *
 * **Gotchas**
 *
 * The errors of a breaker that is found here are not known, so it is for operators and not for calls.
 *
 * **Example** (Listing what is open)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Breaker, Storage, Trip } from "effect-breaker"
 * import * as Registry from "effect-breaker/Registry"
 *
 * const program = Effect.gen(function*() {
 *   const payments = yield* Breaker.make("payments", { trip: Trip.consecutiveFailures(1) })
 *   yield* Effect.ignore(payments.wrap(Effect.fail("declined")))
 *   const snapshots = yield* Registry.snapshots
 *   return snapshots.filter(({ state }) => state === "Open").map(({ circuit }) => circuit)
 * }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive), Effect.provide(Registry.layer))
 *
 * await Effect.runPromise(program) // => ["payments"]
 * ```
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import { type Breaker, type KeyedBreaker, onEvent as onEventOf } from "./Breaker.ts"
import type { Event, Snapshot } from "./Event.ts"
import { CurrentRegistry, Registered } from "./internal/Registered.ts"
import type { Policy } from "./Policy.ts"

/**
 * A breaker that lives in this process.
 *
 * - `name`: of a keyed breaker, the beginning of its circuits' names.
 * - `policy`: the policy in force, `Breaker.Defaults` included. `fingerprint`: its `Breaker.fingerprint`.
 * - `drift`: the fingerprint of another policy by which one of its circuits last changed in the fleet: a deploy is under way, or
 *   the instances have drifted apart. What an operator changes is by no policy. `fleet.drift` in a snapshot has it for each circuit.
 * - `snapshots`: of all its circuits, or of at most `limit` whose names begin with `prefix`, each with `whyNot` and `approach`, how
 *   close it is to opening. Reading moves nothing. `Breaker.Snapshot` is their schema.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly name: string
  readonly backend: string
  readonly policy: Effect.Effect<Policy>
  readonly fingerprint: Effect.Effect<string>
  readonly drift: Effect.Effect<Option.Option<string>>
  readonly breaker:
    | { readonly _tag: "One"; readonly breaker: Breaker<unknown> }
    | {
      readonly _tag: "Keyed"
      readonly breaker: KeyedBreaker<unknown>
      readonly keys: Effect.Effect<ReadonlyArray<string>>
    }
  readonly snapshots: (
    options?: { readonly prefix?: string | undefined; readonly limit?: number | undefined }
  ) => Effect.Effect<ReadonlyArray<Snapshot>>
}

/**
 * All breakers of a process.
 *
 * - `breakers`: sorted by name.
 * - `find`: the breaker of the circuit of this name, a key's too. It makes none.
 * - `snapshots`: of all circuits.
 * - `events`: of all breakers, also of those that are made later, from now on.
 * - `changes`: which breakers came and went, from now on.
 *
 * @category models
 * @since 0.1.0
 */
export interface Registry {
  readonly breakers: Effect.Effect<ReadonlyArray<Entry>>
  readonly find: (circuit: string) => Effect.Effect<Option.Option<Breaker<unknown>>>
  readonly snapshots: Effect.Effect<ReadonlyArray<Snapshot>>
  readonly events: Stream.Stream<Event>
  readonly changes: Stream.Stream<{ readonly _tag: "Added" | "Removed"; readonly entry: Entry }>
}

/**
 * The registry of the context. Default: one for the process.
 *
 * @category references
 * @since 0.1.0
 */
export const Registry: Context.Reference<Registry> = CurrentRegistry as unknown as Context.Reference<Registry>

/**
 * A registry of its own for the breakers that are made below.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never> = Layer.effect(CurrentRegistry, Effect.sync(() => new Registered()))

/**
 * The breakers of the process, sorted by name.
 *
 * @category accessors
 * @since 0.1.0
 */
export const breakers: Effect.Effect<ReadonlyArray<Entry>> = Effect.flatMap(Registry, ({ breakers }) => breakers)

/**
 * The breaker of the circuit of this name, if one lives in the process.
 *
 * @category accessors
 * @since 0.1.0
 */
export const find = (circuit: string): Effect.Effect<Option.Option<Breaker<unknown>>> =>
  Effect.flatMap(Registry, ({ find }) => find(circuit))

/**
 * The snapshots of all circuits of the process.
 *
 * @category accessors
 * @since 0.1.0
 */
export const snapshots: Effect.Effect<ReadonlyArray<Snapshot>> = Effect.flatMap(Registry, ({ snapshots }) => snapshots)

/**
 * `Breaker.onEvent` for all breakers of the process, also for those that are made later.
 *
 * @category layers
 * @since 0.1.0
 */
export const onEvent = <E, R>(f: (event: Event) => Effect.Effect<unknown, E, R>): Layer.Layer<never, never, R> =>
  // A reference is always there.
  onEventOf(Registry as unknown as Context.Service<never, Registry>, f)
