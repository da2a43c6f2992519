/** Milliseconds to wait before the nth attempt (from 0): 0.5 s doubling to 15 s, spread so that viewers do not march in step. */
export function backoff(attempt, random = Math.random()) {
  return Math.min(15000, 500 * 2 ** Math.min(attempt, 10)) * (0.75 + 0.5 * random);
}
