/**
 * The page's requests. Tokens go in a header, so that they are in no URL and no cookie; this is why events are read by `fetch`, because
 * an `EventSource` sends no headers.
 */
import type { Output } from "../../src/cli/Output.ts"
import type { Act, Session, Update } from "../../src/dashboard/internal/Feed.ts"

const base = location.pathname.replace(/\/$/, "")

/** A request that the server refused. `message` is for people. */
export class Refused extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

const detailOf = async (response: Response): Promise<string> => {
  const body: unknown = await response.json().catch(() => undefined)
  const detail = typeof body === "object" && body !== null && "detail" in body ? body.detail : undefined
  return typeof detail === "string" ? detail : `the server answered ${response.status}`
}

export class Connection {
  token: string | undefined
  #reading = new AbortController()

  async #ask(path: string, init: RequestInit = {}): Promise<Response> {
    const response = await fetch(`${base}/api${path}`, {
      ...init,
      cache: "no-store",
      headers: {
        ...this.token === undefined ? {} : { authorization: `Bearer ${this.token}` },
        ...init.body === undefined ? {} : { "content-type": "application/json" }
      }
    })
    if (!response.ok) throw new Refused(response.status, await detailOf(response))
    return response
  }

  async session(): Promise<Session> {
    return (await this.#ask("/session")).json()
  }

  async history(circuit: string): Promise<Output.History> {
    return (await this.#ask(`/circuits/${encodeURIComponent(circuit)}/history`)).json()
  }

  async act(circuit: string, act: Act): Promise<Output.Acted> {
    const { act: name, ...body } = act
    return (await this.#ask(`/circuits/${encodeURIComponent(circuit)}/${name}`, {
      method: "POST",
      body: JSON.stringify(body)
    })).json()
  }

  /** Ends the events that are being read, so that they are asked for anew with another token. */
  again(): void {
    this.#reading.abort()
  }

  /** Reads events until the server ends them, or fails. */
  async events(onUpdate: (update: Update) => void): Promise<void> {
    this.#reading = new AbortController()
    const { body } = await this.#ask("/events", { signal: this.#reading.signal })
    const reader = body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ""
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      text += value
      const events = text.split("\n\n")
      text = events.pop()!
      for (const event of events) {
        const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join(
          "\n"
        )
        if (data !== "") onUpdate(JSON.parse(data))
      }
    }
  }
}
