/** The statements that an effect sends, by the spans of Effect's SQL client. */
import { Effect, Tracer } from "effect"

/** A tracer that tells the text of every statement that runs. */
const telling = (tell: (statement: string) => void) =>
  Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      return Object.assign(Object.create(span), {
        attribute: (key: string, value: unknown) => {
          if (key === "db.query.text") tell(String(value))
          span.attribute(key, value)
        }
      })
    }
  })

export const withStatements = (tell: (statement: string) => void) => Effect.withTracer(telling(tell))

/** The result of an effect, with the statements that it has sent, in their order. */
export const statementsOf = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<{ readonly result: A; readonly statements: ReadonlyArray<string> }, E, R> =>
  Effect.suspend(() => {
    const statements: Array<string> = []
    return Effect.map(
      withStatements((statement) => statements.push(statement))(effect),
      (result) => ({ result, statements })
    )
  })
