/** The storages of a chain in their order, and the time that each of them has. */
import type { FusedStorage, NoAnswer, TimedStorage } from "../FusedStorage.ts"

export class Hops {
  readonly storages: ReadonlyArray<FusedStorage>
  /** The backends of all storages, for errors and events. */
  readonly names: string
  readonly budgetMillis: number
  readonly #deadlines: ReadonlyArray<number | undefined>

  /** A storage without a deadline has an equal share, with those behind it, of the time that is left. */
  constructor(
    storages: ReadonlyArray<FusedStorage>,
    deadlines: ReadonlyArray<number | undefined>,
    budgetMillis: number
  ) {
    this.storages = storages
    this.names = storages.map(({ storage }) => storage.backend).join(", ")
    this.#deadlines = deadlines
    this.budgetMillis = budgetMillis
  }

  at(place: number): FusedStorage {
    return this.storages[place]!
  }

  nameAt(place: number): string {
    return this.at(place).storage.backend
  }

  /** Whether the storage can decide on a change. A storage that does not fence keeps nothing to reconcile. */
  fencesAt(place: number): boolean {
    return this.at(place).storage.capabilities.fences
  }

  /**
   * The place of the storage that a request goes to after this one. One that does not fence makes no decision while any
   * before it is in use: the first late answer would undo what those have decided.
   */
  after(place: number, decides: boolean): number | undefined {
    const isInUse = (at: number): boolean => this.fencesAt(at) && !this.at(at).isDown
    for (let next = place + 1; next < this.storages.length; next++) {
      const isLeftOut = decides && !this.fencesAt(next) && [...this.storages.keys()].slice(0, next).some(isInUse)
      if (!isLeftOut) return next
    }
    return undefined
  }

  now(): number {
    return this.at(0).now()
  }

  deadlineAt(place: number, leftMillis: number): number {
    const share = leftMillis / (this.storages.length - place)
    return Math.max(1, Math.min(leftMillis, this.#deadlines[place] ?? share))
  }

  within(
    place: number,
    leftMillis: number,
    onNoAnswer?: (circuit: string, noAnswer: NoAnswer) => void
  ): TimedStorage {
    return this.at(place).within(this.deadlineAt(place, leftMillis), onNoAnswer)
  }
}
