/**
 * Ids that no other process has: of instances, of operators' acts, of the copies that storages of storages send. They
 * come from a cryptographic source and not from Effect's `Random`: two processes whose `Random` has one seed would have
 * one id, and a storage would take the reports of one for repeats of the other's.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

const BYTES = 16

/** A random id of 128 bits, as hex digits. */
export const newId = (): string =>
  Array.from(globalThis.crypto.getRandomValues(new Uint8Array(BYTES)), (byte) => byte.toString(16).padStart(2, "0"))
    .join("")

/** The source of ids. A simulation provides its own, so that a run follows from its seed. */
export const IdSource: Context.Reference<() => string> = Context.Reference("effect-breaker/internal/IdSource", {
  defaultValue: () => newId
})

/** An id that nobody else has. */
export const randomId: Effect.Effect<string> = Effect.map(IdSource, (next) => next())
