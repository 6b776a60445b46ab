import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { vi } from "vitest"
import { classOf, messageOf, policyOf } from "./support.ts"

vi.mock("yaml", () => {
  throw new Error("Cannot find package 'yaml'")
})

it.effect("without the package yaml, a YAML file says what to install, and other files are read", () =>
  Effect.gen(function*() {
    const message = yield* messageOf(classOf("payments"), { file: ["yaml", "circuit_breaker: {}"] })
    assert.match(
      message,
      /^breakers\.yaml: must be JSON or TOML, because YAML needs a package\. The package yaml could not be loaded: run "npm install yaml"/
    )
    const { evidence } = yield* policyOf(classOf("payments"), {
      file: ["toml", "[circuit_breaker.services.payments]\nevidence = \"any\""]
    })
    assert.strictEqual(evidence, "any")
  }))
