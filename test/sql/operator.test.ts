/** An `Operator` on memory, files, Redis and the databases. */
import { describe } from "vitest"
import { operators } from "../support/operators.ts"
import { places } from "./places.ts"

describe("an operator on servers", () => {
  operators(places)
})
