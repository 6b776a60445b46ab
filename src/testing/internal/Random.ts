/** Random numbers that follow from a seed (mulberry32), also as Effect's `Random` service. */
import type * as Random from "effect/Random"

export class Rng implements Random.Random {
  #state: number

  constructor(...seed: ReadonlyArray<number>) {
    this.#state = seed.reduce((hash, part) => Math.imul(hash ^ part, 0x9e3779b1) ^ (hash >>> 15), 0x2545f491)
  }

  nextDoubleUnsafe(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  nextIntUnsafe(): number {
    return Math.floor((this.nextDoubleUnsafe() - 0.5) * 2 * Number.MAX_SAFE_INTEGER)
  }

  /** A whole number from `least` to `most`, both included. */
  int(least: number, most: number): number {
    return least + Math.floor(this.nextDoubleUnsafe() * (most - least + 1))
  }

  chance(probability: number): boolean {
    return this.nextDoubleUnsafe() < probability
  }

  pick<A>(from: ReadonlyArray<A>): A {
    return from[this.int(0, from.length - 1)]!
  }

  /** One of the values, with a probability in proportion to its weight. */
  weighted<A>(choices: ReadonlyArray<readonly [weight: number, value: A]>): A {
    let left = this.nextDoubleUnsafe() * choices.reduce((sum, [weight]) => sum + weight, 0)
    for (const [weight, value] of choices) {
      left -= weight
      if (left < 0) return value
    }
    return choices.at(-1)![1]
  }
}
