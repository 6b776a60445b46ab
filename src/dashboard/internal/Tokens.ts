/**
 * Compares tokens in a time that depends on the given one's length alone, so that it does not tell how much of it is right.
 */
export const isSameToken = (given: string, expected: string): boolean => {
  let difference = given.length ^ expected.length
  for (let i = 0; i < given.length; i++) difference |= given.charCodeAt(i) ^ expected.charCodeAt(i % expected.length)
  return difference === 0
}
