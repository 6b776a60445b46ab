/** The server that stores a fleet's circuits: a drill reads its counts and inflicts its faults. */
import type { Rng } from "../../src/testing/internal/Random.ts"
import type { Counts } from "./log.ts"
import type { Setup } from "./worker.ts"

/** A fault of a server. `inflict` ends when the server is as it was before. */
export interface Trouble {
  readonly what: string
  /** The server may lose writes that it acknowledged. */
  readonly losesData?: boolean | undefined
  readonly inflict: () => Promise<void>
}

export interface Stored extends Counts {
  readonly generation: number
}

export interface Server {
  readonly storage: Setup["storage"]
  /** A circuit's stored generation and counts. */
  readonly stored: (circuit: string) => Promise<Stored>
  /** A fault that is too short to affect most calls. */
  readonly hiccup: (rng: Rng) => Trouble
  readonly troubles: ReadonlyArray<(rng: Rng) => Trouble>
  readonly stop: () => Promise<void>
}
