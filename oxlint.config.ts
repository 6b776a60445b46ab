import { defineConfig } from "oxlint"

// An override replaces the same rule of an earlier one completely, so each folder lists all of its restrictions.
const inward = "Dependencies point inward: see \"Where things are\" in CONTRIBUTING.md."

const everywhere = [
  { regex: "^effect(-breaker(/.*)?)?$", message: "Name the module: a barrel reaches what this file must not." },
  {
    regex: "^(\\.\\./)+(examples|test|bench|scripts)(/|$)",
    message: "The library does not know what is built around it."
  },
  { regex: "/index\\.ts$", message: "The entry points are for users." },
  { regex: "^\\.+/(\\.\\./)*testing(\\.ts$|/)", message: "Nothing knows the test kit." }
]

const noDriver = {
  regex: "^([^.e]|e[^f])",
  message: "A driver or a runtime's own module, where every user would load it."
}

// Fails where the import is written. test/packaging/entry.test.ts also follows the graph and reads the tags.
const noUnstable = {
  regex: "^effect/(" + [
    "[a-z]",
    "(Arbitrary|ByteSize|Bytes|ChannelSchema|ErrorReporter|ExecutionPlan|FileSystem|Glob|Graph|HashRing|LayerMap)$",
    "(LayerRef|Newtype|PartitionedSemaphore|Path|PlatformError|SemVer|SemVerRange|Stdio|Terminal|TextDiff|Version)$",
    "TxChunk$"
  ].join("|") + ")",
  message: "The root entry keeps to Effect's stable modules."
}

const notInstalled = {
  regex: "^(@|ioredis|mysql2)",
  message: "Loaded by src/internal/drivers, because a program that uses another storage may not have it.",
  allowTypeImports: true
}

const storagesButTheService = (up: string) => ({
  group: [`${up}Storage/*`, `!${up}Storage/Storage.ts`],
  message: inward
})

const noOtherStorage = { group: ["./*", "!./Storage.ts", "!./Document.ts"], message: "No storage knows another." }

const onlyUp = (...allowed: ReadonlyArray<string>) => ({
  group: ["../**", ...allowed.map((path) => `!../${path}`)],
  message: inward
})

/** Shared by storages: checks of options, of config and of stored JSON, the monotonic clock, ids, and errors. */
const shared = [
  "core/*",
  "internal/Check.ts",
  "internal/Clock.ts",
  "internal/ConfigErrors.ts",
  "internal/Ids.ts",
  "internal/StorageErrors.ts",
  "internal/StoredJson.ts"
] as const

/** Shared by the modules that send requests to storages. */
const requests = [
  ...shared,
  "internal/Bells.ts",
  "internal/Bounds.ts",
  "internal/Deadlines.ts",
  "internal/Fork.ts",
  "internal/Log.ts",
  "internal/Messages.ts",
  "internal/MetricTable.ts",
  "internal/Request.ts"
] as const

/** Shared by layers: options from config, and drivers, which are loaded where they are used. */
const layers = ["Storage/*", "internal/ConfigErrors.ts", "internal/LayerConfig.ts", "internal/drivers/*"] as const

const upFromStorages = onlyUp(...shared)

/** The rules of the modules inside a breaker. `up` is their path to `src`. */
const insideOf = (up: string) => [
  { regex: "^(\\.\\./)+layers/", message: inward },
  { regex: "^(\\.\\./)+Storage\\.ts$", message: inward },
  storagesButTheService(up),
  noDriver,
  noUnstable
]

interface Pattern {
  readonly regex?: string
  readonly group?: ReadonlyArray<string>
  readonly message: string
  readonly allowTypeImports?: boolean
}

const only = (...patterns: ReadonlyArray<Pattern>) => ({
  "no-restricted-imports": ["error", { patterns: [...patterns, ...everywhere] }] as ["error", object]
})

