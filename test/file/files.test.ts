/** The files in a storage's directory, damage to them, and the logs and reports about it. */
import { NodePath } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, FileSystem, Layer, Logger, type Path, type PlatformError, Stream } from "effect"
import { TestClock } from "effect/testing"
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { basename, dirname, join } from "node:path"
import { circuitOf, failures, FORCED, success, times } from "../../src/conformance/Law.ts"
import { HOSTILE } from "../../src/conformance/Names.ts"
import { Circuits } from "../../src/file/Circuits.ts"
import { Directory } from "../../src/file/Directory.ts"
import { folderOf, nameOf } from "../../src/file/FolderName.ts"
import { messages } from "../../src/internal/Messages.ts"
import * as FileStorage from "../../src/Storage/File.ts"
import type { Storage } from "../../src/Storage/Storage.ts"
import { until } from "../support/machine.ts"
import { clockAt, DIRECTORY, Disk, storageOn } from "./disk.ts"
import {
  before,
  build,
  failure,
  freshDirectory,
  node,
  removeEmptyDirectory,
  rewrite,
  versionsOf,
  withChecksum
} from "./support.ts"

const storageIn = (
  directory: string,
  options: FileStorage.Options = {},
  layer: Layer.Layer<FileSystem.FileSystem | Path.Path> = node
) =>
  build(FileStorage.layer({ directory, cleanUp: false, removeEmptyDirectory, ...options })).pipe(Effect.provide(layer))

const list = (storage: Storage) => Effect.map(Stream.runCollect(storage.list), (names) => names.toSorted())

const reportOn = (directory: string) => Effect.provide(FileStorage.report({ directory }), node)

const jsonIn = (file: string) => JSON.parse(readFileSync(file, "utf8"))

const onceFailing = (codes: { current: string | undefined }, methods: ReadonlyArray<string>) =>
  Layer.merge(
    before((method, path): Effect.Effect<void, PlatformError.PlatformError> => {
      const { current } = codes
      if (current === undefined || !methods.includes(method) || !path.includes("payments")) return Effect.void
      return Effect.fail(failure(method, path, current, current === "EACCES" ? "PermissionDenied" : "Unknown"))
    }),
    NodePath.layer
  )

/** The reason of an effect's error, and the cause as text. */
const errorOf = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(Effect.flip(effect), (error) => {
    const { cause, reason } = error as { readonly cause?: unknown; readonly reason?: string }
    return [reason, String(cause)] as const
  })

const START = 1_763_740_800_000

