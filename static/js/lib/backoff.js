/**
 * Milliseconds to wait before the nth attempt (from 0): 0.5 s, doubled per attempt up to 15 s, with ±25% jitter so
 * that clients do not reconnect at once.
 */
export function backoff(attempt, random = Math.random()) {
  return Math.min(15000, 500 * 2 ** Math.min(attempt, 10)) * (0.75 + 0.5 * random);
}
