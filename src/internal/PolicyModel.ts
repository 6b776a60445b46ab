/** The model of policies, apart from their schemas, because the checks that the schemas call need it, too. */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Schedule from "effect/Schedule"
import type { Outcome } from "../Outcome.ts"
import type { Trip } from "./TripModel.ts"

/**
 * Classifies the exit of a call: returns an `Outcome`, or an effect that succeeds with one.
 *
 * It is called for every exit, except one that is only interruption. If it throws or dies, the outcome is `Ignored`,
 * the defect is logged at `References.UnhandledLogLevel`, and the call keeps its own exit.
 *
 * @category models
 * @since 0.1.0
 */
export type Classify<A, E, R = never> = (exit: Exit.Exit<A, E>) => Outcome | Effect.Effect<Outcome, never, R>

/** A method, because the parameters of methods are bivariant: a policy is written apart from the calls that it classifies. */
interface Classifier<R> {
  classify(exit: Exit.Exit<unknown, unknown>): ReturnType<Classify<unknown, unknown, R>>
}

/**
 * How an open circuit tests whether its dependency has recovered: some calls run as probes, and the others are rejected.
 * Counts are whole numbers of at least 1.
 *
 * A probe runs as any call does. Without a timeout it runs in its caller's fiber, for as long as it takes, and its outcome
 * counts.
 *
 * @category models
 * @since 0.1.0
 */
export interface HalfOpen {
  /** How many places for probes the whole fleet has. A probe holds one until it ends, or for `lease`. Default 1. */
  readonly probes?: number | undefined
  /**
   * How many probes, of any instances, must succeed before the circuit closes; one failure reopens it. Default 1. Not besides
   * `sample`.
   */
  readonly successes?: number | undefined
  /** Judges a half-open circuit by the rate of failures among several probes, instead of by the first failure. Default: none. */
  readonly sample?: Sample | undefined
  /**
   * How long a probe holds its place. After that another probe may run beside it, so that a probe that hangs, or whose
   * instance has died, cannot keep the circuit half-open. It interrupts nothing and counts as nothing: a probe that takes
   * longer still decides when it ends, unless the circuit has changed since. Default: the probe's timeout + 1 second, or
   * 30 seconds without a timeout.
   */
  readonly lease?: Duration.Input | undefined
  /** The timeout of a probe, instead of the policy's. Adds `BreakerTimeoutError` to the error type. */
  readonly timeout?: Duration.Input | undefined
  /**
   * For this long after closing, a growing share of the calls is admitted, beginning with a tenth. Default: no ramp.
   *
   * It begins when the fleet's circuit closes. So all instances admit the same share at a time, and together that share of all calls,
   * whenever they hear of it, and also one that starts meanwhile. An instance that closed by itself while the storage was away has a
   * ramp of its own.
   */
  readonly ramp?: Duration.Input | undefined
}

/**
 * A sample of probes, of any instances, that decides whether a half-open circuit closes. Once `calls` of them have succeeded or
 * failed, the circuit closes if the share of failures is below `failureRate`, and else reopens. It does so sooner where the
 * remaining probes cannot change that: of `{ calls: 10, failureRate: 0.3 }` the third failure reopens and the eighth success closes.
 *
 * As many probes run at once as `probes` says. Ignored probes are not in the sample. The `retryAfter` of a probe that fails and does
 * not reopen the circuit holds the next probes back.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sample {
  /** A whole number of at least 1. Default 10. */
  readonly calls?: number | undefined
  /** Above 0 and up to 1. Default 0.5. */
  readonly failureRate?: number | undefined
}

/**
 * Sheds a share of the calls while the circuit is closed, instead of all or none: what Google's SRE book calls client-side throttling.
 *
 * Of the requests of the last `within`, those that were shed included, some were accepted: they succeeded. The share that is shed is
 * `(requests - k * accepted) / (requests + 1)`, at least 0 and at most `max`. So `k` calls run for each one that is accepted: a
 * dependency that can take 100 calls a second is asked for `k * 100`, however many are wanted.
 *
 * An instance judges by its own requests, beside which as many of the fleet's weigh as `minimumCalls` says, where evidence is `pooled`.
 * So an instance with few calls sheds as the fleet does, and where one instance alone fails, that one sheds. It is drawn for each call,
 * without I/O. A call that is shed fails with `BreakerOpenError`, whose `state` is `Throttled`. It is in no window of `trip`, so
 * the circuit can shed where some calls fail, and open where nearly all do.
 *
 * @category models
 * @since 0.1.0
 */