describe("a directory of circuits", () => {
  it.effect("the storage of files has the name and the capabilities of one", () =>
    Effect.gen(function*() {
      const { backend, capabilities } = yield* storageIn(freshDirectory())
      assert.strictEqual(backend, "file")
      assert.deepStrictEqual(capabilities, { shared: false, durable: true, pushes: false, history: true, fences: true })
    }))

  it.effect("the directory of circuits is made by the first write, and not by reads", () =>
    Effect.gen(function*() {
      const directory = join(freshDirectory(), "deep", "down")
      const storage = yield* storageIn(directory)
      yield* circuitOf(storage, "payments").read
      assert.deepStrictEqual(yield* list(storage), [])
      assert.deepStrictEqual((yield* reportOn(directory)).circuits, [])
      assert.isFalse(existsSync(directory))
      yield* circuitOf(storage, "payments").report(failures(1))
      assert.deepStrictEqual(readdirSync(directory).toSorted(), [".gitignore", ".tmp", "payments"])
      assert.strictEqual(readFileSync(join(directory, ".gitignore"), "utf8"), "*\n")
      assert.deepStrictEqual(readdirSync(join(directory, ".tmp")), [])
    }))

  it.effect("the directory holds a readable document for each circuit, and its newest backups", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      yield* TestClock.setTime(START)
      const it = circuitOf(yield* storageIn(directory), "payments")
      yield* it.report(failures(3))
      yield* it.open()
      for (const _ of times(4)) yield* it.report(failures(1))
      const versions = versionsOf(directory, "payments")
      assert.deepStrictEqual(
        versions.map((file) => basename(file)),
        [2, 3, 4, 5].map((n) => `${START * 1000 + n}.json`)
      )
      const { document, id, ...fields } = jsonIn(versions.at(-1)!)
      assert.deepStrictEqual({ ...fields, checksum: "" }, {
        effect_breaker: 1,
        circuit: "payments",
        state: "Open",
        failure_rate: 1,
        success_count: 0,
        failure_count: 7,
        last_updated: new Date(START).toISOString(),
        based_on: START * 1000 + 4,
        checksum: ""
      })
      assert.strictEqual(document.record.lifetime.failure, 7)
      assert.match(id, /^[0-9a-f-]{36}$/)
      assert.include(readFileSync(versions[0]!, "utf8"), "\n  \"circuit\": \"payments\",\n")
      // A file with other whitespace is not damaged.
      writeFileSync(versions.at(-1)!, JSON.stringify(jsonIn(versions.at(-1)!)))
      assert.strictEqual((yield* it.read).lifetime.failure, 7)
    }))

  for (const backups of [0, 1, 5]) {
    it.effect(`a circuit in files keeps ${backups} backups where that is configured`, () =>
      Effect.gen(function*() {
        const directory = freshDirectory()
        const it = circuitOf(yield* storageIn(directory, { backups }), "payments")
        for (const _ of times(8)) yield* it.report(failures(1))
        assert.lengthOf(versionsOf(directory, "payments"), backups + 1)
      }))
  }

  it.effect("a circuit in files keeps backups for as long as is configured", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      const storage = yield* storageIn(directory, { backupsFor: "2 hours", cleanUp: true })
      const it = circuitOf(storage, "payments")
      for (const _ of times(2)) yield* it.operate({ _tag: "Override", ...FORCED })
      yield* TestClock.adjust("90 minutes")
      yield* it.report(failures(1))
      assert.lengthOf(versionsOf(directory, "payments"), 3)
      yield* TestClock.adjust("95 minutes")
      yield* Effect.promise(() =>
        until("old backups are removed", () => versionsOf(directory, "payments").length === 1)
      )
      assert.strictEqual((yield* it.read).lifetime.failure, 1)
    }))

  it.effect("two storages on one directory share its circuits, and write waiting reports together", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      const storages = [yield* storageIn(directory), yield* storageIn(directory)]
      yield* Effect.forEach(
        times(100),
        (index) =>
          circuitOf(storages[index % 2]!, "payments").send({ instance: `${index}`, sequence: 1, delta: failures(1) }),
        {
          concurrency: "unbounded"
        }
      )
      for (const storage of storages) {
        assert.strictEqual((yield* circuitOf(storage, "payments").read).lifetime.failure, 100)
      }
      // Waiting reports are written together, so there are few versions.
      assert.isAtMost(
        Math.max(
          ...versionsOf(directory, "payments").map((file) => parseInt(basename(file)))
        ),
        1 + 10
      )
    }))

  it.effect("a directory of circuits that was removed is made again", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      const it = circuitOf(yield* storageIn(directory), "payments")
      for (const what of ["", ".tmp", "payments"]) {
        yield* it.report(failures(1))
        rmSync(join(directory, what), { recursive: true })
        yield* it.report(failures(1))
        assert.strictEqual((yield* it.read).lifetime.failure, what === ".tmp" ? 3 : 1)
      }
    }))

  it("the storage of files refuses invalid options with a RangeError", () => {
    assert.throws(() => FileStorage.layer({ directory: "" }), /^Storage "file": directory must be a path, got ""$/)
    assert.throws(() => FileStorage.layer({ backups: 1.5 }), /backups must be a whole number from 0 to 1000, got 1.5/)
    assert.throws(() => FileStorage.layer({ backupsFor: 0 }), /backupsFor must be a finite duration from 1000 ms/)
    assert.throws(() => FileStorage.layer({ idleTimeToLive: NaN }), RangeError)
  })
})

