import { assert, describe, it } from "@effect/vitest"
import { growth } from "./growth.ts"

const usage = (heap: number, handles: number) => ({ heap, handles })

describe("growth", () => {
  it("a process that holds about as much as before has not grown", () => {
    assert.deepEqual(growth([usage(20e6, 8)], [usage(24e6, 10)]), [])
  })

  it("a process whose heap has grown is found", () => {
    assert.deepEqual(growth([usage(20e6, 8), usage(20e6, 8)], [usage(20e6, 8), usage(40e6, 8)]), [
      "the heap of process 1 has grown from 20.0 MB to 40.0 MB"
    ])
  })

  it("a process that holds more handles is found", () => {
    assert.deepEqual(growth([usage(20e6, 8)], [usage(20e6, 30)]), ["process 0 has 30 handles, after 8"])
  })
})
