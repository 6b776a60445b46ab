/** Exports imported elsewhere: every two of memory, Redis and the databases. */
import { describe } from "vitest"
import { exchange } from "../support/archives.ts"
import { places } from "./places.ts"

describe("an archive between servers", () => {
  exchange(places)
})
