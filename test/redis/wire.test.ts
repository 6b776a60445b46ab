/** The check of what goes over a connection to Redis, however it is cut into pieces. */
import { assert, describe, it } from "@effect/vitest"
import { Wire } from "../../src/redis/client/Wire.ts"
import { resp } from "./fake.ts"

const LIMITS = { bytes: 1000, elements: 50, replyMillis: 2000 }

const command = (...words: ReadonlyArray<string>): string => resp(words)

/** What is wrong with what the server sends after these commands, in pieces of a size. */
const problemOf = (commands: ReadonlyArray<string>, received: string, size: number, at = 0): string | undefined => {
  const wire = new Wire(LIMITS)
  wire.sent(Buffer.from(commands.join("")), 0)
  const bytes = Buffer.from(received)
  try {
    for (let from = 0; from < bytes.length; from += size) wire.received(bytes.subarray(from, from + size), at)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : "not an error"
  }
}

const get = command("GET", "key")
const subscribed = resp(["subscribe", "channel", 1])

const accepted: Readonly<Record<string, readonly [commands: ReadonlyArray<string>, received: string]>> = {
  "replies of all types": [
    Array.from({ length: 8 }, () => get),
    `+OK\r\n-ERR no\r\n:-5\r\n${resp("text\r\n$1\r\n")}$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n`
  ],
  "lists in lists": [[get], resp([["a", [1, null, []]], [], "b"])],
  "a subscription and its messages": [
    [command("AUTH", "x"), command("SUBSCRIBE", "channel")],
    `+OK\r\n${subscribed}${resp(["message", "channel", "text"])}${resp(["message", "channel", null])}`
  ],
  "a subscription that is refused": [[command("subscribe", "channel")], "-NOPERM no\r\n"],
  "the end of no subscription": [
    [command("subscribe", "channel"), command("unsubscribe")],
    subscribed + resp(["unsubscribe", null, 0])
  ],
  "what a server monitors": [[command("MONITOR")], "+OK\r\n+1732188600.1 \"get\"\r\n"],
  "a text of the greatest length": [[get], resp("x".repeat(LIMITS.bytes - 10))]
}

const refused: Readonly<Record<string, readonly [commands: ReadonlyArray<string>, received: string, words: string]>> = {
  "a reply without a command": [[], "+OK\r\n", "no command awaits"],
  "one reply too many": [[get], "+OK\r\n+OK\r\n", "no command awaits"],
  "a null without a command": [[get], "+OK\r\n$-1\r\n", "no command awaits"],
  "a push of RESP3": [[get], ">1\r\n+x\r\n", "begins with \">\""],
  "a page of HTTP": [[get], "HTTP/1.1 200 OK\r\n", "begins with \"H\""],
  "a length that is none": [[get], "$x\r\n", "the length \"x\""],
  "a negative length": [[get], "*-2\r\n", "the length \"-2\""],
  "a text that is announced too long": [[get], "$1000\r\n", "more than 1000 bytes"],
  "a line that is too long": [[get], `+${"x".repeat(1001)}`, "more than 1000 bytes"],
  "a list that is announced too long": [[get], "*51\r\n", "more than 50 elements"],
  "lists that are too long together": [[get], "*30\r\n*21\r\n", "more than 50 elements"],
  "lists without an end": [[get], "*1\r\n".repeat(51), "more than 50 elements"],
  "a subscription that is a null": [[command("SUBSCRIBE", "channel")], "$-1\r\n", "a subscription that is none"],
  "a subscription that is a number": [[command("SUBSCRIBE", "channel")], ":1\r\n", "a subscription that is none"],
  "a subscription that is a word": [[command("SUBSCRIBE", "channel")], "+OK\r\n", "a subscription that is none"],
  "a subscription without a channel": [
    [command("SUBSCRIBE", "channel")],
    resp(["subscribe", null, 1]),
    "a subscription that is none"
  ],
  "an end of a subscription that was not asked for": [
    [command("SUBSCRIBE", "channel")],
    resp(["unsubscribe", null, 0]),
    "a subscription that is none"
  ],
  "a message of nothing": [[command("SUBSCRIBE", "channel")], subscribed + resp([null]), "a subscription that is none"],
  "an empty message": [[command("SUBSCRIBE", "channel")], `${subscribed}*0\r\n`, "a subscription that is none"],
  "a message of a pattern without its text": [
    [command("PSUBSCRIBE", "*")],
    resp(["pmessage", "*", "channel", null]),
    "a subscription that is none"
  ]
}

describe("what goes over a connection to Redis", () => {
  for (const size of [1, 2, 3, 7, 100_000]) {
    for (const [what, [commands, received]] of Object.entries(accepted)) {
      it(`${what} in pieces of ${size} bytes may pass (R4)`, () => {
        assert.isUndefined(problemOf(commands, received, size))
      })
    }
    for (const [what, [commands, received, words]] of Object.entries(refused)) {
      it(`${what} in pieces of ${size} bytes may not pass (R4)`, () => {
        assert.include(problemOf(commands, received, size), words)
      })
    }
  }

  it("a reply that is not complete in time may not pass, and many replies one after the other may (R12)", () => {
    assert.isUndefined(problemOf([get], "+O", 2, LIMITS.replyMillis))
    assert.include(problemOf([get], "+O", 2, LIMITS.replyMillis + 1), "no complete reply within 2000 ms")
    const wire = new Wire(LIMITS)
    for (let i = 0; i < 10; i++) wire.sent(Buffer.from(get), 0)
    for (let i = 1; i <= 10; i++) wire.received(Buffer.from("+OK\r\n"), i * LIMITS.replyMillis)
  })
})
