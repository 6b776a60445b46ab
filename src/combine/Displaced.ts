/** Circuits that another storage than the first of a chain had to answer for: where they are now. */
export class Displaced {
  readonly #places = new Map<string, number>()

  get size(): number {
    return this.#places.size
  }

  /** Those whose place is behind this one. */
  behind(place: number): ReadonlyArray<string> {
    return [...this.#places].flatMap(([circuit, at]) => at > place ? [circuit] : [])
  }

  /** Which of these are behind this place, by where they are. */
  among(circuits: ReadonlyArray<string>, place: number): ReadonlyMap<number, ReadonlyArray<string>> {
    const found = new Map<number, Array<string>>()
    for (const circuit of circuits) {
      const at = this.#places.get(circuit)
      if (at === undefined || at <= place) continue
      const others = found.get(at)
      if (others === undefined) found.set(at, [circuit])
      else others.push(circuit)
    }
    return found
  }

  set(circuit: string, place: number): void {
    if (place === 0) this.#places.delete(circuit)
    else this.#places.set(circuit, place)
  }
}
