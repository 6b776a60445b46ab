/**
 * Requests of one key, one run at a time: what is asked for while a run goes on is done by the next, all of it in one. It is
 * how one process does not race itself, and pays for one write where many callers wait.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

type F<D, A> = (value: D | undefined, now: number) => readonly [result: A, value: D | undefined]

/** As `Modify` of a storage's documents. */
type Modify<D, E> = <A>(key: string, f: F<D, A>) => Effect.Effect<A, E>

interface Request<D, E> {
  readonly f: F<D, unknown>
  readonly done: Deferred.Deferred<unknown, E>
}

/**
 * The same, with the requests of a key combined. A run is never interrupted: whoever asked and goes away has been asking for
 * all of it, or, while it waits, for nothing. Where an error `isOwn`, which may be due to one request alone, each of its run is
 * tried by itself.
 */
export const combined = <D, E>(modify: Modify<D, E>, isOwn: (error: E) => boolean): Modify<D, E> => {
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
        if (Exit.isFailure(exit) && requests.length > 1 && exit.cause.reasons.some(isOwnReason)) {
          return Effect.forEach(requests, (request) => run(key, [request]), { discard: true })
        }
        return Effect.sync(() => {
          for (const [index, { done }] of requests.entries()) {
            Deferred.doneUnsafe(done, Exit.map(exit, (results) => results[index]))
          }
        })
      })
    )

  const isOwnReason = (reason: Cause.Reason<E>) => Cause.isFailReason(reason) && isOwn(reason.error)

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
      const answer = restore(Deferred.await(request.done)).pipe(
        Effect.onInterrupt(() =>
          Effect.sync(() => {
            const index = queue.indexOf(request)
            if (index >= 0) queue.splice(index, 1)
          })
        )
      ) as Effect.Effect<A, E>
      if (queues.has(key)) return answer
      queues.set(key, queue)
      return Effect.andThen(Effect.forkDetach(work(key, queue), { startImmediately: true }), answer)
    })
}
