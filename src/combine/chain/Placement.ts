/** Where circuits are that another storage than the first one answered for: the places of all that did since. */
export class Placement {
  readonly #places = new Map<string, Set<number>>()

  /** The circuits that are behind this place. */
  behind(place: number): ReadonlyArray<string> {
    return [...this.#places].flatMap(([circuit, places]) => Math.max(...places) > place ? [circuit] : [])
  }

  /** Those of these circuits that are behind this place, by each place where they are. */
  among(circuits: ReadonlyArray<string>, place: number): ReadonlyMap<number, ReadonlyArray<string>> {
    const found = new Map<number, Array<string>>()
    for (const circuit of circuits) {
      for (const at of this.#places.get(circuit) ?? []) {
        if (at <= place) continue
        const others = found.get(at)
        if (others === undefined) found.set(at, [circuit])
        else others.push(circuit)
      }
    }
    return found
  }

  answered(circuit: string, place: number): void {
    if (place === 0) return
    const places = this.#places.get(circuit)
    if (places === undefined) this.#places.set(circuit, new Set([place]))
    else places.add(place)
  }

  /** The storage at the place `to` has got the changes of the one at `from`. */
  broughtBack(circuit: string, from: number, to: number): void {
    this.answered(circuit, to)
    const places = this.#places.get(circuit)
    places?.delete(from)
    if (places?.size === 0) this.#places.delete(circuit)
  }
}
