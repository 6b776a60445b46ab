/** Before the move: the shop with opossum. The next steps are in the files beside this one. */
import { opossum } from "./Old.ts"
import { play } from "./Shop.ts"

const prices = opossum()
const stock = opossum()

await play({
  prices: (call) => prices.fire(call),
  stock: (call) => stock.fire(call),
  rejected: (error) =>
    error instanceof Error && "code" in error && error.code === "EOPENBREAKER" ? { retryAfter: undefined } : undefined
})

prices.shutdown()
stock.shutdown()
