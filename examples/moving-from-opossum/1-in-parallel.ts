/** The first step: both in parallel. Opossum decides, and each mismatch is printed with the reasons of both. */
import { Effect } from "effect"
import type { Breaker } from "../../src/index.ts"
import * as Adapter from "../../src/interop/Adapter.ts"
import * as Compare from "../../src/interop/Compare.ts"
import { guarded, Prices, rejected, runtime, Stock } from "./Breakers.ts"
import { opossum } from "./Old.ts"
import { play } from "./Shop.ts"

// Without `onMismatch` it goes to the log, at most once a second.
const onMismatch = ({ circuit, new: ours, old, reasons }: Compare.Mismatch) =>
  Effect.sync(() => console.log(`${circuit}: opossum ${old}, ours ${ours}: ${reasons.new}`))

const both = <Err, Ctx>(breaker: Breaker.Guard<Err, Ctx>) =>
  Compare.compare(
    { old: Adapter.opossum(breaker.circuit, opossum()), new: breaker },
    { decides: "old", onMismatch }
  )

const prices = both(Prices)
const stock = both(Stock)

await play({
  prices: guarded(prices),
  stock: guarded(stock),
  rejected: (error) => error instanceof Adapter.ForeignOpenError ? { retryAfter: undefined } : rejected(error)
})

const { calls, decided } = await runtime.runPromise(Compare.agreement(prices))
console.log(`${decided} of ${calls} calls for prices would have been decided differently`)
await runtime.dispose()