export default defineConfig({
  plugins: ["eslint", "typescript", "import", "unicorn", "oxc", "promise", "vitest"],
  categories: { correctness: "error" },
  options: { typeAware: true },
  rules: {
    // Imports of types count, too, because a reader follows them like those of values.
    "import/no-cycle": ["error", { ignoreTypes: false }],
    "eqeqeq": "error",
    "no-var": "error",
    "prefer-const": "error",
    "typescript/consistent-type-imports": "error",
    "no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
    "typescript/no-misused-spread": "off",
    "typescript/restrict-template-expressions": "off",
    "typescript/prefer-as-const": "off",
    "unicorn/no-new-array": "off",
    "vitest/expect-expect": "off"
  },
  overrides: [
    {
      files: ["src/**/*.ts"],
      rules: {
        "no-console": "error",
        "max-lines-per-function": ["error", { max: 70, skipBlankLines: true, skipComments: true }]
      }
    },
    { files: ["test/types/**/*.ts"], rules: { "no-unused-vars": "off" } },
    { files: ["bench/**/*.ts"], rules: { "typescript/await-thenable": "off" } },
    {
      files: ["src/*.ts"],
      rules: only(
        { regex: "^\\./layers/", message: inward },
        storagesButTheService("./"),
        noDriver,
        noUnstable
      )
    },
    {
      files: ["src/index.ts", "src/Storage.ts"],
      rules: only(
        { group: ["./layers/*", "!./layers/MemoryStorageLive.ts", "!./layers/NullStorageLive.ts"], message: inward },
        {
          group: ["./Storage/*", "!./Storage/Storage.ts", "!./Storage/Document.ts", "!./Storage/Fallback.ts"],
          message: inward
        },
        noDriver,
        noUnstable
      )
    },
    {
      files: ["src/core/**/*.ts"],
      rules: only(
        { regex: "^\\.\\./", message: inward },
        { regex: "^effect/", message: "The core is pure: no Effect at run time.", allowTypeImports: true },
        noDriver,
        noUnstable
      )
    },
    {
      files: ["src/internal/*.ts"],
      rules: only(...insideOf("../"), {
        group: ["./fleet/*", "!./fleet/Fleet.ts"],
        message: "The circuit knows its fleet by the interfaces of Fleet.ts alone."
      })
    },
    {
      // An answer is made by Effect's HTTP modules, which are loaded when the first one is.
      files: ["src/internal/Problem.ts"],
      rules: only(noDriver, { regex: "^(\\.\\./)+", message: inward })
    },
    {
      files: ["src/internal/drivers/*.ts"],
      rules: only({ group: ["../**", "!../ConfigErrors.ts"], message: inward }, noUnstable)
    },
    {
      files: ["src/internal/fleet/*.ts"],
      rules: only(...insideOf("../../"), {
        regex: "^\\.\\./(Call|Circuit|Keys|NameRegistry|Rejection|Shared|Timeout)\\.ts$",
        message: "The fleet knows a circuit by the interface Local of Fleet.ts alone."
      })
    },
    {
      files: ["src/Storage/**/*.ts"],
      rules: only(
        upFromStorages,
        noOtherStorage
      )
    },
    {
      files: ["src/Storage/Redis.ts"],
      rules: only(onlyUp(...shared, "redis/*"), noOtherStorage)
    },
    {
      files: ["src/Storage/Sql{,History,Schema}.ts"],
      rules: only(onlyUp(...requests, "sql/*"), noOtherStorage)
    },
    {
      files: ["src/Storage/Health.ts"],
      rules: only(
        onlyUp(...requests),
        noOtherStorage,
        noDriver,
        noUnstable
      )
    },
    {
      files: ["src/Storage/Export.ts"],
      rules: only(
        onlyUp(
          ...shared,
          "internal/CircuitName.ts",
          "internal/OperatorInput.ts",
          "internal/ResolvedPolicy.ts",
          "Policy.ts"
        ),
        noOtherStorage,
        noDriver,
        noUnstable
      )
    },
    {
      files: ["src/Storage/File.ts"],
      rules: only(
        onlyUp(...shared, "internal/Coalesce.ts", "file/*"),
        noOtherStorage
      )
    },
    {
      files: ["src/Storage/KeyValueStore.ts"],
      rules: only(onlyUp(...shared, "internal/Coalesce.ts"), noOtherStorage, noDriver)
    },
    {
      files: ["src/file/**/*.ts"],
      rules: only(onlyUp(...shared, "internal/Messages.ts", "Storage/Storage.ts", "Storage/Document.ts"))
    },
    {
      files: ["src/sql/**/*.ts"],
      rules: only(
        onlyUp(
          ...shared,
          "internal/Fork.ts",
          "internal/Messages.ts",
          "internal/Request.ts",
          "Storage/Storage.ts",
          "Storage/Document.ts"
        )
      )
    },
    {
      files: ["src/Storage/{Fallback,Mirror,Regions,Migration}.ts"],
      rules: only(
        onlyUp(...requests, "combine/*", "combine/chain/*", "combine/migration/*"),
        noOtherStorage,
        noDriver,
        noUnstable
      )
    },
    {
      files: ["src/combine/*.ts"],
      rules: only(onlyUp(...requests, "Storage/Storage.ts"), noDriver, noUnstable)
    },
    {
      files: ["src/combine/{chain,migration}/*.ts"],
      rules: only(
        {
          group: ["../../**", ...[...requests, "Storage/Storage.ts"].map((path) => `!../../${path}`)],
          message: inward
        },
        noDriver,
        noUnstable
      )
    },
    {
      files: ["src/redis/**/*.ts"],
      rules: only(notInstalled, onlyUp(...shared, "Storage/Storage.ts"))
    },
    {
      files: ["src/Storage/{Storage,Document,Memory,Null}.ts"],
      rules: only(
        upFromStorages,
        noOtherStorage,
        noDriver,
        noUnstable
      )
    },
    {
      files: ["src/Storage/Conformance.ts"],
      rules: only(
        onlyUp("core/*", "internal/Clock.ts", "internal/Ids.ts", "conformance/*"),
        noOtherStorage,
        noDriver,
        noUnstable
      )
    },
    {
      files: ["src/conformance/**/*.ts"],
      rules: only(
        onlyUp("core/*", "internal/Clock.ts", "internal/Ids.ts", "Storage/Storage.ts"),
        noDriver,
        noUnstable
      )
    },
    {
      files: ["src/{http,rpc,interop,observability,dashboard}/**/*.ts"],
      rules: only({ regex: "^(\\.\\./)+(core|layers|redis|sql|file|combine|conformance)/", message: inward }, noDriver)
    },
    {
      files: ["src/config/**/*.ts"],
      rules: only(
        { regex: "^(\\.\\./)+(core|redis|sql|file|combine|conformance|http|rpc|interop)/", message: inward },
        { group: ["../layers/*", "../../layers/*", "!../layers/StorageLive.ts"], message: inward },
        {
          regex: "^(@|ioredis|mysql2|yaml)",
          message: "Loaded by src/internal/drivers, because a program that has no such file may not have it.",
          allowTypeImports: true
        }
      )
    },
    {
      // The store of Effect's breakers makes reports, as the members of a fleet do.
      files: ["src/interop/internal/*.ts"],
      rules: only({ regex: "^(\\.\\./)+(layers|redis|sql|file|combine|conformance)/", message: inward }, noDriver)
    },
    {
      files: ["src/cli/**/*.ts"],
      rules: only(notInstalled, { regex: "^(\\.\\./)+(layers|redis|sql|file|combine|conformance)/", message: inward })
    },
    {
      // Loads the layers of the storage that is named, and of no other: see test/cli/usage.test.ts.
      files: ["src/cli/internal/{StorageUrl,CleanUp}.ts"],
      rules: only(notInstalled, { regex: "^(\\.\\./)+(redis|file|combine|conformance)/", message: inward })
    },
    { files: ["src/testing.ts"], rules: { "no-restricted-imports": "off" } },
    {
      // The simulator makes its servers from documents, and its chains from `Fallback`.
      files: ["src/testing/**/*.ts"],
      rules: only(
        {
          regex:
            "^(\\.\\./)+(cli|combine|config|conformance|core|dashboard|file|http|interop|layers|observability|redis|rpc|sql)/",
          message: inward
        },
        {
          group: ["**/Storage/*", ...["Storage", "Document", "Fallback"].map((name) => `!**/Storage/${name}.ts`)],
          message: inward
        },
        noDriver
      )
    },
    {
      files: ["src/layers/**/*.ts"],
      rules: only(notInstalled, onlyUp(...layers))
    },
    {
      files: ["src/layers/{Postgres,Mysql,Sqlite}{,StorageLive}.ts", "src/layers/StorageLive.ts"],
      rules: only(notInstalled, onlyUp(...layers, "sql/DatabaseUrl.ts", "sql/DriverErrors.ts"))
    },
    {
      files: ["src/layers/IoRedis.ts"],
      rules: only(notInstalled, onlyUp(...layers, "redis/client/*"))
    },
    {
      files: ["src/layers/{Memory,Null}StorageLive.ts"],
      rules: only(onlyUp("Storage/*"), noDriver, noUnstable)
    }
  ],
  ignorePatterns: ["dist", "coverage", "src/dashboard/internal/page.ts"]
})