export interface Throttle {
  /** How many calls run for each accepted one, from 1 to 1000. Default 2: nothing is shed while no more than half of them fail. */
  readonly k?: number | undefined
  /** Default 2 minutes. A circuit whose dependency has recovered sheds for about as long. */
  readonly within?: Duration.Input | undefined
  /** Of fewer requests nothing is concluded. A whole number of at least 1; default 20. */
  readonly minimumCalls?: number | undefined
  /** The largest share that is shed, so that some calls keep asking. In [0, 1]; default 0.9. With 0 nothing is shed. */
  readonly max?: number | undefined
}

/**
 * How fresh the fleet's view must be before a call runs.
 *
 * - `local`: any view will do. An instance learns of another's change after one push or one `syncEvery`.
 * - `{ maxAge }`: a call first loads the fleet's view if the present one was requested longer ago than this.
 * - `strict`: every call loads the view first, and returns once its outcome is recorded. A call that arrives after a
 *   trip was committed is rejected, as long as the storage answers and keeps what it acknowledged.
 *
 * Calls that wait at the same time share a request. Each waits for its view at most for the storage's deadline of 1
 * second, whatever is in flight, and not at all while the storage is away, which it is after two failed requests in a
 * row. A `strict` call waits for its outcome's report at most as long, and not at all if its view was not loaded.
 *
 * @category models
 * @since 0.1.0
 */
export type Consistency = "local" | "strict" | { readonly maxAge: Duration.Input }

