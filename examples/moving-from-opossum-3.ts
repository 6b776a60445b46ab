/** The third step: opossum is gone. */
import { guarded, Prices, rejected, runtime, Stock } from "./moving-from-opossum/Breakers.ts"
import { play } from "./moving-from-opossum/Shop.ts"

await play({ prices: guarded(Prices), stock: guarded(Stock), rejected })
await runtime.dispose()
