/** Turns of the event loop: what is read within one is of one moment. */

let count = 0
let isEnding = false

/** The number of this turn. */
export const turn = (): number => {
  if (!isEnding) {
    isEnding = true
    void Promise.resolve().then(() => {
      isEnding = false
      count++
    })
  }
  return count
}
