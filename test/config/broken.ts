/** Configurations that cannot be used, and the whole message of each. */
export interface Broken {
  readonly what: string
  /** The file's ending and what is in it. */
  readonly file: readonly [ending: string, content: string | Uint8Array]
  readonly message: string
}

/** A file whose service `payments` has these lines from line 4 on. */
const payments = (...lines: ReadonlyArray<string>): readonly ["yaml", string] => [
  "yaml",
  ["circuit_breaker:", "  services:", "    payments:", ...lines.map((line) => `      ${line}`)].join("\n")
]

const FIELDS =
  "failure_threshold, error_rate_threshold, window, minimum_calls, recovery_timeout, timeout_seconds, trip, open_for, " +
  "max_open_for, half_open, throttle, timeout, max_concurrent, consistency, evidence, on_storage_error, enforcement, approach_at, sync_every, " +
  "reports, capacity, idle_time_to_live, overflow, never_open_more_than"

const SECONDS = "a number of seconds, or a text with a unit such as \"250 millis\" or \"2 minutes\""

const field = (name: string, line = 4) => `breakers.yaml:${line}: circuit_breaker.services.payments.${name} must be`

const bytes = (...parts: ReadonlyArray<string | ReadonlyArray<number>>): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => typeof part === "string" ? [...new TextEncoder().encode(part)] : part))

const MAX = 256 * 1024

const explosion = (levels: number) =>
  [
    "a: &a0 [x, x, x, x, x, x, x, x, x, x]",
    ...Array.from({ length: levels }, (_, i) => `b${i}: &a${i + 1} [${Array(10).fill(`*a${i}`).join(", ")}]`)
  ].join("\n")

