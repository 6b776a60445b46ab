import { assert, describe, it } from "@effect/vitest"
import { Duration, Schema } from "effect"
import { readFileSync } from "node:fs"
import { File } from "../../src/config/BreakerConfig.ts"
import { fields } from "../../src/config/internal/Fields.ts"
import { jsonSchema } from "../../src/config/internal/FileSchema.ts"

describe("the schema of a file", () => {
  it("config.schema.json is what the schema says: npm run --silent schema:config > config.schema.json", () => {
    assert.deepStrictEqual(JSON.parse(readFileSync("config.schema.json", "utf8")), jsonSchema())
  })

  it("config.schema.json has every field, with a description, and no others", () => {
    const { $defs } = JSON.parse(JSON.stringify(jsonSchema()))
    const { additionalProperties, properties } = $defs.Service
    assert.isFalse(additionalProperties)
    assert.sameMembers(Object.keys(properties), [...new Set(fields.map(({ keys }) => keys[0]!))])
    for (const { description, keys } of fields) {
      const own = keys[0] === "trip" ? $defs.Trip : properties[keys[0]!]
      assert.include(JSON.stringify(own), JSON.stringify(description), keys.join("."))
    }
  })

  it("editors get the same schema from BreakerConfig.File", () => {
    const { definitions, schema } = Schema.toJsonSchemaDocument(File, { onExcessProperty: "error" })
    const { $schema } = JSON.parse(readFileSync("config.schema.json", "utf8"))
    assert.deepStrictEqual({ $schema, ...schema, $defs: definitions }, jsonSchema())
  })

  const document = {
    circuit_breaker: {
      enabled: "off",
      persistence: "redis",
      defaults: { recovery_timeout: 30 },
      services: {
        payments: {
          failure_threshold: 3,
          error_rate_threshold: 0.5,
          half_open: { probes: 2, ramp: "250 millis" },
          consistency: { max_age: 5 }
        },
        http: {
          capacity: 10,
          trip: {
            _tag: "SlowCallRate",
            threshold: 0.5,
            slower_than: 2,
            minimum_calls: 5,
            window: { _tag: "LastCalls", calls: 20 }
          }
        }
      }
    },
    redis: { url: "redis://localhost", pool_size: 3 }
  }

  it("a document decodes to the library's own names", () => {
    const { circuit_breaker: breaker, redis } = Schema.decodeUnknownSync(File)(document)
    assert.deepStrictEqual(redis, { url: "redis://localhost", pool_size: 3 })
    assert.deepStrictEqual(breaker?.defaults, { openFor: Duration.seconds(30) })
    assert.isFalse(breaker?.enabled)
    assert.deepStrictEqual(breaker?.services?.["http"], {
      capacity: 10,
      trip: {
        _tag: "SlowCallRate",
        threshold: 0.5,
        slowerThan: Duration.seconds(2),
        minimumCalls: 5,
        window: { _tag: "LastCalls", calls: 20 }
      }
    })
    assert.deepStrictEqual(breaker?.services?.["payments"]?.consistency, { maxAge: Duration.seconds(5) })
  })

  it("what it encodes decodes to the same", () => {
    const file = Schema.decodeUnknownSync(File)(document)
    const encoded = Schema.encodeSync(File)(file)
    assert.deepStrictEqual(JSON.parse(JSON.stringify(encoded)), encoded)
    const again = Schema.decodeUnknownSync(File)(encoded)
    assert.deepStrictEqual(Schema.encodeSync(File)(again), encoded)
    assert.deepStrictEqual(again.circuit_breaker?.services?.["http"], file.circuit_breaker?.services?.["http"])
  })
})
