// For tests that wait for a time-out: every timer runs out 20 times as fast.
const setTimeout = globalThis.setTimeout;
globalThis.setTimeout = (callback, milliseconds, ...given) => setTimeout(callback, milliseconds / 20, ...given);
