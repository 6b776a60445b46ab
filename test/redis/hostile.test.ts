/** Nothing that a server sends ends the process of its client, or grows it without bound. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Socket } from "node:net"
import { Child } from "../support/children.ts"
import { until } from "../support/machine.ts"
import { type Answer, bulk, FakeRedis, healthy, resp } from "./fake.ts"
import type { Replies, Requests } from "./user.ts"

const startUser = Effect.acquireRelease(
  Effect.promise(() => Child.start<Requests, Replies>("a user of Redis", new URL("user.ts", import.meta.url), [])),
  (user) => Effect.promise(() => user.stop("SIGKILL"))
)

const startFake = (answer: Answer) =>
  Effect.acquireRelease(
    Effect.promise(() => FakeRedis.start(answer)),
    (fake) => Effect.promise(() => fake.stop())
  )

/** What a server may answer to any command. */
const answers: Readonly<Record<string, string>> = {
  "a null": "$-1\r\n",
  "a null list": "*-1\r\n",
  "nothing in a list": "*0\r\n",
  "a list of null": resp([null]),
  "a list of nulls": resp([null, null, null]),
  "a list of lists of nulls": resp([[null], [[null, null]], [0, null], [0, 5, null], [0, 5, [null, null]]]),
  "a number": ":5\r\n",
  "a list of numbers": resp([1, 2, 3]),
  "a word": "+OK\r\n",
  "an empty word": "+\r\n",
  "an error without words": "-\r\n",
  "a redirection to nowhere": "-ASK 5\r\n",
  "a redirection of nothing": "-ASK\r\n",
  "a redirection to no address": "-ASK 5 nowhere\r\n",
  "a redirection to port 99999": "-ASK 5 127.0.0.1:99999\r\n",
  "a move to nowhere": "-MOVED 5\r\n",
  "a move of nothing": "-MOVED\r\n",
  "a move to no address": "-MOVED 5 nowhere\r\n",
  "a move of slot 99999": "-MOVED 99999 127.0.0.1:1\r\n",
  "a move of slot __proto__": "-MOVED __proto__ 127.0.0.1:1\r\n",
  "a slot 200,000,000": resp([[0, 200_000_000, ["127.0.0.1", 1]]]),
  "a slot before the first": resp([[-2_000_000_000, 0, ["127.0.0.1", 1]]]),
  "a slot a thousand times": resp(Array.from({ length: 1000 }, () => [0, 16_383, ["127.0.0.1", 1]])),
  "servers that are none": resp([[0, 16_383, [7, "port"], "server", []]]),
  "a message of a null": resp(["message", null, null]),
  "a message without a channel": resp(["message"]),
  "a subscription of nothing": resp(["subscribe", null, 1]),
  "a subscription without a channel": resp(["subscribe"]),
  "an end of a subscription": resp(["unsubscribe", null, 0]),
  "a push of RESP3": ">2\r\n+message\r\n_\r\n",
  "a push of nothing": ">1\r\n_\r\n",
  "a null of RESP3": "_\r\n",
  "a map of RESP3": "%1\r\n+a\r\n_\r\n",
  "a page of HTTP": "HTTP/1.1 400 Bad Request\r\n\r\n",
  "a negative length": "$-7\r\n",
  "a length that is none": "*x\r\n",
  "a text of 100 gigabytes": "$99999999999\r\n",
  "a list of 30 million elements": "*30000000\r\n".repeat(20),
  "20,000 lists in each other": "*1\r\n".repeat(20_000) + ":1\r\n",
  "the same twice": "+OK\r\n+OK\r\n",
  "two nulls": "$-1\r\n$-1\r\n"
}

/** The commands that a client sends, by the kind of server, and when the answer comes. */
const places: Readonly<Record<string, ReadonlyArray<string>>> = {
  "": ["client", "info", "subscribe", "evalsha", "scan", "later"],
  "+cluster": ["client", "info", "subscribe", "evalsha", "scan", "cluster slots", "cluster info", "later"],
  "+sentinel": ["client", "info", "subscribe", "sentinel get-master-addr-by-name", "sentinel sentinels", "later"]
}

/** Answers a command with something else. `later` sends it after each subscription and each answer, unasked. */
const answering = (place: string, answer: string): Answer => (command, socket, port) => {
  const [name, word] = command.map((text) => text.toLowerCase())
  if (place === name || place === `${name} ${word}`) return answer
  if (place === "later" && (name === "subscribe" || name === "evalsha")) {
    setTimeout(() => socket.writable && socket.write(answer), 20)
  }
  return healthy(command, socket, port)
}

