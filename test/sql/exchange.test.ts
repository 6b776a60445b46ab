/** Archives that one storage exports and another imports: memory, files, Redis and the databases. */
import { describe } from "vitest"
import { exchange } from "../support/archives.ts"
import { places } from "./places.ts"

describe("an archive between servers", () => {
  exchange(places)
})
