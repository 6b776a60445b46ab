/** A real Chromium, headless. A test fails for what a page writes to the console as an error, and for requests to other origins. */
import { Effect, type Scope } from "effect"
import { type Browser, chromium, type Page } from "playwright-core"
import { install } from "../support/servers/processes.ts"

const start = async (): Promise<Browser> => {
  await install(["chromium"], ["chromium"])
  return chromium.launch({
    executablePath: "/usr/bin/chromium",
    // Chromium does not use its sandbox as root.
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : []
  })
}

/** A browser that is closed with the scope. */
export const browser: Effect.Effect<Browser, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(start),
  (browser) => Effect.promise(() => browser.close())
)

export interface Watched {
  readonly page: Page
  /** What the page did that it must not: errors in its console, and requests to other origins. */
  readonly faults: () => ReadonlyArray<string>
}

export const open = (browser: Browser, url: string): Effect.Effect<Watched, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const page = await browser.newPage()
      const faults: Array<string> = []
      const { origin } = new URL(url)
      page.on("console", (message) => {
        // A browser logs each response of 4xx and 5xx by itself.
        if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) {
          faults.push(message.text())
        }
      })
      page.on("pageerror", (error) => faults.push(String(error)))
      page.on("request", (request) => {
        if (new URL(request.url()).origin !== origin) faults.push(`a request to ${request.url()}`)
      })
      await page.goto(url)
      return { page, faults: () => faults }
    }),
    ({ page }) => Effect.promise(() => page.close())
  )
