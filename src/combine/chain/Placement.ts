/** Where circuits are that another storage than the first one answered for: the place of the last storage that did. */
export class Placement {
  readonly #places = new Map<string, number>()

  /** The circuits that are behind this place. */
  behind(place: number): ReadonlyArray<string> {
    return [...this.#places].flatMap(([circuit, at]) => at > place ? [circuit] : [])
  }

  /** Those of these circuits that are behind this place, by the place where they are. */
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