describe("a name", () => {
  const odd = [
    "",
    ".",
    "..",
    "a/b",
    "con",
    "CON",
    "con.txt",
    "lpt1",
    "console",
    "a.",
    "a ",
    "a.b",
    ".a",
    "%",
    "~",
    "a~b"
  ]
  const long = ["n".repeat(200), "n".repeat(201), "n".repeat(1000), "é".repeat(100), "🦆".repeat(250), "/".repeat(80)]
  const names = [...HOSTILE, ...odd, ...long]

  it("each name of a circuit has a folder of its own, also on file systems without case, normal forms or trailing dots", () => {
    const folders = new Map([...new Set(names)].map((name) => [name, folderOf(name)]))
    const alike = [...folders.values()].map((folder) => folder.normalize("NFC").toLowerCase().replace(/[. ]+$/, ""))
    assert.strictEqual(new Set(alike).size, folders.size)
    for (const folder of folders.values()) {
      assert.match(folder, /^[a-z0-9_%~-][a-z0-9._%~-]*$/)
      assert.notMatch(folder, /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/)
      assert.isAtMost(folder.length, 200)
    }
  })

  it("the name of a circuit can be read from its folder, unless it is too long", () => {
    for (const name of names) {
      assert.strictEqual(nameOf(folderOf(name)), folderOf(name).includes("~") ? undefined : name)
    }
    for (const folder of ["A", "%zz", "%41%", "con", "a.", "%2E", "%61", "é"]) assert.isUndefined(nameOf(folder))
    assert.deepStrictEqual(["payments", "api.example.com", "A b"].map(folderOf), [
      "payments",
      "api.example.com",
      "%41%20b"
    ])
  })

  it.effect("the storage of files lists names of any length", () =>
    Effect.gen(function*() {
      const storage = yield* storageIn(freshDirectory())
      const some = [...new Set(names)].slice(-24)
      for (const name of some) yield* circuitOf(storage, name).report(failures(1))
      assert.deepStrictEqual(yield* list(storage), some.toSorted())
    }))
})

/** Ways to damage a file, each with the reason that is logged and reported. */
const accidents: Readonly<Record<string, readonly [damage: (file: string) => void, why: RegExp]>> = {
  "is empty": [(file) => truncateSync(file), /the file is empty/],
  "is cut short": [(file) => truncateSync(file, 300), /not JSON, or is cut short/],
  "lacks its last byte": [(file) => truncateSync(file, statSync(file).size - 2), /not JSON, or is cut short/],
  "is no text": [(file) => writeFileSync(file, new Uint8Array(500).fill(255)), /not JSON/],
  "has a digit changed": [
    (file) => writeFileSync(file, readFileSync(file, "utf8").replace("\"failure\": 3", "\"failure\": 4")),
    /checksum does not match/
  ],
  "is somebody else's": [(file) => writeFileSync(file, "{\"name\": \"package\"}"), /did not write the file/],
  "is another circuit's": [
    (file) => writeFileSync(file, withChecksum({ ...jsonIn(file), circuit: "search" })),
    /of another circuit/
  ]
}

describe("a newest file that", () => {
  for (const [what, [damage, why]] of Object.entries(accidents)) {
    it.effect(`a newest file that ${what} is passed over, logged once and reported`, () => {
      const logged: Array<unknown> = []
      const logger = Logger.make(({ logLevel, message }) => void logged.push([logLevel, message]))
      return Effect.gen(function*() {
        const directory = freshDirectory()
        const storage = yield* storageIn(directory)
        const it = circuitOf(storage, "payments")
        for (const _ of times(3)) yield* it.report(failures(1))
        const newest = versionsOf(directory, "payments").at(-1)!
        damage(newest)
        for (const _ of times(2)) assert.strictEqual((yield* it.read).lifetime.failure, 2)
        assert.deepStrictEqual(yield* list(storage), ["payments"])
        const [message, ...others] = logged
        assert.deepStrictEqual(message, ["Warn", [messages.fileDamaged.text]])
        assert.deepStrictEqual(others, [])
        const { circuits: [reported] } = yield* reportOn(directory)
        assert.deepStrictEqual(reported!.damaged.map(({ file }) => file), [newest])
        assert.match(reported!.damaged[0]!.why, why)
        assert.strictEqual(reported!.backups, 1)

        yield* it.report(failures(1))
        assert.strictEqual((yield* it.read).lifetime.failure, 3)
        assert.isAbove(
          parseInt(basename(versionsOf(directory, "payments").at(-1)!)),
          parseInt(basename(newest))
        )
        for (const _ of times(3)) yield* it.report(failures(1))
        assert.deepStrictEqual((yield* reportOn(directory)).circuits[0]!.damaged, [])
      }).pipe(Effect.provide(Logger.layer([logger])))
    })
  }

  it.effect("a newest file that is whole and undecodable, or of a newer format, is Invalid, and no backup replaces it", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      const storage = yield* storageIn(directory)
      const it = circuitOf(storage, "payments")
      for (const _ of times(2)) yield* it.report(failures(1))
      rewrite(directory, "payments", () => "not a record")
      assert.strictEqual((yield* errorOf(it.read))[0], "Invalid")
      const file = versionsOf(directory, "payments").at(-1)!
      writeFileSync(file, withChecksum({ ...jsonIn(file), effect_breaker: 2 }))
      assert.match(
        (yield* errorOf(it.read)).join(),
        /^Invalid,.*a newer version of this library wrote the file, in format 2/
      )
      assert.deepStrictEqual(yield* list(storage), ["payments"])
      assert.match((yield* reportOn(directory)).circuits[0]!.damaged[0]!.why, /newer version/)
    }))
})