export const broken: ReadonlyArray<Broken> = [
  // types
  {
    what: "a text for a number",
    file: payments("failure_threshold: five"),
    message: `${field("failure_threshold")} a whole number of at least 1, got "five"`
  },
  {
    what: "a number in quotes",
    file: payments("failure_threshold: \"5\""),
    message: `${field("failure_threshold")} a whole number of at least 1, got "5"`
  },
  {
    what: "a boolean for a duration",
    file: payments("open_for: true"),
    message: `${field("open_for")} ${SECONDS}, got true`
  },
  {
    what: "a unit that is none",
    file: payments("timeout: 2 fortnights"),
    message: `${field("timeout")} ${SECONDS}, got "2 fortnights"`
  },
  {
    what: "no value",
    file: payments("timeout:"),
    message: `${field("timeout")} ${SECONDS}, got null`
  },
  {
    what: "a list for a duration",
    file: payments("timeout: [1, 2]"),
    message: `${field("timeout")} ${SECONDS}, got (an array)`
  },
  {
    what: "an object for a number",
    file: payments("max_concurrent: { a: 1 }"),
    message: `${field("max_concurrent")} a whole number of at least 1, got (an object)`
  },
  {
    what: "a number for an object",
    file: payments("half_open: 5"),
    message: `${field("half_open")} an object with the keys probes, successes, sample, lease, timeout, ramp, got 5`
  },
  {
    what: "a list of services",
    file: ["yaml", "circuit_breaker:\n  services:\n    - payments"],
    message: "breakers.yaml:2: circuit_breaker.services must be an object with a key for each service, got (an array)"
  },
  {
    what: "a service that is a text",
    file: ["yaml", "circuit_breaker:\n  services:\n    payments: fast"],
    message: `breakers.yaml:3: circuit_breaker.services.payments must be an object with the keys ${FIELDS}, got "fast"`
  },
  {
    what: "a document that is a list",
    file: ["yaml", "- circuit_breaker"],
    message: "breakers.yaml:1: must be an object with the keys circuit_breaker, redis, got (an array)"
  },
  {
    what: "a document that is a number",
    file: ["json", "5"],
    message: "breakers.json:1: must be an object with the keys circuit_breaker, redis, got 5"
  },
  {
    what: "a date in TOML",
    file: ["toml", "[circuit_breaker.services.payments]\ntimeout = 1979-05-27T07:32:00Z"],
    message: `breakers.toml:2: circuit_breaker.services.payments.timeout must be ${SECONDS}, got (a date)`
  },
  {
    what: "a switch that is neither",
    file: ["yaml", "circuit_breaker:\n  enabled: maybe"],
    message:
      "breakers.yaml:2: circuit_breaker.enabled must be one of true, yes, on, y, 1, false, no, off, n, 0, got \"maybe\""
  },
  {
    what: "a storage that is none",
    file: ["yaml", "circuit_breaker:\n  persistence: mongo"],
    message:
      "breakers.yaml:2: circuit_breaker.persistence must be one of memory, file, sqlite, redis, database, postgres, " +
      "mysql, got \"mongo\""
  },

  // ranges
  {
    what: "a threshold of zero",
    file: payments("failure_threshold: 0"),
    message: `${field("failure_threshold")} a whole number at least 1, got 0`
  },
  {
    what: "a threshold with a fraction",
    file: payments("failure_threshold: 2.5"),
    message: `${field("failure_threshold")} a whole number at least 1, got 2.5`
  },
  {
    what: "percent for a rate",
    file: payments("error_rate_threshold: 50"),
    message: `${field("error_rate_threshold")} a rate in [0, 1], got 50`
  },
  {
    what: "a negative duration",
    file: payments("open_for: -5"),
    message: `${field("open_for")} ${SECONDS}, got -5`
  },
  {
    what: "a negative duration in words",
    file: payments("open_for: -5 seconds"),
    message: `${field("open_for")} ${SECONDS}, got "-5 seconds"`
  },
  {
    what: "an open time of zero",
    file: payments("open_for: 0"),
    message: `${field("open_for")} a finite duration from 1 ms to 31536000000 ms, got 0`
  },
  {
    what: "milliseconds taken for seconds",
    file: payments("open_for: 60000000"),
    message: `${field("open_for")} a finite duration from 1 ms to 31536000000 ms, got 60000000`
  },
  {
    what: "a duration without end",
    file: payments("timeout: .inf"),
    message: `${field("timeout")} ${SECONDS}, got Infinity`
  },
  {
    what: "no number",
    file: payments("max_concurrent: .nan"),
    message: `${field("max_concurrent")} a whole number of at least 1, got NaN`
  },
  {
    what: "a number that is too large",
    file: payments("max_concurrent: 1e300"),
    message: `${field("max_concurrent")} a whole number from 1 to 1000000, got 1e+300`
  },
  {
    what: "a longest open time below the shortest",
    file: payments("open_for: 60", "max_open_for: 30"),
    message: `${field("max_open_for", 5)} a finite duration from 60000 ms to 31536000000 ms, got 30`
  },
  {
    what: "a pool without connections",
    file: ["yaml", "redis:\n  pool_size: 0"],
    message: "breakers.yaml:2: redis.pool_size must be a whole number from 1 to 1000, got (not shown)"
  },

  // words and keys
  {
    what: "a misspelt key",
    file: payments("failure_treshold: 5"),
    message: `${
      field("failure_treshold")
    } left out, because there is no such key (did you mean failure_threshold?), got 5`
  },
  {
    what: "a key of the library's own names",
    file: payments("maxOpenFor: 5"),
    message: `${field("maxOpenFor")} left out, because there is no such key (did you mean max_open_for?), got 5`
  },
  {
    what: "a key that is near to none",
    file: payments("colour: red"),
    message: `${field("colour")} left out, because the only keys here are ${FIELDS}, got "red"`
  },
  {
    what: "a misspelt key in half_open",
    file: payments("half_open:", "  probs: 3"),
    message: `${field("half_open.probs", 5)} left out, because there is no such key (did you mean probes?), got 3`
  },
  {
    what: "a misspelt section",
    file: ["yaml", "circuit_breakers: {}"],
    message: "breakers.yaml:1: circuit_breakers must be left out, because there is no such key (did you mean " +
      "circuit_breaker?), got (an object)"
  },
  {
    what: "a misspelt word",
    file: payments("enforcement: metrics_only"),
    message: `${field("enforcement")} one of enforce, metricsOnly (did you mean metricsOnly?), got "metrics_only"`
  },
  {
    what: "two names for one field",
    file: payments("recovery_timeout: 5", "open_for: 6"),
    message: `${field("open_for", 5)} left out, because recovery_timeout is another name of it and is given, too, got 6`
  },
  {
    what: "a whole trip policy beside a part of one",
    file: payments("trip: { _tag: ConsecutiveFailures, failures: 3 }", "failure_threshold: 5"),
    message: `${field("failure_threshold", 5)} left out, because trip is the whole trip policy, got 5`
  },
  {
    what: "a window without a rate",
    file: payments("failure_threshold: 5", "window: 30"),
    message: `${field("window", 5)} left out, because it needs error_rate_threshold beside it, got 30`
  },
  {
    what: "a keyed breaker's field in a service with one circuit",
    file: payments("capacity: 10"),
    message: `${field("capacity")} left out, because "payments" is not a keyed breaker, got 10`
  },
  {
    what: "__proto__",
    file: ["json", `{"circuit_breaker": {\n"services": {\n"payments": {"__proto__": {"timeout": 1}}}}}`],
    message:
      `breakers.json:3: circuit_breaker.services.payments.__proto__ must be left out, because the only keys here are ${FIELDS}, ` +
      "got (an object)"
  },
  {
    what: "constructor",
    file: ["yaml", "constructor: { prototype: { a: 1 } }"],
    message:
      "breakers.yaml:1: constructor must be left out, because the only keys here are circuit_breaker, redis, got (an object)"
  },
  {
    what: "a reserved name",
    file: ["yaml", "circuit_breaker:\n  services:\n    __effect_breaker/x: { open_for: 5 }"],
    message:
      "breakers.yaml:3: circuit_breaker.services.\"__effect_breaker/x\" must be under a name that does not begin with " +
      "__effect_breaker/, which is reserved, got (an object)"
  },

  // trip policies
  {
    what: "a trip policy that is none",
    file: payments("trip: { _tag: Sometimes }"),
    message: `${
      field("trip._tag")
    } one of ConsecutiveFailures, Failures, FailureRate, SlowCallRate, Any, All, got "Sometimes"`
  },
  {
    what: "a trip policy deep inside",
    file: payments(
      "trip:",
      "  _tag: Any",
      "  policies:",
      "    - { _tag: ConsecutiveFailures, failures: 3 }",
      "    - _tag: Failures",
      "      count: 0",
      "      within: 60"
    ),
    message: `${field("trip.policies.1.count", 9)} a whole number at least 1, got 0`
  },
  {
    what: "a trip policy in itself",
    file: payments("trip: &trip", "  _tag: Any", "  policies: [*trip]"),
    message:
      "breakers.yaml:6: circuit_breaker.services.payments.trip.policies.0 must be YAML whose aliases do not lead back to " +
      "themselves"
  },
  {
    what: "trip policies that are too deep",
    file: [
      "json",
      `{"circuit_breaker":{"services":{"payments":\n{"trip":${"{\"_tag\":\"Any\",\"policies\":[".repeat(20)}${
        "]}".repeat(20)
      }}}}}`
    ],
    message:
      `breakers.json:2: circuit_breaker.services.payments.trip${
        ".policies.0".repeat(8)
      }.policies must be nested no deeper ` +
      "than 16 levels"
  },

  // secrets
  {
    what: "a URL of another kind",
    file: ["yaml", "redis:\n  url: http://user:hunter2@redis"],
    message: "breakers.yaml:2: redis.url must be a URL that begins with redis:// or rediss://, got (not shown)"
  },
  {
    what: "a password where none is read",
    file: ["yaml", "redis:\n  pasword: hunter2"],
    message:
      "breakers.yaml:2: redis.pasword must be left out, because the only keys here are url, pool_size, got (not shown)"
  },
  {
    what: "a URL with a password in another place",
    file: payments("colour: postgres://user:hunter2@db"),
    message: `${field("colour")} left out, because the only keys here are ${FIELDS}, got (not shown)`
  },
  {
    what: "a secret in JSON that is none",
    file: ["json", "{\"redis\": {\n\"url\": redis://user:hunter2@host}}"],
    message: "breakers.json:2: must be valid JSON"
  },

  // formats
  {
    what: "an indentation that fits to nothing",
    file: ["yaml", "circuit_breaker:\n    services:\n  payments: 1"],
    message: "breakers.yaml:3: must be YAML with an indentation that fits to the lines before"
  },
  {
    what: "a tab",
    file: ["yaml", "circuit_breaker:\n\tservices: {}"],
    message: "breakers.yaml:2: must be indented by spaces, not by tabs"
  },
  {
    what: "a bracket that is not closed",
    file: ["yaml", "circuit_breaker: {"],
    message: "breakers.yaml:1: must be YAML with an indentation that fits to the lines before"
  },
  {
    what: "two documents",
    file: ["yaml", "circuit_breaker: {}\n---\nredis: {}"],
    message: "breakers.yaml:2: must be one YAML document"
  },
  {
    what: "a key twice in YAML",
    file: payments("timeout: 1", "timeout: 2"),
    message: `${field("timeout", 5)} a mapping whose keys differ: this one is there twice`
  },
  {
    what: "a key twice in JSON",
    file: ["json", "{\"circuit_breaker\": {\n\"enabled\": true,\n\"enabled\": false}}"],
    message: "breakers.json:3: circuit_breaker.enabled must be an object whose keys differ: this one is there twice"
  },
  {
    what: "a key twice in TOML",
    file: ["toml", "[circuit_breaker]\nenabled = true\nenabled = false"],
    message: "breakers.toml:3: must be TOML whose keys and tables differ: this one is there twice"
  },
  {
    what: "a key that is a list",
    file: ["yaml", "? [a, b]\n: 1"],
    message: "breakers.yaml:1: must be a mapping whose keys are texts"
  },
  {
    what: "a tag that makes an object",
    file: ["yaml", "circuit_breaker: !!js/function 'process.exit()'"],
    message: "breakers.yaml:1: must be YAML without tags of its own"
  },
  {
    what: "an alias without an anchor",
    file: ["yaml", "circuit_breaker: *nobody"],
    message: "breakers.yaml:1: circuit_breaker must be YAML whose aliases have an anchor before them"
  },
  {
    what: "anchors that explode",
    file: ["yaml", explosion(9)],
    message: "breakers.yaml:2: b3.0.6.9.2 must be YAML whose aliases are followed at most 2000 times"
  },
  {
    what: "a cycle of anchors",
    file: ["yaml", "circuit_breaker: &a\n  services: *a"],
    message: "breakers.yaml:2: circuit_breaker.services must be YAML whose aliases do not lead back to themselves"
  },
  {
    what: "a merge of no mapping",
    file: ["yaml", "circuit_breaker:\n  <<: 5"],
    message: "breakers.yaml:2: circuit_breaker must be a mapping whose << is a mapping"
  },
  {
    what: "a trailing comma in JSON",
    file: ["json", "{\"circuit_breaker\": {},\n}"],
    message: "breakers.json:2: must be valid JSON, with a key in double quotes here"
  },
  {
    what: "a comment in JSON",
    file: ["json", "{ // breakers\n}"],
    message: "breakers.json:1: must be valid JSON"
  },
  {
    what: "JSON that ends too early",
    file: ["json", "{\"circuit_breaker\": {\n"],
    message: "breakers.json:2: must be valid JSON, with a key in double quotes here"
  },
  {
    what: "an empty JSON file",
    file: ["json", ""],
    message: "breakers.json:1: must be valid JSON, with a value here"
  },
  {
    what: "TOML without a value",
    file: ["toml", "[circuit_breaker]\nenabled ="],
    message: "breakers.toml:2: must be valid TOML"
  },

  // sizes and bytes
  {
    what: "a file that is too large",
    file: ["yaml", "#".repeat(MAX + 1)],
    message: "breakers.yaml: must be a file of at most 256 KiB"
  },
  {
    what: "too many services",
    file: [
      "yaml",
      `circuit_breaker:\n  services: { ${Array.from({ length: 1001 }, (_, i) => `s${i}: {}`).join(", ")} }`
    ],
    message: "breakers.yaml:2: circuit_breaker.services must be an object with at most 1000 services, got (an object)"
  },
  {
    what: "brackets without end in YAML",
    file: ["yaml", "[".repeat(MAX)],
    message: "breakers.yaml: must be YAML that is not nested deeply"
  },
  {
    what: "mappings without end in YAML",
    file: ["yaml", "{a: ".repeat(MAX / 4)],
    message: "breakers.yaml: must be YAML that is not nested deeply"
  },
  {
    what: "brackets without end in JSON",
    file: ["json", "[".repeat(MAX)],
    message: "breakers.json:1: 0.0.0.0.0.0.0.0 must be nested no deeper than 64 levels"
  },
  {
    what: "brackets without end in TOML",
    file: ["toml", `a = ${"[".repeat(MAX - 4)}`],
    message: "breakers.toml: must be valid TOML"
  },
  {
    what: "sequences without end in YAML",
    file: ["yaml", "- ".repeat(50_000)],
    message: "breakers.yaml:1: must be YAML that is not nested deeply"
  },
  {
    what: "as many nodes as fit into a file",
    file: ["yaml", `a: [${"1,".repeat(MAX / 2 - 10)}]`],
    message: "breakers.yaml:1: a.49998 must be at most 50000 nodes, with what its aliases stand for"
  },
  {
    what: "a hundred levels",
    file: ["yaml", Array.from({ length: 100 }, (_, i) => `${" ".repeat(i)}a:`).join("\n")],
    message: "breakers.yaml:66: a.a.a.a.a.a.a.a must be nested no deeper than 64 levels"
  },
  {
    what: "bytes that are no UTF-8",
    file: ["yaml", bytes("circuit_breaker:\n  services:\n    caf", [0xe9], ": {}\n")],
    message: "breakers.yaml:3: must be UTF-8"
  },
  {
    what: "UTF-16",
    file: ["yaml", bytes([0xff, 0xfe, 0x61, 0x00])],
    message: "breakers.yaml:1: must be UTF-8"
  },
  {
    what: "a NUL",
    file: ["yaml", "circuit_breaker:\n  enabled: true\0"],
    message: "breakers.yaml:2: must be text without NUL characters"
  },
  {
    what: "a name with a line feed and a right-to-left mark",
    file: ["yaml", "circuit_breaker:\n  \"ena\\nbled\\u202e\": true"],
    message:
      "breakers.yaml:2: circuit_breaker.\"ena\\nbled\\u202e\" must be left out, because there is no such key (did you mean " +
      "enabled?), got true"
  },
  {
    what: "a value of a hundred thousand characters",
    file: payments(`timeout: ${"x".repeat(100_000)}`),
    message: `${field("timeout")} ${SECONDS}, got "${"x".repeat(99)}…`
  },
  {
    what: "an ending that says no format",
    file: ["ini", "[circuit_breaker]"],
    message: "breakers.ini: must be a file whose name ends with .yaml, .yml, .toml or .json"
  }
]
