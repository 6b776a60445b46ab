/**
 * Simulated time, and what runs in it.
 *
 * Everything is synchronous: the fibers of all machines run on one queue. `advance` takes the events that are due one
 * by one, and runs all fibers until none can run before it takes the next. So a run follows from its inputs alone, and
 * takes no turn of Node's event loop, where `TestClock` takes a few for every sleeper it wakes.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Scheduler from "effect/Scheduler"
import { IdSource } from "../../internal/Ids.ts"
import { Rng } from "./Random.ts"

interface Event {
  readonly at: number
  readonly order: number
  readonly run: () => void
  cancelled: boolean
}

const isBefore = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

/** More events and fibers than this at one time count as an endless loop. */
const MOST_AT_ONCE = 50_000

export class World {
  /** Milliseconds since the world began. Machines do not see it, because each has a clock of its own. */
  now: number
  #order = 0
  #busy = 0
  // A binary heap, so the first event is the next one due.
  readonly #events: Array<Event> = []
  #tasks: Array<() => void> = []

  readonly scheduler: Scheduler.Scheduler = {
    executionMode: "async",
    // No fiber has to yield, because nothing outside this queue waits for its turn.
    shouldYield: () => false,
    makeDispatcher: () => ({ scheduleTask: (task) => this.#tasks.push(task), flush: () => this.drain() })
  }

  readonly startedAt: number

  constructor(startsAt = 0) {
    this.startedAt = startsAt
    this.now = startsAt
  }

  /** A number that grows with every call, so that everything that happened can be put in order. */
  stamp(): number {
    return ++this.#order
  }

  /** Runs something after so many milliseconds, unless the function it returns is called before. */
  after(millis: number, run: () => void): () => void {
    const event: Event = { at: this.now + Math.max(0, millis), order: this.stamp(), run, cancelled: false }
    this.#push(event)
    return () => {
      event.cancelled = true
    }
  }

  /** When the next event is due; `Infinity` where there is none. */
  get nextAt(): number {
    while (this.#events[0]?.cancelled === true) this.#pop()
    return this.#events[0]?.at ?? Infinity
  }

  /** Lets so many milliseconds pass. */
  advance(millis: number): void {
    const end = this.now + millis
    this.drain()
    while (this.#events.length > 0 && this.#events[0]!.at <= end) {
      const event = this.#pop()
      if (event.cancelled) continue
      this.#busy = event.at > this.now ? 0 : this.#busy + 1
      if (this.#busy > MOST_AT_ONCE) throw new Error(`time stands still at ${this.now} ms`)
      this.now = event.at
      event.run()
      this.drain()
    }
    this.now = end
  }

  /** Runs all fibers that can run. */
  drain(): void {
    while (this.#tasks.length > 0) {
      const tasks = this.#tasks
      this.#tasks = []
      this.#busy += tasks.length
      if (this.#busy > MOST_AT_ONCE) throw new Error(`fibers never rest at ${this.now} ms`)
      for (const task of tasks) task()
    }
  }

  #push(event: Event): void {
    const events = this.#events
    let i = events.push(event) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!isBefore(event, events[parent]!)) break
      events[i] = events[parent]!
      i = parent
    }
    events[i] = event
  }

  #pop(): Event {
    const events = this.#events
    const first = events[0]!
    const last = events.pop()!
    if (events.length === 0) return first
    let i = 0
    while (true) {
      let child = 2 * i + 1
      if (child >= events.length) break
      if (child + 1 < events.length && isBefore(events[child + 1]!, events[child]!)) child++
      if (!isBefore(events[child]!, last)) break
      events[i] = events[child]!
      i = child
    }
    events[i] = last
    return first
  }
}

/** A timer by a machine's monotonic clock is due when this much less is left: times are fractions. */
const ROUNDING_MILLIS = 1e-6

/**
 * The machine of a process: it can be paused, it can be suspended, and it can crash. While it is suspended, its monotonic clock
 * and its timers stand still; the wall clock goes on.
 */
export class Machine {
  readonly world: World
  readonly clock: Clock.Clock
  readonly context: Context.Context<never>
  /** When its timers are due, by its monotonic clock. */
  readonly timers = new Set<{ readonly due: number; readonly order: number }>()
  /** When it was last resumed. */
  resumedAt = -Infinity
  /** When it last woke up from being suspended. */
  wokeAt = -Infinity
  /** Whether it was handed nothing late, because nothing came while it was paused or suspended. */
  isPunctual = true
  isPaused = false
  isDead = false
  /** What is drawn at random, from 0 to 1, where that is not left to chance. */
  draw = 0.5
  #suspendedAt: number | undefined = undefined
  #sleptMillis = 0
  /** Timers that were due while it was suspended: they go on with the time that they had left. */
  #asleep: Array<() => void> = []
  #waiting: Array<() => void> = []

