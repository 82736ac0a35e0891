// Plays the notes of a tune with the browser's own oscillators. Knows no ABC and no score.

/** Seconds for which notes are handed to the browser in advance, and milliseconds between. A page
 * in the background wakes up once a second. */
const AHEAD = 2.5;
const BETWEEN = 400;
/** Seconds before the first note, for the browser to get ready. */
const LEAD = 0.08;
/** Seconds in which a note swells and fades: without them it clicks. */
const ATTACK = 0.012;
const RELEASE = 0.06;
/** Of the loudest note; several may sound together. */
const LOUDEST = 0.22;
/** Partials of the tone, the first one the note itself: something between a flute and an accordion. */
const PARTIALS = [0, 1, 0.35, 0.22, 0.1, 0.05, 0.03];

let context = null;
let tone = null;

export class Player {
  #notes;
  #whole;
  #ended;
  /** Seconds into the tune, while it does not play. */
  #at = 0;
  /** Of the browser's clock: when the tune's beginning was, or would have been. */
  #began = 0;
  #next = 0;
  #sounding = new Set();
  #timer = 0;

  /**
   * @param {{notes: object[], whole: number, seconds: number}} performance
   * @param {() => void} ended - called when the last note has ended
   */
  constructor({ notes, whole, seconds }, ended) {
    this.#notes = notes;
    this.#whole = whole;
    this.seconds = seconds;
    this.#ended = ended;
  }

  get isPlaying() {
    return this.#timer !== 0;
  }

  /** Seconds into the tune. */
  get position() {
    if (!this.isPlaying) return this.#at;
    return Math.min(this.seconds, Math.max(0, context.currentTime - this.#began));
  }

  /** The index of the note that sounds, or sounded last; -1 before the first. */
  get current() {
    const now = this.position / this.#whole;
    return this.#notes.findLastIndex(({ start }) => start <= now + 1e-6);
  }

  /** Resolves once it plays; a browser lets it begin only when a person has asked for it. */
  async play() {
    if (this.isPlaying) return;
    context ??= new AudioContext();
    await context.resume();
    if (this.isPlaying) return;
    if (this.#at >= this.seconds) this.#at = 0;
    this.#began = context.currentTime + LEAD - this.#at;
    const from = this.#at / this.#whole;
    this.#next = this.#notes.findIndex(({ end }) => end > from + 1e-6);
    this.#timer = setInterval(() => this.#advance(), BETWEEN);
    this.#advance();
  }

  pause() {
    if (!this.isPlaying) return;
    this.#at = this.position;
    this.#halt();
  }

  /** Goes to a second of the tune. */
  seek(seconds) {
    const { isPlaying } = this;
    if (isPlaying) this.#halt();
    this.#at = Math.min(this.seconds, Math.max(0, seconds));
    if (isPlaying) void this.play();
  }

  #halt() {
    clearInterval(this.#timer);
    this.#timer = 0;
    const now = context.currentTime;
    for (const { oscillator, gain } of this.#sounding) {
      gain.gain.cancelScheduledValues(now);
      gain.gain.setTargetAtTime(0, now, RELEASE / 4);
      oscillator.stop(now + RELEASE);
    }
    this.#sounding.clear();
  }

  /** Hands the browser the notes of the next seconds. */
  #advance() {
    const now = context.currentTime - this.#began;
    if (now >= this.seconds) {
      this.#halt();
      this.#at = 0;
      this.#ended();
      return;
    }
    for (; this.#next >= 0 && this.#next < this.#notes.length; this.#next += 1) {
      const note = this.#notes[this.#next];
      if (note.start * this.#whole > now + AHEAD) break;
      this.#sound(note, now);
    }
  }

  #sound({ start, end, pitch, volume }, now) {
    const begin = this.#began + Math.max(start * this.#whole, now);
    const stop = this.#began + end * this.#whole;
    if (stop <= begin) return;
    const loudness = LOUDEST * (volume / 127) ** 2;
    const oscillator = context.createOscillator();
    const gain = context.createGain();
    tone ??= context.createPeriodicWave(
      new Float32Array(PARTIALS.length),
      Float32Array.from(PARTIALS),
    );
    oscillator.setPeriodicWave(tone);
    oscillator.frequency.value = 440 * 2 ** ((pitch - 69) / 12);
    gain.gain.setValueAtTime(0, begin);
    gain.gain.linearRampToValueAtTime(loudness, begin + ATTACK);
    gain.gain.setTargetAtTime(loudness / 2, begin + ATTACK, 0.4);
    gain.gain.setTargetAtTime(0, Math.max(begin + ATTACK, stop - RELEASE / 2), RELEASE / 3);
    oscillator.connect(gain).connect(context.destination);
    oscillator.start(begin);
    oscillator.stop(stop + RELEASE);
    const sounding = { oscillator, gain };
    this.#sounding.add(sounding);
    oscillator.addEventListener("ended", () => this.#sounding.delete(sounding));
  }
}
