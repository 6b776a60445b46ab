import assert from "node:assert/strict"

/**
 * Checks the claim of a `// =>` line in a documentation fence. Returns the value, so that the call can replace the
 * expression.
 */
export const expectation = <A>(where: string, actual: A, expected: unknown): A => {
  try {
    assert.deepEqual(actual, expected)
  } catch (cause) {
    throw new Error(`${where}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
  return actual
}
