/** The breaker of this library that takes the old one's place. */
import { Breaker, Trip } from "../../src/index.ts"

export class Payments extends Breaker.Service<Payments>()("payments", {
  trip: Trip.consecutiveFailures(3),
  openFor: "300 millis"
}) {}