describe("a circuit", () => {
  it.effect("a circuit without a whole file is Invalid, listed and reported, and stays as it is", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      const storage = yield* storageIn(directory, { cleanUp: true })
      const it = circuitOf(storage, "payments")
      for (const _ of times(3)) yield* it.report(failures(1))
      for (const file of versionsOf(directory, "payments")) truncateSync(file, 100)
      assert.match((yield* errorOf(it.read)).join(), /^Invalid,all files of the circuit are damaged: .*payments$/)
      assert.strictEqual((yield* errorOf(it.operate({ _tag: "Reset" })))[0], "Invalid")
      assert.deepStrictEqual(yield* list(storage), ["payments"])
      yield* TestClock.adjust("1 day")
      const { circuits: [reported] } = yield* reportOn(directory)
      assert.isUndefined(reported!.current)
      assert.lengthOf(reported!.damaged, 3)
    }))

  for (const [code, reason] of [["EACCES", "Denied"], ["EIO", "Unavailable"], ["EROFS", "Unavailable"]] as const) {
    it.effect(`a circuit that cannot be read for ${code} is ${reason}, and never absent or older`, () =>
      Effect.gen(function*() {
        const codes: { current: string | undefined } = { current: undefined }
        for (const method of ["readFileString", "readDirectoryEntries"]) {
          codes.current = undefined
          const storage = yield* storageIn(freshDirectory(), {}, onceFailing(codes, [method]))
          const it = circuitOf(storage, "payments")
          for (const _ of times(2)) yield* it.report(failures(1))
          codes.current = code
          assert.strictEqual((yield* errorOf(it.read))[0], reason)
          assert.strictEqual((yield* errorOf(it.report(failures(1))))[0], reason)
          codes.current = undefined
          assert.strictEqual((yield* it.read).lifetime.failure, 2)
        }
      }))
  }

  it.effect("a circuit in files works beside directories, links and files of others, which stay", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      const storage = yield* storageIn(directory)
      const it = circuitOf(storage, "payments")
      yield* it.report(failures(1))
      const folder = join(directory, "payments")
      const next = parseInt(basename(versionsOf(directory, "payments")[0]!)) + 1
      mkdirSync(join(folder, `${next}.json`))
      symlinkSync("/nowhere", join(folder, `${next + 1}.json`))
      writeFileSync(join(folder, "notes.txt"), "mine")
      writeFileSync(join(directory, "notes.txt"), "mine")
      symlinkSync("/nowhere", join(directory, "search"))
      mkdirSync(join(directory, "Not A Circuit"))
      for (const _ of times(6)) yield* it.report(failures(1))
      assert.strictEqual((yield* it.read).lifetime.failure, 7)
      assert.deepStrictEqual(yield* list(storage), ["payments"])
      const reported = (yield* reportOn(directory)).circuits.find(({ circuit }) => circuit === "payments")!
      assert.deepStrictEqual(reported.strangers.toSorted(), [`${next}.json`, `${next + 1}.json`, "notes.txt"])
      assert.deepStrictEqual(reported.damaged, [])
    }))

  it.effect("a circuit whose folder belongs to something else is Denied with a message", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      const it = circuitOf(yield* storageIn(directory), "payments")
      mkdirSync(join(directory, "payments"))
      writeFileSync(join(directory, "payments", "notes.txt"), "mine")
      assert.match(
        (yield* errorOf(it.report(failures(1)))).join(),
        /^Denied,.*payments holds entries that are not of this library/
      )
      rmSync(join(directory, "payments"), { recursive: true })
      writeFileSync(join(directory, "payments"), "a file")
      assert.strictEqual((yield* errorOf(it.report(failures(1))))[0], "Denied")
      assert.strictEqual((yield* errorOf(it.read))[0], "Denied")
    }))
})

