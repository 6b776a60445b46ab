/**
 * Coalesces requests by key. At most one run is in progress per key; the requests that arrive meanwhile are done
 * together by the next run. So a process does not race itself, and many waiting callers cost one write.
 *
 * Invariant: `queues` has a key exactly while a worker runs for it. The worker takes the whole queue for each run, and
 * deletes the key in the same step in which it finds the queue empty.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

type F<D, A> = (value: D | undefined, now: number) => readonly [result: A, value: D | undefined]

/** The shape of `Modify` in `Storage/Document.ts`. */
type Modify<D, E> = <A>(key: string, f: F<D, A>) => Effect.Effect<A, E>

interface Request<D, E> {
  readonly f: F<D, unknown>
  readonly done: Deferred.Deferred<unknown, E>
}

/**
 * `modify` with the requests of a key coalesced. A run is never interrupted: a caller that is interrupted withdraws its
 * request while that waits, and leaves it to complete once it runs.
 *
 * If a run of several requests fails with an error that one request alone may have caused (`isOfOneRequest`), each is
 * run by itself.
 */
export const coalesced = <D, E>(modify: Modify<D, E>, isOfOneRequest: (error: E) => boolean): Modify<D, E> => {
  const queues = new Map<string, Array<Request<D, E>>>()

  const run = (key: string, requests: ReadonlyArray<Request<D, E>>): Effect.Effect<void> =>
    modify(key, (stored, now) => {
      let value = stored
      const results = requests.map(({ f }) => {
        const [result, next] = f(value, now)
        value = next
        return result
      })
      return [results, value]
    }).pipe(
      Effect.exit,
      Effect.flatMap((exit) => {
        if (Exit.isFailure(exit) && requests.length > 1 && isCauseOfOneRequest(exit.cause)) {
          return Effect.forEach(requests, (request) => run(key, [request]), { discard: true })
        }
        return Effect.sync(() => {
          for (const [index, { done }] of requests.entries()) {
            Deferred.doneUnsafe(done, Exit.map(exit, (results) => results[index]))
          }
        })
      })
    )

  const isCauseOfOneRequest = ({ reasons }: Cause.Cause<E>): boolean =>
    reasons.some((reason) => Cause.isFailReason(reason) && isOfOneRequest(reason.error))

  const work = (key: string, queue: Array<Request<D, E>>): Effect.Effect<void> =>
    Effect.whileLoop({
      while: () => queue.length > 0 || !queues.delete(key),
      body: () => run(key, queue.splice(0)),
      step: () => {}
    })

  return <A>(key: string, f: F<D, A>) =>
    Effect.uninterruptibleMask((restore) => {
      const request: Request<D, E> = { f, done: Deferred.makeUnsafe() }
      const queue = queues.get(key) ?? []
      queue.push(request)
      const withdraw = Effect.sync(() => {
        const index = queue.indexOf(request)
        if (index >= 0) queue.splice(index, 1)
      })
      const answer = Effect.onInterrupt(restore(Deferred.await(request.done)), () => withdraw) as Effect.Effect<A, E>
      if (queues.has(key)) return answer
      queues.set(key, queue)
      return Effect.andThen(Effect.forkDetach(work(key, queue), { startImmediately: true }), answer)
    })
}
