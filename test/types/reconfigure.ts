/** What a policy may be changed to, by type. */
import { type Duration, Effect } from "effect"
import { Breaker, type Storage, Trip } from "../../src/index.ts"

class Payments extends Breaker.Service<Payments>()("payments", { timeout: Breaker.unset<Duration.Input>() }) {}
class Search extends Breaker.Service<Search>()("search", { openFor: "1 minute" }) {}
class Hosts extends Breaker.KeyedService<Hosts>()("hosts", { maxConcurrent: 3 }) {}

type Change<Self> = Effect.Effect<ReadonlyArray<Breaker.PolicyChange>, Breaker.PolicyError, Self>

export const payments: Change<Payments> = Payments.reconfigure({
  trip: Trip.consecutiveFailures(10),
  timeout: "1 second",
  enforcement: "metricsOnly",
  syncEvery: "2 seconds"
})
export const hosts: Change<Hosts> = Hosts.reconfigure({ capacity: 5, maxConcurrent: 2, openFor: "5 seconds" })

// @ts-expect-error a call through Search cannot time out by its type
void Search.reconfigure({ timeout: "1 second" })
// @ts-expect-error nor may its probes
void Search.reconfigure({ halfOpen: { timeout: "1 second" } })
// @ts-expect-error a breaker without keys has no capacity
void Payments.reconfigure({ capacity: 5 })
// @ts-expect-error classify is code
void Payments.reconfigure({ classify: () => ({ _tag: "Success" }) })

export const inHand: Effect.Effect<Breaker.Policy, Breaker.PolicyError, Storage.Storage> = Effect.scoped(
  Effect.gen(function*() {
    const breaker = yield* Breaker.make("payments", { timeout: "1 second" })
    yield* breaker.reconfigure({ timeout: "2 seconds" })
    return yield* breaker.policy
  })
)
