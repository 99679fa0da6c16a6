// The figures as a picture: a panel for each packet size, a pair of bars for each mode.

import { medianOf } from '../statistics.mjs';
import { select } from './document.mjs';
import { compared, modes, packets } from './modes.mjs';

/** @typedef {import('./main.mjs').Entry} Entry */

const WIDTH = 920;
const LABEL = 340;
const BAR = 10;
const ROW = 2 * BAR + 8;
const PANEL_HEAD = 44;
const SCALE = WIDTH - LABEL - 90;

/** @param {Entry[]} entries */
export function plot(entries) {
  /** @param {number} packet @param {string} mode @param {Entry['by']} by */
  const median = (packet, mode, by) => {
    const found = select(entries, compared(packet), mode, by);
    return found.length === 0
      ? undefined
      : medianOf(found.map((entry) => entry.bytesPerSecond / 1e6));
  };
  const parts = [];
  let y = 56;
  for (const packet of packets) {
    const rows = modes.map((mode) => ({
      mode,
      ours: median(packet, mode.name, 'millrace'),
      theirs: median(packet, mode.name, 'liburing'),
    }));
    const most = Math.max(1, ...rows.flatMap(({ ours = 0, theirs = 0 }) => [ours, theirs]));
    parts.push(
      `<text class="text head" x="20" y="${y + 20}">Packets of ${packet.toLocaleString('en')} B, MB/s</text>`,
    );
    y += PANEL_HEAD - 12;
    for (const { mode, ours, theirs } of rows) {
      parts.push(
        `<text class="text" x="${LABEL - 10}" y="${y + BAR + 5}" text-anchor="end">${mode.receive.replaceAll('`', '')} → ${mode.send.replaceAll('`', '')}</text>`,
        ...bar(y, ours, most, 'ours'),
        ...bar(y + BAR, theirs, most, 'theirs'),
      );
      y += ROW;
    }
    y += 16;
  }
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" role="img" aria-labelledby="title description" font-family="system-ui, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="13">`,
    '<title id="title">A proxy on one core, by how it receives and sends</title>',
    '<desc id="description">MB per second of each mode, for three sizes of packets: the bars of Millrace\'s drivers beside those of liburing\'s proxy. The figures stand in the tables of docs/rings.md.</desc>',
    '<style>',
    '.paper { fill: #ffffff; } .text { fill: #1f2328; } .note { fill: #57606a; font-size: 11px; } .head { font-weight: 600; }',
    '.ours { fill: #0969da; } .theirs { fill: #afb8c1; }',
    '@media (prefers-color-scheme: dark) { .paper { fill: #0d1117; } .text { fill: #e6edf3; } .note { fill: #9198a1; } .ours { fill: #58a6ff; } .theirs { fill: #57606a; } }',
    '</style>',
    `<rect class="paper" width="${WIDTH}" height="${y}" rx="10"/>`,
    '<rect class="ours" x="20" y="20" width="24" height="12"/><text class="text" x="52" y="31">Millrace</text>',
    '<rect class="theirs" x="130" y="20" width="24" height="12"/><text class="text" x="162" y="31">liburing\'s examples/proxy, where it has the mode</text>',
    ...parts,
    '</svg>',
  ].join('\n')}\n`;
}

/**
 * @param {number} y
 * @param {number | undefined} value
 * @param {number} most
 * @param {'ours' | 'theirs'} by
 */
function bar(y, value, most, by) {
  if (value === undefined) return [];
  const width = ((value / most) * SCALE).toFixed(1);
  return [
    `<rect class="${by}" x="${LABEL}" y="${y}" width="${width}" height="${BAR - 1}"/>`,
    `<text class="note" x="${(LABEL + Number(width) + 6).toFixed(1)}" y="${y + BAR - 1}">${Math.round(value).toLocaleString('en')}</text>`,
  ];
}
