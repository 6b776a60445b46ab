import assert from "node:assert/strict"

/** What a `// =>` line of a documentation fence claims. Returns the value, so that it can stand where the value stood. */
export const expectation = <A>(where: string, actual: A, expected: unknown): A => {
  try {
    assert.deepEqual(actual, expected)
  } catch (cause) {
    throw new Error(`${where}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
  return actual
}
