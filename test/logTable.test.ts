import { assert, describe, it } from "@effect/vitest"
import { globSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { type Message, messages } from "../src/internal/Messages.ts"
import { root } from "./support/docs.ts"

const read = (file: string) => readFileSync(join(root, file), "utf8")

const documented = read("docs/logs.md")
  .matchAll(/^\| (\w+) +\| `([^`]+)` +\| ([^|]*?) +\|/gm)
  .map(([, level, text, fields]): Message => ({
    level: level as Message["level"],
    text: text!,
    fields: [...fields!.matchAll(/`(\w+)`/g)].map(([, field]) => field!)
  }))
  .toArray()

const all: ReadonlyArray<Message> = Object.values(messages)

const byText = (a: Message, b: Message) => a.text < b.text ? -1 : 1

describe("docs/logs.md", () => {
  it("docs/logs.md lists every log message with its level and fields, and no other", () => {
    assert.deepStrictEqual(documented.toSorted(byText), all.toSorted(byText))
  })
})

describe("log messages", () => {
  it("each log message has a text of its own", () => {
    const texts = all.map(({ text }) => text)
    assert.deepStrictEqual(texts.filter((text, i) => texts.indexOf(text) !== i), [])
  })

  it("each log message is used by the library", () => {
    const source = globSync("src/**/*.ts", { cwd: root }).map(read).join("\n")
    const unused = Object.keys(messages).filter((key) => !new RegExp(`\\bmessages\\.${key}\\b`).test(source))
    assert.deepStrictEqual(unused, [])
  })
})
