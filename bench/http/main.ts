/**
 * `npm run bench:http`: measures a request of an HTTP client with and without a breaker, in one run: no breaker, this library's
 * `withBreaker`, and Effect's own `withCircuitBreaker` on its breaker and on ours, each with a circuit for each origin. Client and server are two processes.
 * `-- --json` prints one document.
 *
 * Each contender takes turns in short rounds, so that all meet the same noise. Results are medians over the rounds.
 */
import { NodeHttpClient } from "@effect/platform-node"
import { Effect, Exit, Layer, ManagedRuntime, Scope } from "effect"
import { HttpClient } from "effect/http"
import { CircuitBreaker } from "effect/persistence"
import { fork } from "node:child_process"
import { once } from "node:events"
import * as BreakerHttpClient from "../../src/http/HttpClient.ts"
import { Breaker, Storage } from "../../src/index.ts"
import * as EffectCircuitBreaker from "../../src/interop/EffectCircuitBreaker.ts"
import { print } from "../fleet/report.ts"

const ROUNDS = 25
const REQUESTS = 1500
const CONCURRENCY = 20

const contenders = ["none", "ours", "effect", "ours-as-effect"] as const
type Contender = typeof contenders[number]

interface Round {
  /** Microseconds of this process's processor time. */
  readonly cpu: number
  /** Milliseconds of a request. */
  readonly p50: number
  readonly p99: number
}

const child = fork(new URL("server.ts", import.meta.url), { execArgv: [] })
const [port] = await once(child, "message") as [number]
const url = `http://127.0.0.1:${port}/users`

const clients = Effect.gen(function*() {
  const none = yield* HttpClient.HttpClient
  const origins = yield* Breaker.makeKeyed("bench", {})
  const own = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(5), openDuration: "1 minute" })
  return {
    none,
    ours: BreakerHttpClient.withBreaker(none, origins),
    effect: HttpClient.withCircuitBreaker(none, { breaker: own }),
    "ours-as-effect": HttpClient.withCircuitBreaker(none, { breaker: EffectCircuitBreaker.make(origins) })
  } satisfies Record<Contender, HttpClient.HttpClient.With<any>>
})

const runtime = ManagedRuntime.make(
  Layer.mergeAll(NodeHttpClient.layerUndici, CircuitBreaker.layerStoreMemory(), Storage.MemoryStorageLive)
)

const round = (client: HttpClient.HttpClient.With<any>): Effect.Effect<Round> =>
  Effect.gen(function*() {
    const took: Array<number> = []
    const before = process.cpuUsage()
    yield* Effect.forEach(
      Array.from({ length: REQUESTS }),
      () =>
        Effect.suspend(() => {
          const start = performance.now()
          return client.get(url).pipe(
            Effect.flatMap((response) => response.json),
            Effect.tap(() => Effect.sync(() => took.push(performance.now() - start))),
            Effect.orDie
          )
        }),
      { concurrency: CONCURRENCY, discard: true }
    )
    const { system, user } = process.cpuUsage(before)
    took.sort((a, b) => a - b)
    return {
      cpu: (system + user) / REQUESTS,
      p50: took[Math.floor(took.length * 0.5)]!,
      p99: took[Math.floor(took.length * 0.99)]!
    }
  })

const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

const scope = Scope.makeUnsafe()
try {
  const all = await runtime.runPromise(Scope.provide(clients, scope))
  const rounds: Record<Contender, Array<Round>> = { none: [], ours: [], effect: [], "ours-as-effect": [] }
  // The first round of each warms up.
  for (let n = 0; n <= ROUNDS; n++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const contender = contenders[(n + turn) % contenders.length]!
      const measured = await Effect.runPromise(round(all[contender]))
      if (n > 0) rounds[contender].push(measured)
    }
  }
  const of = (contender: Contender, what: keyof Round) => median(rounds[contender].map((round) => round[what]))
  await print(
    [
      () =>
        Promise.resolve(
          ([["cpu-per-request", "cpu", "µs"], ["p50", "p50", "ms"], ["p99", "p99", "ms"]] as const).flatMap(
            ([name, what, unit]) =>
              contenders.map((contender) => ({ case: name, contender, value: of(contender, what), unit }))
          )
        )
    ],
    (value) => [
      {
        text: "processor time of a request: ours / none",
        measured: value("cpu-per-request", "ours") / value("cpu-per-request", "none"),
        most: 1.05
      },
      {
        text: "processor time of a request: ours / Effect's own",
        measured: value("cpu-per-request", "ours") / value("cpu-per-request", "effect"),
        most: 1
      },
      {
        text: "processor time of a request: withCircuitBreaker on ours / on Effect's own",
        measured: value("cpu-per-request", "ours-as-effect") / value("cpu-per-request", "effect"),
        most: 1
      }
    ]
  )
} finally {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  await runtime.dispose()
  child.disconnect()
}
process.exit()
