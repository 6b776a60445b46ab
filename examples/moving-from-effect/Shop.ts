/** A shop that charges cards by a payment service. Only the breaker around its calls differs from step to step. */
import { Console, Data, Effect } from "effect"

export class ServiceDown extends Data.TaggedError("ServiceDown") {}

/** Longer than a circuit is open here. */
const A_WHILE = "600 millis"

/** A morning: two charges, four while the payment service is down, and one a while after it has come back. */
export const morning = <E extends { readonly _tag: string }, R>(
  guarded: (call: Effect.Effect<string, ServiceDown>) => Effect.Effect<string, E | ServiceDown, R>
): Effect.Effect<void, never, R> => {
  const charge = (isUp: boolean) =>
    guarded(isUp ? Effect.succeed("charged") : Effect.fail(new ServiceDown())).pipe(
      Effect.catch(({ _tag }) => Effect.succeed(_tag === "ServiceDown" ? "failed" : "rejected")),
      // A customer every now and then.
      Effect.tap(() => Effect.sleep("20 millis"))
    )
  return Effect.gen(function*() {
    const charges = yield* Effect.forEach([true, true, false, false, false, false], charge)
    yield* Effect.sleep(A_WHILE)
    const later = yield* charge(true)
    yield* Console.log(`${charges.join(", ")}; a while later ${later}`)
  })
}
