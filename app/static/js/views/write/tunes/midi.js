// A tune as a Standard MIDI File of type 0: all voices in one track, each on a channel of its own.
// Follows "Standard MIDI Files 1.0" (RP-001). Knows no ABC.

const TICKS_PER_QUARTER = 480;
const TICKS_PER_WHOLE = 4 * TICKS_PER_QUARTER;
/** Channel 10 is for drums; with channels counted from 0 it is 9. */
const CHANNELS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15];
/** Three bytes hold a tempo. */
const LONGEST_QUARTER = 0xffffff;

/**
 * @param {string} title
 * @param performance as `performed` returns it
 * @returns {Uint8Array}
 */
export function midiFile(title, { notes, programs, whole, meter, key }) {
  const channel = (voice) => CHANNELS[voice % CHANNELS.length];
  const microseconds = Math.min(LONGEST_QUARTER, Math.round((whole / 4) * 1e6));
  const head = [
    meta(0x03, [...new TextEncoder().encode(title)]),
    meta(0x51, bytesOf(microseconds, 3)),
    meta(0x58, [meter.num & 0xff, Math.round(Math.log2(meter.den)) & 0xff, 24, 8]),
    meta(0x59, [signatureOf(key.sharps) & 0xff, key.isMinor ? 1 : 0]),
    ...programs.map((program, voice) => [0xc0 | channel(voice), program & 0x7f]),
  ].map((bytes) => ({ tick: 0, bytes }));
  const events = notes.flatMap(({ start, end, pitch, volume, voice }) => [
    { tick: tickOf(start), bytes: [0x90 | channel(voice), pitch, volume], isOn: true },
    { tick: tickOf(end), bytes: [0x80 | channel(voice), pitch, 0], isOn: false },
  ]);
  // A note that ends when the same one begins would else end that one.
  events.sort((a, b) => a.tick - b.tick || Number(a.isOn) - Number(b.isOn));
  const track = trackOf([...head, ...events]);
  return Uint8Array.from([
    ...chunk("MThd", [...bytesOf(0, 2), ...bytesOf(1, 2), ...bytesOf(TICKS_PER_QUARTER, 2)]),
    ...chunk("MTrk", track),
  ]);
}

const tickOf = (wholes) => Math.round(wholes * TICKS_PER_WHOLE);

/** Sharps, or flats below zero; as many as there are keys. */
const signatureOf = (sharps) => Math.max(-7, Math.min(7, sharps));

function trackOf(events) {
  let now = 0;
  const bytes = [];
  for (const { tick, bytes: event } of events) {
    for (const byte of lengthOf(tick - now)) bytes.push(byte);
    for (const byte of event) bytes.push(byte);
    now = tick;
  }
  return [...bytes, 0, ...meta(0x2f, [])];
}

const meta = (type, data) => [0xff, type, ...lengthOf(data.length), ...data];

function* chunk(name, data) {
  yield* new TextEncoder().encode(name);
  yield* bytesOf(data.length, 4);
  yield* data;
}

/** A number in `count` bytes, the highest first. */
const bytesOf = (value, count) =>
  Array.from({ length: count }, (_, i) => Math.floor(value / 256 ** (count - 1 - i)) % 256);

/** A number of any length: 7 bits a byte, the highest bit set in all but the last. */
export function lengthOf(value) {
  const bytes = [value & 0x7f];
  for (let rest = value >>> 7; rest; rest >>>= 7) bytes.unshift((rest & 0x7f) | 0x80);
  return bytes;
}
