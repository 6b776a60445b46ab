/** Every metric, as a Prometheus scraper and as an OTLP collector receive it. */
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Otlp, OtlpExporter } from "effect/observability"
import { once } from "node:events"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { type Row, table } from "../../src/internal/MetricTable.ts"
import * as BreakerMetrics from "../../src/observability/BreakerMetrics.ts"
import { metered, samplesIn, scrape } from "./support.ts"
import { options, world } from "./world.ts"

type Key = keyof typeof table

const rows = Object.entries(table) as ReadonlyArray<readonly [Key, Row]>

/** What the world's series are that are not 0, by the key of the metric, without the circuit's own labels where there are none. */
const expected: Record<Key, Record<string, number>> = {
  state: {
    "lossy state=open": 1,
    "payments state=open": 1,
    "hosts state=closed": 1,
    "hosts state=open": 1,
    "hosts/bad state=open": 1,
    "orders state=closed": 1,
    "search state=metrics_only": 1
  },
  calls: {
    "lossy outcome=success": 4,
    "lossy outcome=failure": 2,
    "payments outcome=success": 2,
    "payments outcome=timeout": 2,
    "payments outcome=ignored": 1,
    "hosts outcome=success": 1,
    "hosts outcome=failure": 3,
    "hosts/bad outcome=failure": 3,
    "orders outcome=success": 1,
    "orders outcome=failure": 1,
    "search outcome=success": 2
  },
  callsSlow: { "payments": 3 },
  rejections: { "payments reason=bulkhead": 1, "payments reason=open": 2 },
  unenforced: { "search reason=open": 2 },
  transitions: {
    "lossy from=closed to=open opened_by=instance": 1,
    "lossy from=closed to=open opened_by=fleet": 1,
    "payments from=closed to=open opened_by=instance": 1,
    "payments from=closed to=open opened_by=fleet": 1,
    "hosts from=closed to=open opened_by=instance": 1,
    "hosts/bad from=closed to=open opened_by=instance": 1,
    "search from=closed to=open opened_by=fleet": 1
  },
  failureRatio: { "orders window=60s": 0.5 },
  slowRatio: {},
  consecutiveFailures: { "orders": 1 },
  approach: { "orders": 0.5 },
  shed: { "orders": 1 / 3 },
  concurrent: { "orders": 1 },
  concurrentLimit: { "payments": 4 },
  retryAfter: { "payments": 20, "hosts": 52, "hosts/bad": 52, "search": 3600 },
  failures: {
    "lossy error_type=String": 2,
    "payments error_type=BreakerTimeoutError": 2,
    "hosts error_type=Declined": 3,
    "orders error_type=Declined": 1
  },
  callDuration: {
    "lossy outcome=success": 4,
    "lossy outcome=failure": 2,
    "payments outcome=success": 2,
    "payments outcome=timeout": 2,
    "payments outcome=ignored": 1,
    "hosts outcome=success": 1,
    "hosts outcome=failure": 3,
    "orders outcome=success": 1,
    "orders outcome=failure": 1,
    "search outcome=success": 2
  },
  stateCode: {
    "lossy previous_state=closed": 2,
    "payments previous_state=closed": 2,
    "hosts/bad previous_state=closed": 2,
    "search previous_state=closed": 2
  },
  circuits: { "hosts": 2 },
  fleetReachable: { "shared": 1, "hosts": 1, "shadow": 1, "orders": 1, "lossy": 1 },
  fleetSlowdown: { "shared": 1, "hosts": 1, "shadow": 1, "orders": 1, "lossy": 1 },
  fleetLag: { "lossy": 1 },
  fleetAge: {},
  reportsWaiting: {},
  reportsLost: { "lossy": 1 },
  policyDrift: { "payments": 1, "search": 1 },
  persistenceHealth: {},
  persistenceDuration: { "a": 1 },
  persistenceErrors: { "a reason=Unavailable": 1 },
  persistenceFallbacks: { "from=a to=b reason=Unavailable": 1 },
  persistenceMirrored: { "from=eu to=us": 1 },
  persistenceMigration: { "migration=to-b phase=read-old-write-both": 1 }
}

/** The labels of a sample, in the order of the table, and the value of its subject alone. */
const inBrief = ({ attributes, subject }: Row, labels: Readonly<Record<string, string>>): string =>
  [
    ...(subject === undefined ? [] : [labels[subject]]),
    ...attributes.map((name) => name.replace(".", "_")).flatMap((name) =>
      labels[name] === undefined ? [] : [`${name}=${labels[name]}`]
    )
  ].join(" ")

const labelsOf = (series: string): Readonly<Record<string, string>> =>
  Object.fromEntries([...series.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name!, value!]))

/** The samples of each metric; of a histogram the counts. */
const fromPrometheus = (text: string) =>
  Object.fromEntries(rows.map(([key, row]) => {
    const name = BreakerMetrics.prometheusName(row.name) + (row.type === "histogram" ? "_count" : "")
    return [
      key,
      [...samplesIn(text)].flatMap(([series, value]) =>
        series.startsWith(`${name}{`) ? [[inBrief(row, labelsOf(series)), value] as const] : []
      )
    ]
  })) as unknown as Record<Key, ReadonlyArray<readonly [string, number]>>

// -----------------------------------------------------------------------------
// OTLP
// -----------------------------------------------------------------------------

interface Point {
  readonly attributes: ReadonlyArray<{ readonly key: string; readonly value: { readonly stringValue: string } }>
  readonly asDouble?: number
  readonly count?: number
}

