/** The conformance suite on Node's file system. */
import { NodePath } from "@effect/platform-node"
import { describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Conformance from "../../src/Storage/Conformance.ts"
import * as FileStorage from "../../src/Storage/File.ts"
import { before, capabilities, failure, freshDirectory, removeEmptyDirectory, rewrite } from "./support.ts"

const directory = freshDirectory()
let isDown = false

const fileSystem = before((method, path) =>
  Effect.suspend(() => isDown ? Effect.fail(failure(method, path, "EIO")) : Effect.void)
)

describe("conformance: files", () => {
  const laws = Conformance.laws({
    capabilities,
    layer: ({ idleTimeToLive }) =>
      FileStorage.layer({ directory, idleTimeToLive, removeEmptyDirectory }).pipe(
        Layer.provide([fileSystem, NodePath.layer])
      ),
    advance: Effect.sleep,
    maxBlocking: "250 millis",
    rewrite: (circuit, f) => Effect.sync(() => rewrite(directory, circuit, f)),
    outage: Effect.acquireRelease(
      Effect.sync(() => {
        isDown = true
      }),
      () =>
        Effect.sync(() => {
          isDown = false
        })
    )
  })
  for (const law of laws) it.live(law.name, () => law.check)
})
