#!/usr/bin/env node
import * as Effect from "effect/Effect"
import { run } from "./Cli.ts"

const fiber = Effect.runFork(run())
const interrupt = (): void => fiber.interruptUnsafe()
process.once("SIGINT", interrupt).once("SIGTERM", interrupt)
// A reader such as `head` has gone: what follows is for nobody.
process.stdout.on("error", interrupt)
fiber.addObserver((exit) => process.exit(exit._tag === "Success" ? exit.value : 130))
