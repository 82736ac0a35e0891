// A tune as it sounds: which note begins when and lasts how long, repeats, ties, accidentals and
// grace notes worked out by abcjs. Times are in whole notes, as written. Knows no sound and no page.

/** Where a tune has no tempo (`Q:`): a quarter note has 160 a minute, a dotted one 107. */
const WHOLES_A_MINUTE = 40;
/** Seconds that a whole note may take; a network writes any tempo. */
const FASTEST = 0.4;
const SLOWEST = 12;
/** Seconds; a rest may be written to last for years. */
export const LONGEST_PLAYED = 600;

/**
 * @typedef {object} Note
 * @property {number} start in whole notes
 * @property {number} end in whole notes
 * @property {number} pitch as in MIDI: 60 is middle C
 * @property {number} volume of 127
 * @property {number} voice
 * @property {number} at where it stands in the ABC
 */

/**
 * @param tune as abcjs has parsed it
 * @returns {{notes: Note[], programs: number[], whole: number, seconds: number,
 *   meter: {num: number, den: number}, key: {sharps: number, isMinor: boolean}}}
 *   `whole` are seconds of a whole note, `programs` the instrument of each voice
 */
export function performed(tune) {
  const beat = tune.getBeatLength();
  const { tempo, tracks } = tune.setUpAudio({ defaultQpm: WHOLES_A_MINUTE / beat });
  const whole = within(60 / (tempo * beat), FASTEST, SLOWEST);
  const last = LONGEST_PLAYED / whole;
  const notes = tracks
    .flatMap((track, voice) => track.filter(({ cmd }) => cmd === "note").map(noteOf(voice)))
    .filter((note) => isNote(note) && note.start < last)
    .map((note) => ({ ...note, end: Math.min(note.end, last) }))
    .toSorted((a, b) => a.start - b.start || a.pitch - b.pitch);
  const end = notes.reduce((latest, note) => Math.max(latest, note.end), 0);
  return {
    notes,
    programs: tracks.map((track) => track.find(({ cmd }) => cmd === "program")?.instrument ?? 0),
    whole,
    seconds: end * whole,
    meter: tune.getMeterFraction(),
    key: keyOf(tune.getKeySignature()),
  };
}

const within = (value, low, high) => (value >= low ? Math.min(value, high) : low);

const noteOf =
  (voice) =>
  ({ start, duration, pitch, volume, startChar }) => ({
    start,
    end: start + duration,
    pitch,
    volume: within(Math.round(volume), 1, 127),
    voice,
    at: startChar,
  });

const isNote = ({ start, end, pitch }) =>
  start >= 0 && end > start && Number.isInteger(pitch) && pitch >= 0 && pitch < 128;

function keyOf({ accidentals = [], mode = "" } = {}) {
  const of = (kind) => accidentals.filter(({ acc }) => acc === kind).length;
  return { sharps: of("sharp") - of("flat"), isMinor: mode === "m" };
}