describe("a symbolic link", () => {
  /** Removes what has expired, an hour later. */
  const cleanUp = (directory: string) =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 hour")
      const circuits = new Circuits(yield* Directory.make(directory, removeEmptyDirectory), {
        backups: 3,
        backupsForMillis: 1000
      })
      yield* circuits.cleanUp
    }).pipe(Effect.provide(node))

  /** A circuit of another directory, with its files. */
  const elsewhere = Effect.gen(function*() {
    const directory = freshDirectory()
    const storage = yield* storageIn(directory, { idleTimeToLive: "10 minutes" })
    for (const name of ["payments", "search"]) yield* circuitOf(storage, name).open()
    const files = () => readdirSync(directory, { recursive: true }).map(String).toSorted()
    return { directory, files, version: versionsOf(directory, "payments").at(-1)! }
  })

  it.effect("a version that is a link is Invalid and not followed, listed and reported, and stays (S14)", () =>
    Effect.gen(function*() {
      const [there, directory] = [yield* elsewhere, freshDirectory()]
      const before = there.files()
      const storage = yield* storageIn(directory)
      for (const target of [there.version, "/nowhere"]) {
        mkdirSync(join(directory, "payments"), { recursive: true })
        const link = join(directory, "payments", basename(there.version))
        symlinkSync(target, link)
        const it = circuitOf(storage, "payments")
        assert.match((yield* errorOf(it.read)).join(), /^Invalid,.*\.json is a link .*not followed: move it away/)
        assert.strictEqual((yield* errorOf(it.report(failures(1))))[0], "Invalid")
        assert.strictEqual((yield* errorOf(it.operate({ _tag: "Reset" })))[0], "Invalid")
        assert.deepStrictEqual(yield* list(storage), ["payments"])
        const { circuits: [reported] } = yield* reportOn(directory)
        assert.isUndefined(reported!.current)
        assert.deepStrictEqual(reported!.strangers, [basename(link)])
        yield* cleanUp(directory)
        assert.isTrue(lstatSync(link).isSymbolicLink())
        rmSync(join(directory, "payments"), { recursive: true })
        assert.strictEqual((yield* it.read).generation, 0)
      }
      assert.deepStrictEqual(there.files(), before)
    }))

  it.effect("a version that is a link beside whole files is passed over, and logged once (S14)", () => {
    const logged: Array<unknown> = []
    const logger = Logger.make(({ logLevel, message }) => void logged.push([logLevel, message]))
    return Effect.gen(function*() {
      const [there, directory] = [yield* elsewhere, freshDirectory()]
      const it = circuitOf(yield* storageIn(directory), "payments")
      yield* it.report(failures(3))
      symlinkSync(there.version, join(directory, "payments", "9000000000000000.json"))
      for (const _ of times(2)) {
        const { lifetime, state } = yield* it.read
        assert.deepStrictEqual([state._tag, lifetime.failure], ["Closed", 3])
      }
      assert.deepStrictEqual(logged, [["Warn", [messages.fileDamaged.text]]])
      yield* it.report(failures(1))
      assert.strictEqual((yield* it.read).lifetime.failure, 4)
    }).pipe(Effect.provide(Logger.layer([logger])))
  })

  it.effect("a circuit's folder that is a link is Invalid and not followed (S14)", () =>
    Effect.gen(function*() {
      const [there, directory] = [yield* elsewhere, freshDirectory()]
      const before = there.files()
      const storage = yield* storageIn(directory)
      yield* circuitOf(storage, "other").report(failures(1))
      for (const target of [dirname(there.version), "/nowhere", join(directory, "payments")]) {
        symlinkSync(target, join(directory, "payments"))
        const it = circuitOf(storage, "payments")
        const requests: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
          it.read,
          it.report(failures(1)),
          it.operate({ _tag: "Reset" })
        ]
        for (const request of requests) {
          assert.match(
            (yield* errorOf(request)).join(),
            /^Invalid,.*payments is a symbolic link, which is not followed/
          )
        }
        const reported = yield* reportOn(directory)
        assert.deepStrictEqual(reported.strangers, ["payments"])
        assert.isFalse(reported.circuits.some(({ circuit }) => circuit === "payments"))
        yield* cleanUp(directory)
        assert.isTrue(lstatSync(join(directory, "payments")).isSymbolicLink())
        rmSync(join(directory, "payments"))
      }
      assert.deepStrictEqual(there.files(), before)
      yield* circuitOf(storage, "payments").report(failures(1))
    }))

  it.effect("the folder of temporary files that is a link is not followed, and used again once it is a folder (S14)", () =>
    Effect.gen(function*() {
      const [directory, others] = [freshDirectory(), freshDirectory()]
      yield* TestClock.setTime(START)
      const mine = join(others, `${START - 61_000}-a`)
      writeFileSync(mine, "mine")
      for (const isPrepared of [false, true]) {
        const storage = yield* storageIn(directory)
        const it = circuitOf(storage, "payments")
        const temporary = join(directory, ".tmp")
        if (isPrepared) {
          yield* it.report(failures(1))
          rmSync(temporary, { recursive: true })
        }
        for (const target of [others, "/nowhere"]) {
          symlinkSync(target, temporary)
          yield* cleanUp(directory)
          assert.match((yield* errorOf(it.report(failures(1)))).join(), /^Denied,.*\.tmp is a symbolic link/)
          const { leftovers, strangers } = yield* reportOn(directory)
          assert.deepStrictEqual([leftovers, strangers], [[], [".tmp"]])
          rmSync(temporary)
        }
        assert.deepStrictEqual(readdirSync(others), [basename(mine)])
        yield* it.report(failures(1))
        rmSync(join(directory, "payments"), { recursive: true })
      }
    }))

  it.effect("the directory of circuits may itself be a link (S14)", () =>
    Effect.gen(function*() {
      const link = join(freshDirectory(), "circuits")
      symlinkSync(freshDirectory(), link)
      const it = circuitOf(yield* storageIn(link), "payments")
      yield* it.report(failures(1))
      assert.strictEqual((yield* it.read).lifetime.failure, 1)
      assert.lengthOf((yield* reportOn(link)).circuits, 1)
    }))

  it.effect("a file system that does not list the types of entries has the same circuits (S14)", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      const untyped = Layer.effect(
        FileSystem.FileSystem,
        Effect.map(FileSystem.FileSystem, (fs) => ({
          ...fs,
          readDirectoryEntries: (path: string) =>
            Effect.map(
              fs.readDirectoryEntries(path),
              (entries) => entries.map(({ name }) => ({ name, type: "Unknown" as const }))
            )
        }))
      ).pipe(Layer.provideMerge(node))
      const storage = yield* storageIn(directory, {}, untyped)
      const it = circuitOf(storage, "payments")
      for (const _ of times(2)) yield* it.report(failures(1))
      assert.strictEqual((yield* it.read).lifetime.failure, 2)
      assert.deepStrictEqual(yield* list(storage), ["payments"])
    }))
})

