/** The conformance suite on a Redis. Its `rewrite` changes records behind the storage's back. */
import { describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Redis from "effect/persistence/Redis"
import { NUMBERS } from "../../src/redis/Fields.ts"
import * as Conformance from "../../src/Storage/Conformance.ts"
import * as RedisStorage from "../../src/Storage/Redis.ts"
import { retryWhenLate, scaledMillis } from "../support/machine.ts"

export const capabilities = { shared: true, durable: true, pushes: true, history: true, fences: true, bells: true }

type Fields = Readonly<Record<string, unknown>>

const isNumber = (field: string): boolean => (NUMBERS as ReadonlyArray<string>).includes(field)

/** A hash as a record of the suite: numbers are parsed, and lifetime counts are in one object. */
const recordOf = (reply: unknown): Fields => {
  const words = (Array.isArray(reply) ? reply : Object.entries(reply as object).flat()).map(String)
  const fields: Record<string, unknown> = {}
  for (let i = 0; i < words.length; i += 2) {
    const [field, value] = [words[i]!, words[i + 1]!]
    fields[field] = isNumber(field) ? Number(value) : value
  }
  return { ...fields, lifetime: { failure: fields["failure_count"], opened: fields["opened_count"] } }
}

const wordsOf = ({ lifetime: _, ...fields }: Fields): ReadonlyArray<string> =>
  Object.entries(fields).flatMap(([field, value]) => [
    field,
    isNumber(field) && typeof value !== "number" ? JSON.stringify(value) : String(value)
  ])

/** The key of a circuit. Of its name it escapes only braces, which is enough for the suite's names. */
const keyOf = (circuit: string): string => `circuit_breaker:{${circuit.replaceAll("{", "%7B").replaceAll("}", "%7D")}}`

const rewrite = (circuit: string, f: (record: Fields) => unknown) =>
  Effect.gen(function*() {
    const { send } = yield* Redis.Redis
    const key = keyOf(circuit)
    const record = recordOf(yield* send("HGETALL", key))
    const next = f(record)
    if (next === record) return
    yield* send("DEL", key)
    if (typeof next === "string") yield* send("SET", key, next)
    else yield* send("HSET", key, ...wordsOf(next as Fields))
  })

export interface Subject<E> {
  readonly name: string
  /** Returns the layer of a new client each time. */
  readonly client: () => Layer.Layer<Redis.Redis, E>
}

/** Runs all laws, each as a test. */
export const conforms = <E>({ client, name }: Subject<E>): void => {
  describe(`conformance: ${name}`, () => {
    const laws = Conformance.laws({
      capabilities,
      layer: ({ idleTimeToLive }) => Layer.provide(RedisStorage.layer({ idleTimeToLive }), Layer.suspend(client)),
      advance: Effect.sleep,
      unit: scaledMillis(100),
      maxBlocking: scaledMillis(250),
      rewrite: (circuit, f) => Effect.provide(rewrite(circuit, f), Layer.fresh(Layer.suspend(client)))
    })
    for (const law of laws) it.live(law.name, () => retryWhenLate(law.check))
  })
}