interface Received {
  readonly name: string
  readonly unit: string
  readonly description: string
  readonly sum?: { readonly isMonotonic: boolean; readonly dataPoints: ReadonlyArray<Point> }
  readonly gauge?: { readonly dataPoints: ReadonlyArray<Point> }
  readonly histogram?: { readonly dataPoints: ReadonlyArray<Point> }
}

/** A collector on loopback that keeps what it receives. */
const collector = Effect.gen(function*() {
  const received: Array<ReadonlyArray<Received>> = []
  const server = yield* Effect.acquireRelease(
    Effect.promise(async (): Promise<Server> => {
      const server = createServer((request, response) => {
        let body = ""
        request.setEncoding("utf8").on("data", (text: string) => body += text).on("end", () => {
          if (request.url === "/v1/metrics") {
            received.push(JSON.parse(body).resourceMetrics[0].scopeMetrics[0].metrics)
          }
          response.end("{}")
        })
      }).listen(0, "127.0.0.1")
      await once(server, "listening")
      return server
    }),
    (server) =>
      Effect.promise(async () => {
        server.closeAllConnections()
        server.close()
        await once(server, "close")
      })
  )
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received }
})

/** What the exporter sends at this moment. */
const exported = Effect.gen(function*() {
  const { received, url } = yield* collector
  const exporter = Otlp.layerJson({ baseUrl: url, resource: { serviceName: "shop" } }).pipe(
    Layer.provide(NodeHttpClient.layerNodeHttp)
  )
  yield* OtlpExporter.Flusher.use(({ flush }) => flush).pipe(Effect.provide(exporter))
  return received.at(0) ?? []
}).pipe(Effect.scoped)

const pointsOf = (row: Row, { gauge, histogram, sum }: Received) =>
  (sum ?? gauge ?? histogram)!.dataPoints.map(({ asDouble, attributes, count }) => {
    const labels = Object.fromEntries(attributes.map(({ key, value }) => [key.replace(".", "_"), value.stringValue]))
    return [inBrief(row, labels), Number(count ?? asDouble)] as const
  })

describe("the exporters", () => {
  it.effect("a Prometheus scraper and an OTLP collector receive every metric of the table with the same values", () =>
    Effect.gen(function*() {
      yield* world
      const text = yield* scrape
      const prometheus = fromPrometheus(text)
      for (const [key, row] of rows) {
        assert.isAbove(prometheus[key].length, 0, `${row.name} has no series`)
        const name = BreakerMetrics.prometheusName(row.name)
        assert.include(text, `# HELP ${name} ${row.description}\n# TYPE ${name} ${row.type}\n`)
      }
      for (const [key, values] of Object.entries(expected) as ReadonlyArray<[Key, Record<string, number>]>) {
        const nonZero = prometheus[key].filter(([, value]) => value !== 0)
        // The age of a view, and how much waits, depend on the rounds of the fleet.
        if (key === "fleetAge" || key === "reportsWaiting") assert.isAbove(nonZero.length, 0, key)
        else assert.deepStrictEqual(Object.fromEntries(nonZero), values, key)
      }
      const received = new Map((yield* exported).map((metric) => [metric.name, metric]))
      for (const [key, row] of rows) {
        const metric = received.get(row.name)
        assert.isDefined(metric, `${row.name} was not received`)
        assert.deepStrictEqual([metric!.unit, metric!.description], [row.unit, row.description])
        assert.strictEqual(metric!.sum?.isMonotonic, row.type === "counter" ? true : undefined)
        assert.sameDeepMembers(pointsOf(row, metric!), [...prometheus[key]], key)
      }
    }).pipe(metered(options)))

  it.effect("every series has the attributes of the options, and no other labels than the table says", () =>
    Effect.gen(function*() {
      yield* world
      for (const [series] of samplesIn(yield* scrape)) {
        const labels = labelsOf(series)
        const name = series.slice(0, series.indexOf("{"))
        const [, row] = rows.find(([, row]) => {
          const base = BreakerMetrics.prometheusName(row.name)
          return name === base || (row.type === "histogram" && /^_(bucket|sum|count)$/.test(name.replace(base, "")))
        }) ?? assert.fail(`${series} is of no metric of the table`)
        if (!row.name.startsWith("circuit_breaker.persistence")) assert.strictEqual(labels["service_name"], "shop")
        const known = [
          ...row.attributes.map((attribute) => attribute.replace(".", "_")),
          ...(row.subject === undefined ? [] : [row.subject]),
          "service_name",
          "le"
        ]
        assert.deepStrictEqual(Object.keys(labels).filter((label) => !known.includes(label)), [])
      }
    }).pipe(metered(options)))

  it("names are those of the table, and those for Prometheus follow its rules", () => {
    assert.deepStrictEqual(
      BreakerMetrics.names,
      Object.fromEntries(rows.map(([key, { name }]) => [key, name])) as typeof BreakerMetrics.names
    )
    for (const [, { name, type, unit }] of rows) {
      const prometheus = BreakerMetrics.prometheusName(name)
      assert.match(prometheus, /^circuit_breaker_[a-z_]+$/)
      assert.strictEqual(prometheus.endsWith("_total"), type === "counter", prometheus)
      assert.strictEqual(/_seconds(_total)?$/.test(prometheus), unit === "s", prometheus)
      assert.notMatch(name, /total|seconds/)
    }
    assert.strictEqual(BreakerMetrics.prometheusName("http.server.requests"), "http.server.requests")
  })
})