describe("a write", () => {
  for (const code of ["EPERM", "ENOTSUP"]) {
    it.effect(`a write where links are refused with ${code} is Denied with a message`, () =>
      Effect.gen(function*() {
        const codes = { current: code }
        const it = circuitOf(
          yield* storageIn(freshDirectory(), {}, onceFailing(codes, ["link"])),
          "payments"
        )
        const links = Layer.merge(
          before((method, path) =>
            method === "link" ? Effect.fail(failure(method, path, code, "PermissionDenied")) : Effect.void
          ),
          NodePath.layer
        )
        const fresh = circuitOf(yield* storageIn(freshDirectory(), {}, links), "payments")
        assert.match((yield* errorOf(fresh.report(failures(1)))).join(), /^Denied,.*this file system has no hard links/)
        yield* it.report(failures(1))
        assert.match((yield* errorOf(it.report(failures(1)))).join(), /^Denied,.*this file system has no hard links/)
      }))
  }

  it.effect("a write on a full disk fails at any of its steps, and leaves nothing behind", () =>
    Effect.gen(function*() {
      for (const exists of [true, false]) {
        for (let at = 0;; at++) {
          const disk = new Disk()
          const it = circuitOf(yield* storageOn(disk), "payments")
          yield* circuitOf(yield* storageOn(disk), "search").report(failures(1))
          if (exists) yield* it.report(failures(1))
          let steps = 0
          let failed: string | undefined
          disk.before = ({ method, path }) => {
            const writes = ["open", "write", "sync", "link", "makeDirectory", "rename"].includes(method)
            if (!writes || steps++ !== at) return Effect.void
            failed = method
            return Effect.fail(failure(method, path, "ENOSPC"))
          }
          const result = yield* Effect.result(it.report(failures(1)))
          disk.before = () => Effect.void
          if (failed === undefined) break
          const left = Object.keys(disk.files()).filter((path) => path.includes("/.tmp/"))
          assert.deepStrictEqual(left, [], `${failed}, step ${at}`)
          if (result._tag === "Failure") assert.include(JSON.stringify(result.failure), "Unavailable")
          yield* it.report(failures(1))
          const { lifetime } = yield* it.read
          assert.include([(exists ? 1 : 0) + 1, (exists ? 1 : 0) + 2], lifetime.failure)
        }
      }
    }))
})

