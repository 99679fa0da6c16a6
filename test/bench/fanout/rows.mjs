// What is measured: one publisher, and subscribers that have a connection each.

/**
 * @typedef {object} FanoutRow
 * @property {string} name short, for the command line and the JSON
 * @property {string} title for people
 * @property {number} size bytes of a payload
 * @property {number} subscribers
 * @property {number} window events that may be on their way to a subscriber before its publisher waits
 * @property {number} batch events in the body of one PublishStream
 * @property {boolean} [quick] part of `--quick`
 * @property {boolean} [drivers] measured on every driver, also those for older kernels
 */

/** With these a nats-server spends least for a delivery; fewer cost it up to half more. */
const WINDOWS = { 128: 4096, 4096: 256 };

/**
 * @param {keyof typeof WINDOWS} size
 * @param {number} subscribers
 * @param {Partial<FanoutRow>} [rest]
 * @returns {FanoutRow}
 */
const row = (size, subscribers, rest) => ({
  name: `fanout-${size}-${subscribers}`,
  title: `${size === 128 ? '128 B' : '4 KiB'}, 1 → ${subscribers.toLocaleString('en')}`,
  size,
  subscribers,
  window: WINDOWS[size],
  // A body to many subscribers is long work for the slowest of the peers.
  batch: subscribers > 100 ? 100 : 1000,
  ...rest,
});

export const fanoutRows = [
  row(128, 10),
  row(128, 100, { quick: true, drivers: true }),
  row(128, 1000),
  row(4096, 10),
  row(4096, 100, { drivers: true }),
  row(4096, 1000),
];

/** The rows that a word of the command line names: one, or all. @param {string} name */
export const fanoutRowsNamed = (name) =>
  fanoutRows.filter((candidate) => name === 'fanout' || name === candidate.name);
