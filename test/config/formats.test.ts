import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { type Document, isParsed, type Parsed } from "../../src/config/internal/Document.ts"
import { parseJson } from "../../src/config/internal/Json.ts"
import { parseToml } from "../../src/config/internal/Toml.ts"
import { parseYaml } from "../../src/config/internal/Yaml.ts"

const documentOf = (parsed: Parsed): Document => {
  if (!isParsed(parsed)) assert.fail(parsed.problem.allowed)
  return parsed.document
}

const yaml = (text: string) => Effect.map(parseYaml(text), documentOf)

describe("formats", () => {
  it.prop("JSON: the same value as JSON.parse", [Schema.MutableJson], ([value]) => {
    const text = JSON.stringify(value)
    assert.deepStrictEqual(documentOf(parseJson(text)).value, JSON.parse(text))
    assert.deepStrictEqual(documentOf(parseJson(JSON.stringify(value, undefined, 2))).value, JSON.parse(text))
  })

  it.each([
    ..."[1,] {,} [1 2] 01 1. .5 +1 -  nul tru [ ] ] {\"a\"} {\"a\":} {\"a\":1,} {a:1} 'a' \"\\x\" \"\\u12\" NaN 1e 0x1 //"
      .split(" "),
    "\"a\nb\"",
    "{\"a\":1 \"b\":2}",
    "[] []",
    "\u00a01",
    "\"",
    "\"\\"
  ])("JSON: %s is refused as by JSON.parse", (text) => {
    assert.throws(() => JSON.parse(text) as unknown)
    assert.isFalse(isParsed(parseJson(text)))
  })

  it("JSON: own properties, whatever their names", () => {
    const { value } = documentOf(parseJson("{\"__proto__\": {\"a\": 1}, \"constructor\": 2}"))
    assert.deepStrictEqual(Object.keys(value as {}), ["__proto__", "constructor"])
    assert.isUndefined(({} as { readonly a?: unknown }).a)
  })

  const json =
    "{\n\"circuit_breaker\": {\n\"services\": {\"payments\":\n{\"timeout\": 2,\n\"half_open\": {\"probes\":\n3}}}}}"
  const toml = [
    "# comment",
    "[circuit_breaker] # x = [",
    "text = \"\"\"",
    "[services]",
    "y = 1\"\"\"",
    "list = [",
    "  \"]\",",
    "  '[', # ]",
    "]",
    "",
    "[circuit_breaker.services.\"payments\"]",
    "timeout = 2",
    "half_open.probes = 3",
    "inline = { a = [1, 2], b = { c = 'x' } }",
    "[[circuit_breaker.tables]]",
    "k = 1"
  ].join("\n")
  const block = [
    "# comment",
    "circuit_breaker:",
    "  text: |",
    "    services:",
    "  services:",
    "    payments: &payments",
    "      timeout: 2",
    "      half_open: {",
    "        probes: 3 }",
    "    other:",
    "      <<: *payments",
    "      timeout: 4"
  ].join("\n")
  const at = (...path: ReadonlyArray<string>) => ["circuit_breaker", ...path]

  it("lines: JSON", () => {
    const { lineOf } = documentOf(parseJson(json))
    const lines = [at(), at("services"), at("services", "payments", "timeout"), at("services", "payments", "half_open")]
    assert.deepStrictEqual(lines.map(lineOf), [2, 3, 4, 5])
  })

  it("lines: TOML, past values that look like keys", () => {
    const { lineOf } = documentOf(parseToml(toml))
    const payments = (...path: ReadonlyArray<string>) => lineOf(at("services", "payments", ...path))
    assert.deepStrictEqual(
      [
        lineOf(at()),
        lineOf(at("text")),
        lineOf(at("list")),
        payments(),
        payments("timeout"),
        payments("half_open", "probes")
      ],
      [2, 3, 6, 11, 12, 13]
    )
    assert.deepStrictEqual([payments("inline", "b", "c"), lineOf(at("tables", "0", "k"))], [14, 15])
  })

  it.effect("lines: YAML, and of what a merge brings", () =>
    Effect.gen(function*() {
      const { lineOf, value } = yield* yaml(block)
      const services = (...path: ReadonlyArray<string>) => lineOf(at("services", ...path))
      assert.deepStrictEqual(
        [
          lineOf(at("text")),
          services("payments"),
          services("payments", "timeout"),
          services("payments", "half_open", "probes")
        ],
        [3, 6, 7, 9]
      )
      assert.deepStrictEqual([services("other", "timeout"), services("other", "half_open", "probes")], [12, 9])
      const read = value as { readonly circuit_breaker: { readonly services: { readonly other: unknown } } }
      assert.deepStrictEqual(read.circuit_breaker.services.other, { timeout: 4, half_open: { probes: 3 } })
    }))

  it.effect("YAML: words are texts, and numbers may be keys", () =>
    Effect.map(
      yaml("8080: { a: off, b: ~, c: 0x10, d: 1e3, e: 012, f: \"1\" }"),
      ({ value }) => assert.deepStrictEqual(value, { 8080: { a: "off", b: null, c: 16, d: 1000, e: 12, f: "1" } })
    ))

  it.effect("an empty file, and one of comments, is an empty document", () =>
    Effect.gen(function*() {
      assert.isNull((yield* yaml("")).value)
      assert.isNull((yield* yaml("# nothing\n")).value)
      assert.deepStrictEqual({ ...documentOf(parseToml("# nothing")).value as {} }, {})
    }))
})