  /** `skew`: how far its wall clock is off. `isEven`: nothing is left to chance (`draw`), and clocks begin alike. */
  constructor(world: World, seed: number, skew: number, isEven = false) {
    this.world = world
    this.clock = clockOf(
      () => this.#awakeMillis + 1e6 + (isEven ? 0 : seed % 1000),
      () => world.now + 1.7e12 + skew,
      (millis, run) => this.#after(millis, run)
    )
    const rng = new Rng(seed)
    this.context = Context.make(Clock.Clock, this.clock).pipe(
      Context.add(Scheduler.Scheduler, world.scheduler),
      Context.add(Random.Random, isEven ? { nextDoubleUnsafe: () => this.draw, nextIntUnsafe: () => 0 } : rng),
      Context.add(
        IdSource,
        () => Array.from({ length: 3 }, () => rng.nextDoubleUnsafe().toString(36).slice(2)).join("")
      ),
      Context.add(References.MinimumLogLevel, "None")
    )
  }

  get #awakeMillis(): number {
    return (this.#suspendedAt ?? this.world.now) - this.#sleptMillis
  }

  #after(millis: number, run: () => void): () => void {
    const due = this.#awakeMillis + millis
    const timer = { due, order: this.world.stamp() }
    this.timers.add(timer)
    let isCancelled = false
    const arm = (): void => {
      this.world.after(due - this.#awakeMillis, () => {
        if (isCancelled) return
        if (due - this.#awakeMillis < ROUNDING_MILLIS) {
          this.timers.delete(timer)
          this.deliver(run)
        } else if (this.#suspendedAt === undefined) arm()
        else this.#asleep.push(arm)
      })
    }
    arm()
    return () => {
      isCancelled = true
      this.timers.delete(timer)
    }
  }

  /** Delivers a timer, an answer or a call. A paused machine gets it when it is resumed. */
  deliver(run: () => void): void {
    if (this.isDead) return
    if (this.isPaused) this.#waiting.push(run)
    else run()
  }

  pause(): void {
    this.isPaused = true
  }

  suspend(): void {
    this.isPaused = true
    this.#suspendedAt ??= this.world.now
  }

  /** Resumes the machine. It gets everything that was delivered meanwhile at once, in order or in reverse. */
  resume(inReverse = false): void {
    if (!this.isPaused) return
    this.isPaused = false
    this.resumedAt = this.world.now
    if (this.#suspendedAt !== undefined) {
      this.#sleptMillis += this.world.now - this.#suspendedAt
      this.#suspendedAt = undefined
      this.wokeAt = this.world.now
      for (const arm of this.#asleep.splice(0)) arm()
    }
    const waiting = inReverse ? this.#waiting.reverse() : this.#waiting
    this.#waiting = []
    if (waiting.length > 0) this.isPunctual = false
    for (const run of waiting) {
      run()
      this.world.drain()
    }
  }

  /** Stops for good, and sends no last reports. */
  crash(): void {
    this.isDead = true
    this.#waiting = []
  }

  fork<A, E, R>(effect: Effect.Effect<A, E, R>, context: Context.Context<R>): Fiber.Fiber<A, E> {
    const fiber = Effect.runForkWith(Context.merge(this.context, context) as Context.Context<R>)(effect)
    this.world.drain()
    return fiber
  }
}

const clockOf = (
  monotonic: () => number,
  wall: () => number,
  after: (millis: number, run: () => void) => () => void
): Clock.Clock => {
  const nanos = (millis: number): bigint => BigInt(Math.round(millis * 1e6))
  return {
    currentTimeMillisUnsafe: wall,
    currentTimeMillis: Effect.sync(wall),
    currentTimeNanosUnsafe: () => nanos(wall()),
    currentTimeNanos: Effect.sync(() => nanos(wall())),
    monotonicTimeNanosUnsafe: () => nanos(monotonic()),
    monotonicTimeNanos: Effect.sync(() => nanos(monotonic())),
    sleep: (duration) => {
      const millis = Duration.toMillis(duration)
      if (millis === Infinity) return Effect.never
      // At least a microsecond, because a shorter sleep added to a large `now` could leave it unchanged and never end.
      const micros = Math.max(1, Math.ceil(millis * 1000))
      return Effect.callback((resume) => Effect.sync(after(micros / 1000, () => resume(Effect.void))))
    }
  }
}