/**
 * A policy as plain data. Every field is optional. It can be decoded from JSON, where a duration is a number of
 * milliseconds or a text such as `"30 seconds"`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Data {
  /** When a closed circuit opens. Default: 5 consecutive failures. */
  readonly trip?: Trip | undefined
  /** How long it stays open. Default 60 seconds, or `maxOpenFor` if that is shorter. */
  readonly openFor?: Duration.Input | undefined
  /**
   * The upper limit of an open time, for a schedule and for `retryAfter` hints. Default 1 hour, or `openFor` if longer.
   */
  readonly maxOpenFor?: Duration.Input | undefined
  readonly halfOpen?: HalfOpen | undefined
  /** Sheds a share of the calls while the circuit is closed. `{}` has all defaults. Default: none. */
  readonly throttle?: Throttle | undefined
  /**
   * After this long the call is interrupted, and fails with `BreakerTimeoutError` once its finalizers have run.
   * Default: no timeout.
   *
   * A call with a timeout runs in a fiber of its own, in every state of the circuit. So it is interrupted also where its
   * caller is uninterruptible, and the fibers that it forks as its children end with it. An uninterruptible region of the
   * call itself runs to its end.
   */
  readonly timeout?: Duration.Input | undefined
  /**
   * How many calls may run at once within their timeout. A call beyond the limit fails with `BulkheadFullError`, which is
   * not evidence. Default: no limit.
   *
   * A call frees its place when it ends or times out, so calls that ignore their timeout keep no others out. There may
   * be more calls under way than this: `concurrent` in the snapshot has their number. Without a `timeout`, a call that
   * hangs keeps its place.
   */
  readonly maxConcurrent?: number | undefined
  /** How fresh the fleet's view must be before a call runs. Default `local`. */
  readonly consistency?: Consistency | undefined
  /**
   * Whose outcomes open the circuit for the fleet. `pooled`: the outcomes of all instances together, once they have
   * been tripping for one `syncEvery`. `any`: the outcomes of any one instance, at once. An instance that trips on its
   * own evidence rejects its own calls either way. Default: `pooled` on a storage that hosts share, else `any`; always
   * `any` with `lastCalls`, which cannot be pooled. With `pooled`, a breaker dies with a `RangeError` when it is made if
   * a window of `trip` is longer than the storage's idle time.
   */
  readonly evidence?: "pooled" | "any" | undefined
  /**
   * The outcome of a call when its `consistency` requires a request to the storage and that request fails. `allow`
   * (the default): the instance decides on its own view. `fail`: the call fails with `StorageError`, which is added to
   * the error type. A call that has run never fails because of this.
   */
  readonly onStorageError?: "allow" | "fail" | undefined
  /**
   * `enforce` (the default): calls are rejected as the policy says. `metricsOnly`: every call runs, within its timeout, and is
   * recorded. Where the circuit would have opened, a transition from `Closed` to `Closed` is published. What `throttle` would have
   * shed, the metrics count as unenforced. Use it to begin with.
   *
   * It applies from before the first call, to each key, on every instance that has this policy. Such an instance never opens the
   * circuit for the fleet, takes no probes, and admits calls through a circuit that others have opened. Its calls wait for the
   * fleet's view as they would when enforced, but no call fails because of the storage.
   *
   * If the reference `Breaker.Enforcement` is set, too, the weaker of both applies: `bypass` before `metricsOnly` before `enforce`.
   * An operator's `ForcedOpen` rejects calls under the policy's `metricsOnly`, and not under that of the reference.
   */
  readonly enforcement?: "enforce" | "metricsOnly" | undefined
  /**
   * At this share of a threshold the event `Approaching` is published, once for each approach. In (0, 1]; default 0.8, and `false`
   * for never. An approach is below 1, because at 1 the circuit opens, so 1 is never, too.
   */
  readonly approachAt?: number | false | undefined
  /**
   * The interval between reports to the storage, which also fetch the fleet's view; at least 10 ms. Circuits in use
   * with the same interval share a request. A failure is reported within 50 ms. Default 1 second.
   *
   * A breaker dies with a `RangeError` when it is made if this is longer than the storage's idle time, or, with `pooled`
   * evidence, than the shortest window of `trip`.
   */
  readonly syncEvery?: Duration.Input | undefined
  /**
   * How often healthy circuits are reported. `quiet` (the default), where the storage has bells: every 10 to 30 seconds, and a
   * failure at once if the fleet could open on it. Then all instances report once per `syncEvery`, until the fleet has opened or
   * is healthy. `every interval`: each circuit in use once per `syncEvery`, so that the storage's counts are never older.
   *
   * With either the fleet opens on the same evidence, because whoever suspects that it trips calls for the counts of all, and
   * all answer. Memory, Redis and SQL have bells, and so have fallbacks, mirrors and migrations of these. Elsewhere, and under
   * `strict`, circuits in use are reported every interval, which a Warn says if the policy asks for `quiet`. An instance without
   * bells does not call for the counts of others: where such instances share circuits with others that have bells, set
   * `every interval` for all of them.
   */
  readonly reports?: "quiet" | "every interval" | undefined
}

/**
 * A policy: `Data`, and the two parts that are not data.
 *
 * @category models
 * @since 0.1.0
 */
export interface Policy<R = any> extends Omit<Data, "openFor"> {
  /**
   * How long the circuit stays open: a duration, or a `Schedule` whose n-th delay is taken for the n-th consecutive
   * opening. The last delay repeats. The count of openings is reset once the circuit stayed closed as long as its last
   * opening lasted.
   *
   * A schedule is stepped without waiting. If it is asynchronous or dies, the circuit opens for 60 seconds, and the
   * failure is logged at `References.UnhandledLogLevel`.
   */
  readonly openFor?: Duration.Input | Schedule.Schedule<unknown, number> | undefined
  /**
   * Classifies calls, unless `wrapWith` gives a `classify` of its own. Default: `Outcome.fromExit`.
   *
   * It may be written for the exits of certain calls, such as `HttpClient.circuitBreakerClassifier`, if all calls of the breaker are of
   * that kind. The compiler does not check that.
   */
  readonly classify?: Classifier<R>["classify"] | undefined
}

/** The action of a keyed breaker for a new key at its capacity. */
export type Overflow = "evictIdle" | "shareOne" | "passThrough"
