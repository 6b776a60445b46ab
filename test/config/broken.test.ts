import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, PlatformError, Result, Schema, Stream } from "effect"
import { execFileSync } from "node:child_process"
import * as BreakerConfig from "../../src/config/BreakerConfig.ts"
import { isParsed } from "../../src/config/internal/Document.ts"
import { parseJson } from "../../src/config/internal/Json.ts"
import { Storage } from "../../src/index.ts"
import { broken } from "./broken.ts"
import { classOf, layerFor } from "./support.ts"

/** The message of a real file, without the directory in it. */
const messageOf = (path: string, directory: string) =>
  Effect.match(
    Effect.void.pipe(
      Effect.provide(layerFor(classOf("payments"))),
      Effect.provide(Layer.merge(BreakerConfig.layer({ file: path }), Storage.MemoryStorageLive))
    ),
    { onSuccess: () => "no problem", onFailure: ({ message }) => message.replaceAll(`${directory}/`, "") }
  )

const inDirectory = <A, E>(use: (directory: string) => Effect.Effect<A, E, FileSystem.FileSystem>) =>
  FileSystem.FileSystem.use((fileSystem) => Effect.flatMap(fileSystem.makeTempDirectoryScoped(), use)).pipe(
    Effect.scoped,
    Effect.provide(NodeFileSystem.layer)
  )

const text = (text: string) => Stream.make(new TextEncoder().encode(text))

const forbidden = Stream.fail(
  PlatformError.systemError({ _tag: "PermissionDenied", module: "FileSystem", method: "open" })
)

describe("broken files", () => {
  it.effect.each(broken)(
    "$what",
    ({ file: [ending, content], message }) =>
      inDirectory((directory) =>
        Effect.gen(function*() {
          const fileSystem = yield* FileSystem.FileSystem
          const path = `${directory}/breakers.${ending}`
          yield* fileSystem.writeFile(path, typeof content === "string" ? new TextEncoder().encode(content) : content)
          const found = yield* messageOf(path, directory)
          assert.strictEqual(found, message)
          assert.notInclude(found, "hunter2")
        })
      )
  )

  it.effect.each<readonly [what: string, make: (path: string) => void, message: string]>([
    ["no file", () => {}, "breakers.yaml: must be a file that exists"],
    ["a directory", (path) => execFileSync("mkdir", [path]), "breakers.yaml: must be a file, and not a Directory"],
    [
      "a pipe that nobody writes to",
      (path) => execFileSync("mkfifo", [path]),
      "breakers.yaml: must be a file, and not a FIFO"
    ],
    [
      "a device without end",
      (path) => execFileSync("ln", ["-s", "/dev/zero", path]),
      "breakers.yaml: must be a file, and not a CharacterDevice"
    ],
    [
      "a link to itself",
      (path) => execFileSync("ln", ["-s", "breakers.yaml", path]),
      "breakers.yaml: must be a file that this process may read (BadResource)"
    ]
  ])("%s", ([, make, message]) =>
    inDirectory((directory) => {
      make(`${directory}/breakers.yaml`)
      return Effect.map(
        messageOf(`${directory}/breakers.yaml`, directory),
        (found) => assert.strictEqual(found, message)
      )
    }))

  it.effect("a file that this process must not read", () =>
    Effect.map(
      messageOf("/secret/breakers.yaml", "/secret").pipe(
        Effect.provide(FileSystem.layerNoop({
          stat: () => Effect.succeed({ type: "File" } as FileSystem.File.Info),
          stream: () => forbidden
        }))
      ),
      (found) =>
        assert.strictEqual(found, "breakers.yaml: must be a file that this process may read (PermissionDenied)")
    ))

  it("the schema refuses what the layer refuses", () => {
    for (const { file: [ending, content], message, what } of broken) {
      // The schema sees a value, and no class.
      if (ending !== "json" || typeof content !== "string" || message.includes("keyed")) continue
      const parsed = parseJson(content)
      if (!isParsed(parsed)) continue
      const result = Schema.decodeUnknownResult(BreakerConfig.File)(parsed.document.value)
      assert.isTrue(Result.isFailure(result), what)
    }
  })

  it.effect("a message has a line for each problem, of the file and of the environment, and at most 50", () =>
    Effect.gen(function*() {
      const wrong = Array.from({ length: 60 }, (_, i) => `  a${i}: 1`).join("\n")
      const error = yield* Effect.flip(
        Effect.provide(BreakerConfig.BreakerConfig, BreakerConfig.layer({ file: "breakers.yaml" })).pipe(
          Effect.provide(FileSystem.layerNoop({
            stat: () => Effect.succeed({ type: "File" } as FileSystem.File.Info),
            stream: () => text(`circuit_breaker:\n${wrong}`)
          }))
        )
      )
      const lines = error.message.split("\n")
      assert.strictEqual(error.problems.length, 60)
      assert.strictEqual(lines.length, 51)
      assert.strictEqual(lines[50], "and 10 more")
      assert.isTrue(
        lines.slice(0, 50).every((line, i) => line.startsWith(`breakers.yaml:${i + 2}: circuit_breaker.a${i} `))
      )
    }))
})
