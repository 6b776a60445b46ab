/** The dashboard on each storage: it reads, acts, shows the history and tells what changes. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { HttpRouter } from "effect/http"
import type { Output } from "../../src/cli/Output.ts"
import { circuitOf } from "../../src/conformance/Law.ts"
import * as Dashboard from "../../src/dashboard/Dashboard.ts"
import type { Update } from "../../src/dashboard/internal/Feed.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { places } from "./places.ts"

const HOSTILE = "</script>\u001b[31m/../%2e?x=1#y"

describe("the dashboard", () => {
  for (const { empty, name } of places) {
    it.live(`reads, acts, and tells what changes: ${name}`, () =>
      Effect.gen(function*() {
        const storage = yield* empty
        yield* circuitOf(storage, HOSTILE).open()
        const routes = Dashboard.layer({ token: Redacted.make("secret") }).pipe(
          Layer.provide(Layer.succeed(Storage, storage))
        )
        const { handler } = yield* Effect.acquireRelease(
          Effect.sync(() => HttpRouter.toWebHandler(routes, { disableLogger: true })),
          ({ dispose }) => Effect.promise(dispose)
        )
        const request = (path: string, init?: RequestInit) =>
          Effect.promise(() => handler(new Request(`http://localhost/circuits/api${path}`, init)))
        const json = <A>(path: string, init?: RequestInit) =>
          Effect.flatMap(request(path, init), (response) => Effect.promise(() => response.json() as Promise<A>))
        const path = `/circuits/${encodeURIComponent(HOSTILE)}`

        const events = (yield* request("/events")).body!.pipeThrough(new TextDecoderStream()).getReader()
        let text = ""
        const until = (holds: (update: Update) => boolean) =>
          Effect.promise(async () => {
            for (;;) {
              for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
                const update: Update = JSON.parse(text.slice("data: ".length, end))
                text = text.slice(end + 2)
                if (holds(update)) return
              }
              const { done, value } = await events.read()
              if (done) throw new Error("the events ended")
              text += value
            }
          })
        yield* until(({ reset, statuses, storage }) => reset && storage.reachable && statuses.open === 1)

        assert.strictEqual((yield* json<Output.Circuit>(path)).state, "open")
        const acted = yield* json<Output.Acted>(`${path}/override`, {
          method: "POST",
          headers: { "content-type": "application/json", authorization: "Bearer secret" },
          body: JSON.stringify({ mode: "disabled", actor: "ann", reason: "incident 42", forMillis: 600_000 })
        })
        assert.strictEqual(acted.after.override?.mode, "disabled")
        yield* until(({ statuses }) => statuses.disabled === 1)
        const { changes } = yield* json<Output.History>(`${path}/history`)
        assert.deepInclude(changes[0], { actor: "ann", override: "disabled", reason: "incident 42" })
        const { circuits } = yield* json<Output.Ls>("/circuits")
        assert.deepStrictEqual(circuits.map(({ circuit }) => circuit), [HOSTILE])
        yield* Effect.promise(() => events.cancel())
      }).pipe(Effect.scoped))
  }
})