const cases = Object.entries(places).flatMap(([kind, commands]) =>
  commands.flatMap((place) =>
    Object.entries(answers).map(([what, answer]) => ({ kind, name: `${kind} ${place}: ${what}`, place, answer }))
  )
)

/** So many servers are used at once. */
const AT_ONCE = 40

describe("a hostile Redis", () => {
  it.live("no answer of a server ends the process, whichever command it answers (R4)", () =>
    Effect.gen(function*() {
      const user = yield* startUser
      for (let at = 0; at < cases.length; at += AT_ONCE) {
        const some = cases.slice(at, at + AT_ONCE)
        yield* Effect.scoped(Effect.gen(function*() {
          const fakes = yield* Effect.forEach(some, ({ answer, place }) => startFake(answering(place, answer)))
          const urls = fakes.map(({ port }, i) => `redis${some[i]!.kind}://u:secret@127.0.0.1:${port}`)
          const names = some.map(({ name }) => name).join("; ")
          const used = yield* Effect.promise(() => user.request("use", urls).then(() => "it lives", String))
          assert.strictEqual(used, "it lives", `after one of ${names}`)
        }))
      }
      const fine = yield* startFake(healthy)
      const urls = Object.keys(places).map((kind) => `redis${kind}://127.0.0.1:${fine.port}`)
      const answered = yield* Effect.promise(() => user.request("use", urls))
      // All but the change, which the fake refuses.
      assert.deepEqual(answered, [4, 4, 4])
    }).pipe(Effect.scoped))

  /** Writes as fast as the client reads. */
  const pour = (socket: Socket, text: string): void => {
    const more = (): void => {
      while (socket.writable && socket.write(text)) { /* until the buffer is full */ }
      if (socket.writable) socket.once("drain", more)
    }
    more()
  }
  /** Waits until a client has given up a server that answers a script so, several times. */
  const givenUp = Effect.fnUntraced(function*(user: Child<Requests, Replies>, answer: (socket: Socket) => void) {
    let closed = 0
    const fake = yield* startFake((command, socket, port) => {
      if (command[0]!.toLowerCase() !== "evalsha") return healthy(command, socket, port)
      socket.once("close", () => closed++)
      answer(socket)
      return undefined
    })
    yield* Effect.promise(() => user.request("hold", `redis://127.0.0.1:${fake.port}`))
    yield* Effect.promise(() => until("the client gives the connection up", () => closed >= 3))
  })
  const megabyte = "x".repeat(2 ** 20)
  const endless: Readonly<Record<string, readonly [beginning: string, more: string]>> = {
    "a line": ["+", megabyte],
    "a text": ["$9999999999\r\n", megabyte],
    "a list of texts": ["*9999999999\r\n", bulk(megabyte)],
    "a list of lists": ["", "*9\r\n".repeat(2 ** 18)],
    "replies": ["", "+OK\r\n".repeat(2 ** 18)],
    "errors": ["", "-ERR no\r\n".repeat(2 ** 17)]
  }
  for (const [what, [beginning, more]] of Object.entries(endless)) {
    it.live(`a server that sends ${what} without an end is given up, and takes no more than 150 MB (R4, R12)`, () =>
      Effect.gen(function*() {
        const user = yield* startUser
        const fine = yield* startFake(healthy)
        yield* Effect.promise(() => user.request("use", [`redis://127.0.0.1:${fine.port}`]))
        const before = yield* Effect.promise(() => user.request("memory", undefined))
        yield* givenUp(user, (socket) => {
          socket.write(beginning)
          pour(socket, more)
        })
        const grown = (yield* Effect.promise(() => user.request("memory", undefined))) - before
        assert.isBelow(grown, 150 * 2 ** 20)
      }).pipe(Effect.scoped))
  }

  it.live("a server whose reply comes byte by byte without an end is given up (R12)", () =>
    Effect.gen(function*() {
      const user = yield* startUser
      yield* givenUp(user, (socket) => {
        socket.write("+")
        const timer = setInterval(() => socket.write("x"), 20)
        socket.on("close", () => clearInterval(timer))
      })
    }).pipe(Effect.scoped))
})