describe("a writer who always loses", () => {
  it("a writer that always loses to others gives up with a message", () =>
    Effect.gen(function*() {
      const disk = new Disk()
      const it = circuitOf(yield* storageOn(disk), "payments")
      yield* it.report(failures(1))
      disk.before = ({ method, path }) =>
        method === "link" ? Effect.fail(failure(method, path, "EEXIST", "AlreadyExists")) : Effect.void
      assert.match((yield* errorOf(it.report(failures(1)))).join(), /^Unavailable,lost to other writers 500 times/)
      assert.deepStrictEqual(Object.keys(disk.files()).filter((path) => path.includes("/.tmp/")), [])
    }).pipe(Effect.scoped, clockAt(START).provide, Effect.runPromise))
})

describe("what has expired", () => {
  const isIn = (directory: string, circuit: string) => existsSync(join(directory, folderOf(circuit)))

  it.effect("an expired circuit is removed with its folder, and its generations go on", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      const storage = yield* storageIn(directory, { cleanUp: true, idleTimeToLive: "10 minutes" })
      const it = circuitOf(storage, "payments")
      for (const _ of times(3)) yield* it.report(failures(1))
      yield* circuitOf(storage, "kept").operate({ _tag: "Override", ...FORCED })
      const last = parseInt(basename(versionsOf(directory, "payments").at(-1)!))
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* list(storage), ["kept"])
      yield* TestClock.adjust("10 minutes")
      yield* Effect.promise(() => until("the expired circuit is removed", () => !isIn(directory, "payments")))
      yield* it.report(failures(1))
      assert.strictEqual((yield* it.read).lifetime.failure, 1)
      assert.isAbove(parseInt(basename(versionsOf(directory, "payments")[0]!)), last)
      assert.isTrue(isIn(directory, "kept"))
    }))

  it.effect("an expired circuit leaves an empty folder where it cannot be removed, which is used again", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      const storage = yield* storageIn(directory, {
        cleanUp: true,
        idleTimeToLive: "10 minutes",
        removeEmptyDirectory: undefined
      })
      const it = circuitOf(storage, "payments")
      yield* it.report(failures(1))
      yield* TestClock.adjust("20 minutes")
      yield* Effect.promise(() =>
        until("the expired versions are removed", () => versionsOf(directory, "payments").length === 0)
      )
      assert.deepStrictEqual(yield* list(storage), [])
      yield* it.report(failures(1))
      assert.strictEqual((yield* it.read).lifetime.failure, 1)
    }))

  it.effect("an expired circuit with files of others in its folder keeps the folder, and is gone", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      const storage = yield* storageIn(directory, { cleanUp: true, idleTimeToLive: "10 minutes" })
      yield* circuitOf(storage, "other").report(failures(1))
      const it = circuitOf(storage, "payments")
      yield* it.report(failures(1))
      writeFileSync(join(directory, "payments", ".DS_Store"), "")
      yield* TestClock.adjust("20 minutes")
      yield* Effect.promise(() => until("the other expired circuit is removed", () => !isIn(directory, "other")))
      assert.lengthOf(versionsOf(directory, "payments"), 1)
      assert.deepStrictEqual(yield* list(storage), [])
      yield* it.report(failures(1))
      assert.strictEqual((yield* it.read).lifetime.failure, 1)
    }))

  it.effect("the clean-up removes what killed processes left, and not what is being written", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      yield* TestClock.setTime(START)
      const temporary = join(directory, ".tmp")
      mkdirSync(join(temporary, `${START - 61_000}-a.folder`), { recursive: true })
      writeFileSync(join(temporary, `${START - 61_000}-a.folder`, "1.json"), "")
      mkdirSync(join(temporary, `${START - 99_000}-b.folder.aside`))
      for (const name of [`${START - 61_000}-a`, `${START - 59_000}-c`, "mine"]) {
        writeFileSync(join(temporary, name), "")
      }
      const { leftovers } = yield* reportOn(directory)
      assert.deepStrictEqual(
        leftovers.map(({ age, file }) => [basename(file), Duration.toMillis(age)]),
        [
          [`${START - 99_000}-b.folder.aside`, 99_000],
          [`${START - 61_000}-a`, 61_000],
          [`${START - 61_000}-a.folder`, 61_000],
          [`${START - 59_000}-c`, 59_000]
        ]
      )
      yield* storageIn(directory, { cleanUp: true })
      yield* Effect.promise(() => until("abandoned files are removed", () => readdirSync(temporary).length === 2))
      assert.deepStrictEqual(readdirSync(temporary).toSorted(), [`${START - 59_000}-c`, "mine"])
    }))
})

