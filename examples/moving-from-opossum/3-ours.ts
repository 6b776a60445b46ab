/** The third step: opossum is gone. */
import { guarded, Prices, rejected, runtime, Stock } from "./Breakers.ts"
import { play } from "./Shop.ts"

await play({ prices: guarded(Prices), stock: guarded(Stock), rejected })
await runtime.dispose()
