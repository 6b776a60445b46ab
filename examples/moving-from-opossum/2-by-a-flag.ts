/** The second step: a flag for each service. `PRICES_BREAKER_DECIDES=new` switches prices, and stock stays as it is. */
import { Config, Effect } from "effect"
import type { Breaker } from "../../src/index.ts"
import * as Adapter from "../../src/interop/Adapter.ts"
import * as Compare from "../../src/interop/Compare.ts"
import { guarded, Prices, rejected, runtime, Stock } from "./Breakers.ts"
import { opossum } from "./Old.ts"
import { play } from "./Shop.ts"

const both = <Err, Ctx>(breaker: Breaker.Guard<Err, Ctx>) =>
  Compare.compare(
    { old: Adapter.opossum(breaker.circuit, opossum()), new: breaker },
    {
      decides: Config.Literals(["old", "new"], `${breaker.circuit.toUpperCase()}_BREAKER_DECIDES`).pipe(
        Config.withDefault("old")
      ),
      onMismatch: () => Effect.void
    }
  )

await play({
  prices: guarded(both(Prices)),
  stock: guarded(both(Stock)),
  rejected: (error) => error instanceof Adapter.ForeignOpenError ? { retryAfter: undefined } : rejected(error)
})
await runtime.dispose()