describe("the report", () => {
  it.effect("the report about files has sizes, ages and backups", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      yield* TestClock.setTime(START)
      const storage = yield* storageIn(directory)
      const it = circuitOf(storage, "payments")
      for (const _ of times(6)) yield* it.report(failures(1))
      yield* circuitOf(storage, "n".repeat(300)).report(failures(1))
      yield* TestClock.adjust("90 seconds")
      const { bytes, circuits, directory: where, files, leftovers } = yield* reportOn(directory)
      assert.deepStrictEqual([where, files, leftovers], [directory, 5, []])
      assert.deepStrictEqual(circuits.map(({ backups, circuit }) => [circuit, backups]), [
        ["n".repeat(300), 0],
        ["payments", 3]
      ])
      const sizes = circuits.map(({ folder }) =>
        readdirSync(folder).reduce((sum, file) => sum + statSync(join(folder, file)).size, 0)
      )
      assert.deepStrictEqual(circuits.map(({ bytes }) => bytes), sizes)
      assert.strictEqual(bytes, sizes[0]! + sizes[1]!)
      const newest = versionsOf(directory, "payments").at(-1)!
      assert.deepStrictEqual(circuits[1]!.current, {
        file: newest,
        bytes: statSync(newest).size,
        age: Duration.seconds(90)
      })
      assert.strictEqual(dirname(newest), circuits[1]!.folder)
    }))

  it.effect("the report about files fails where the directory cannot be read", () =>
    Effect.gen(function*() {
      const file = join(freshDirectory(), "file")
      writeFileSync(file, "")
      assert.strictEqual((yield* errorOf(reportOn(file)))[0], "Denied")
    }))
})

describe("a storage that is remade", () => {
  it.effect("a storage of files that is built again continues each circuit, in any state", () =>
    Effect.gen(function*() {
      const disk = new Disk()
      const now = yield* Clock.currentTimeMillis
      const again = Effect.map(storageOn(disk), (storage) => circuitOf(storage, "payments"))
      yield* (yield* again).open()
      assert.strictEqual((yield* (yield* again).read).state._tag, "Open")
      yield* (yield* again).operate({ _tag: "HalfOpen" })
      assert.isTrue((yield* (yield* again).ask("a")).granted)
      assert.isTrue((yield* (yield* again).settle("a", success())).granted)
      const { lifetime, state } = yield* (yield* again).read
      assert.deepStrictEqual([state._tag, lifetime.opened], ["Closed", 1])
      assert.isAtLeast(yield* Clock.currentTimeMillis, now)
      assert.isTrue(Object.keys(disk.files()).some((path) => path.startsWith(`${DIRECTORY}/payments/`)))
    }))
})
