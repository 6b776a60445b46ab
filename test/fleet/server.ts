/** The server that a fleet shares its circuits through, as a drill needs it: what it holds, and what can be done to it. */
import type { Rng } from "../sim/random.ts"
import type { Counts } from "./log.ts"
import type { Setup } from "./worker.ts"

/** Something that can be done to a server. It is over when the server is as it was. */
export interface Trouble {
  readonly what: string
  /** It may lose what it acknowledged. */
  readonly losesData?: boolean | undefined
  readonly inflict: () => Promise<void>
}

export interface Stored extends Counts {
  readonly generation: number
}

export interface Server {
  readonly storage: Setup["storage"]
  /** What it holds of a circuit. */
  readonly stored: (circuit: string) => Promise<Stored>
  /** So short that calls hardly feel it. */
  readonly hiccup: (rng: Rng) => Trouble
  readonly troubles: ReadonlyArray<(rng: Rng) => Trouble>
  readonly stop: () => Promise<void>
}
