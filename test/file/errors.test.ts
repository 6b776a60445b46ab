/** The reason of each error of a file system. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, PlatformError } from "effect"
import { constants } from "node:os"
import { storageErrorOf } from "../../src/file/FileError.ts"
import type { StorageError } from "../../src/Storage/Storage.ts"
import { failure, node } from "./support.ts"

/** The tags that Effect's file system of Node gives to codes. All others are `Unknown`. */
const tags = {
  ENOENT: "NotFound",
  EACCES: "PermissionDenied",
  EPERM: "PermissionDenied",
  EEXIST: "AlreadyExists",
  EISDIR: "BadResource",
  ENOTDIR: "BadResource",
  ELOOP: "BadResource",
  EBUSY: "Busy"
} as const

/** What an operator has to mend. Every other code, known or not, leaves it to another storage to answer. */
const denied = ["EACCES", "EPERM", "EISDIR", "ENOTDIR", "ELOOP"]

const codes = [...new Set([...Object.keys(constants.errno), "EDQUOT", "EROFS", "ENOSPC", "EIO", "EWHATEVER"])]

describe("an error of the file system", () => {
  for (const code of codes) {
    const expected: StorageError["reason"] = denied.includes(code) ? "Denied" : "Unavailable"
    it(`an error of the file system with the code ${code} is ${expected} (S9)`, () => {
      const error = failure("open", "/circuits", code, tags[code as keyof typeof tags])
      assert.deepInclude(storageErrorOf(error), { reason: expected, cause: error })
    })
  }

  it("an error of the file system without a code is Unavailable (S9)", () => {
    const error = PlatformError.systemError({
      _tag: "Unknown",
      module: "FileSystem",
      method: "open",
      pathOrDescriptor: "/circuits"
    })
    assert.strictEqual(storageErrorOf(error).reason, "Unavailable")
  })

  it.effect("errors of Node's file system have the tags that this table assumes (S9)", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const [missing, notADirectory, isADirectory] = [
        yield* Effect.flip(fs.readFileString("/nowhere/at/all")),
        yield* Effect.flip(fs.readFileString("/dev/null/file")),
        yield* Effect.flip(fs.readFileString("/"))
      ]
      assert.deepStrictEqual(
        [missing, notADirectory, isADirectory].map(({ reason }) => reason._tag),
        [tags.ENOENT, tags.ENOTDIR, tags.EISDIR]
      )
    }).pipe(Effect.provide(node)))
})
