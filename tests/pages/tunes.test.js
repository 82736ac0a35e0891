// Tunes in a text: what is ABC, where a tune ends, what is put right, how it sounds, and as MIDI.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { isAbc, LONGEST, repaired, tunesOf } from "../../app/static/js/views/write/tunes/abc.js";
import { signsOf, tied, unitOf } from "../../app/static/js/views/write/tunes/lengths.js";
import { unreadable } from "../../app/static/js/views/write/tunes/library.js";
import { lengthOf, midiFile } from "../../app/static/js/views/write/tunes/midi.js";
import { LONGEST_PLAYED, performed } from "../../app/static/js/views/write/tunes/performance.js";
import { clock, fileName, leftOut } from "../../app/static/js/views/write/tunes/tune.js";

const ABCJS = createRequire(import.meta.url)("../../app/static/vendor/abcjs/abcjs-basic-min.js");

const WALTZ = "X:1\nT:The Shuttle\nM:3/4\nL:1/4\nK:G\nGBd|g2d|BcA|G3|]";
const REEL = "X:2\nT:The Warp\nM:C|\nL:1/8\nK:D dorian\nd2fd Adfd|e2ge cege|d2fd Adfd|edce d4|]";
const JIG = "X:3\nT:The Weft\nM:6/8\nL:1/8\nK:Am\nABA c2e|dcB A3:|";

const whole = (source) => ({ source, isWhole: true });
const cut = (source) => ({ source, isWhole: false });
const play = (source) => performed(ABCJS.parseOnly(repaired(whole(source), 1).music)[0]);

test("ABC is told by its fields, or by its music", () => {
  for (const text of [WALTZ, "ABc dcA|B2G G3|\nABc dcA|G3 G3:|\n", `some words\n\n${REEL}`])
    assert.ok(isAbc(text), text);
});

test("other texts are not ABC", () => {
  const code = "static int f(int a)\n{\n\treturn a | b || c;\n}\n".repeat(9);
  const play = "BRUTUS:\nA cage! a bag, a bed | a face.\n\nK: I come.\nX: He fled.\n".repeat(9);
  const table = "| a | b |\n|---|---|\n| Ada | Bea |\n| Kim | Lou |\n";
  for (const text of ["", "\n\n", code, play, table, "ada\nabe\nbea\ngabe\n"])
    assert.ok(!isAbc(text), text);
});

test("each tune of a text is one, and the last may be unfinished", () => {
  const text = `d2 fed|\n\nno tune at all\n\n${WALTZ}\n${REEL}\n\n \nX:9\nT:Empty\n\n${JIG}`;
  assert.deepEqual(tunesOf(text), [whole("d2 fed|"), whole(WALTZ), whole(REEL), cut(JIG)]);
  assert.deepEqual(tunesOf(`${JIG}\n\n`), [whole(JIG)]);
  // Fields say that what follows is music, readable or not.
  assert.equal(tunesOf("M:3/4\nABq|").length, 1);
  assert.equal(tunesOf("M:3/4\n\nABq|").length, 0);
});

test("a good tune stays as it is", () => {
  for (const source of [WALTZ, REEL, JIG]) {
    const { abc, notes } = repaired(whole(source), 7);
    assert.deepEqual([abc, notes], [`${source}\n`, []]);
  }
  assert.equal(repaired(whole(WALTZ), 7).title, "The Shuttle");
  assert.ok(!repaired(whole(WALTZ), 7).music.includes("Shuttle"));
});

test("missing X and K are put in, where they belong", () => {
  const { abc, title, notes } = repaired(whole("T:Lost\nM:6/8\nABA c2e|dcB A3:|"), 7);
  assert.equal(abc, "X:7\nT:Lost\nM:6/8\nK:C\nABA c2e|dcB A3:|\n");
  assert.equal(title, "Lost");
  assert.deepEqual(notes, ["It has no key (K:); read in C major."]);
  const bare = repaired(whole("some words\nABA c2e|dcB A3:|"), 4);
  assert.equal(bare.abc, "X:4\nK:C\nABA c2e|dcB A3:|\n");
  assert.equal(bare.title, "Tune 4");
  // The key comes last, and music may be anything then.
  const late = repaired(whole("K:A mix % bright\nM:C\nX:three\nabq"), 3);
  assert.equal(late.abc, "X:3\nK:A mix\nM:C\nabq\n");
});

test("fields that make no sense are left out, and said", () => {
  const { abc, notes } = repaired(
    whole("X:1\nM:6/0\nL:eighth\nQ:0\nK:quite\nAB[M:7/]c[K:D]|\nM:nine\n%%abc-include x\nd|"),
    1,
  );
  assert.equal(abc, "X:1\nK:C\nABc[K:D]|\nd|\n");
  assert.equal(notes.length, 7);
  assert.ok(notes.includes("“M:6/0” makes no sense; left out."));
});

test("line ends of old ABC, and what was begun and not ended, are left out", () => {
  const bodyOf = (tune) => repaired(tune, 1).abc.split("K:C\n")[1];
  assert.equal(bodyOf(whole("X:1\nK:C\nABc|def|!\n!trill!g|]")), "ABc|def|\n!trill!g|]\n");
  for (const end of ['"A', "[ce", "{g", "!tri", "(3", "^", "|2", ""]) {
    const left = bodyOf(cut(`X:1\nK:C\nABc|def ${end}`)).trimEnd();
    assert.ok(["ABc|def", "ABc|def |"].includes(left), `${end}: ${left}`);
  }
  // An ending without notes is one that abcjs looks for in vain.
  assert.ok(play("X:1\nK:C\nABc|[1 def:|[2").notes.length);
});

test("a note that no sign stands for is tied together, and sounds the same", () => {
  const lengths = [1, 3, 5, 6, 7, 9, 14, 15, 42].map((length) => signsOf(length, 16).join("+"));
  const expected = ["1", "3", "4+1", "6", "7", "8+1", "14", "14+1", "16+16+8+2"];
  assert.deepEqual(lengths, expected);
  assert.equal(signsOf(99_999, 16), null);
  const line = '^C5 "A5"[G5c5]5 {c5}D,9/ z5|E5>F F>E5 !x5!g10-g|[M:5/4]';
  assert.equal(
    tied(line, 1 / 8),
    line.replace("^C5", "^C4-^C1").replace("z5", "z4z1").replace("g10", "g8-g2"),
  );
  const { notes } = play("X:1\nL:1/8\nM:C\nK:C\n^C5 D|");
  assert.deepEqual(
    notes.map(({ start, end }) => [start, end]),
    [
      [0, 0.625],
      [0.625, 0.75],
    ],
  );
});

test("the unit of a length is L's, or goes by the meter", () => {
  const units = [[["L", "1/4"]], [["L", "1"]], [["M", "2/4"]], [["M", "3/4"]], [["M", "C"]], []];
  assert.deepEqual(units.map(unitOf), [1 / 4, 1, 1 / 16, 1 / 8, 1 / 8, 1 / 8]);
});

test("a tune without an end is cut", () => {
  const { abc, notes } = repaired(whole(`X:1\nK:C\n${"ABcd|\n".repeat(9999)}`), 1);
  assert.ok(abc.length <= LONGEST + 9);
  assert.match(notes[0], /only its first 5,000 characters/);
});

test("a tune sounds as it is written", () => {
  const { notes, seconds, meter, key } = play(WALTZ);
  assert.deepEqual(
    notes.map(({ pitch }) => pitch),
    [67, 71, 74, 79, 74, 71, 72, 69, 67],
  );
  assert.deepEqual(
    notes.slice(2, 6).map(({ start, end }) => [start, end]),
    [
      [0.5, 0.75],
      [0.75, 1.25],
      [1.25, 1.5],
      [1.5, 1.75],
    ],
  );
  // 160 quarter notes a minute.
  assert.equal(seconds, (12 * 60) / 160);
  assert.deepEqual(
    [meter, key],
    [
      { num: 3, den: 4 },
      { sharps: 1, isMinor: false },
    ],
  );
  // The mark finds each note where it stands.
  const { music } = repaired(whole(WALTZ), 1);
  assert.deepEqual(
    notes.map(({ at }) => music[at]),
    [..."GBdgdBcAG"],
  );
});

test("repeats, endings, ties, keys and accidentals are played", () => {
  const pitches = (body, key = "C") =>
    play(`X:1\nL:1/4\nM:C\nK:${key}\n${body}`).notes.map(({ pitch }) => pitch);
  assert.deepEqual(pitches("|:CD|[1E:|[2F|]"), [60, 62, 64, 60, 62, 65]);
  assert.deepEqual(pitches("C-C D|"), [60, 62]);
  assert.deepEqual(pitches("F^GG|G|", "D"), [66, 68, 68, 67]);
  assert.deepEqual(pitches("[CEG]|"), [60, 64, 67]);
  const [one, two] = play("X:1\nL:1/8\nM:C\nK:C\n(3CDE F|").notes;
  assert.ok(Math.abs(one.end - two.start) < 1e-5 && Math.abs(two.start - 1 / 12) < 1e-5);
});

test("the tempo is the tune's, or a quiet one", () => {
  const secondsOf = (fields, body) => play(`X:1\n${fields}\nK:C\n${body}`).seconds;
  assert.equal(secondsOf("M:4/4\nL:1/4\nQ:1/4=60", "CDEF|"), 4);
  assert.equal(secondsOf("M:4/4\nL:1/8\nQ:1/2=60", "CDEF|"), 1);
  assert.equal(secondsOf("M:6/8\nL:1/8\nQ:3/8=60", "CDEFGA|"), 2);
  assert.equal(secondsOf("M:C|\nL:1/4", "CDEF|"), 1.5);
  // However wild, it stays within what one can hear.
  assert.ok(secondsOf("M:4/4\nL:1/4\nQ:1/4=999", "CDEF|") > 0.39);
  assert.ok(secondsOf("M:4/4\nL:1/4", "CDEF|A99999999|CDEF|") <= LONGEST_PLAYED);
});

// MIDI

/** Reads a file of type 0 by its specification; throws where it breaks it. */
function readMidi(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const name = (at) => String.fromCharCode(...bytes.subarray(at, at + 4));
  assert.equal(name(0), "MThd");
  assert.equal(view.getUint32(4), 6);
  const [format, tracks, division] = [8, 10, 12].map((at) => view.getUint16(at));
  assert.equal(name(14), "MTrk");
  assert.equal(view.getUint32(18), bytes.length - 22);
  const events = [];
  let at = 22;
  let tick = 0;
  const variable = () => {
    for (let value = 0; ; ) {
      const byte = bytes[at++];
      value = value * 128 + (byte & 0x7f);
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    tick += variable();
    const status = bytes[at++];
    assert.ok(status >= 0x80, "no running status");
    const type = status === 0xff ? bytes[at++] : null;
    const size = type !== null ? variable() : { 8: 2, 9: 2, 12: 1 }[status >> 4];
    events.push({ tick, status, type, data: [...bytes.subarray(at, at + size)] });
    at += size;
  }
  assert.equal(at, bytes.length);
  return { format, tracks, division, events };
}

test("a MIDI file is what its specification says, byte by byte", () => {
  const { format, tracks, division, events } = readMidi(midiFile("Tür", play(REEL)));
  assert.deepEqual([format, tracks, division], [0, 1, 480]);
  const [title, tempo, meter, key, program] = events;
  assert.deepEqual([title.type, title.data], [3, [...new TextEncoder().encode("Tür")]]);
  // 375,000 microseconds a quarter note: 160 a minute.
  assert.deepEqual([tempo.type, tempo.data], [0x51, [0x05, 0xb8, 0xd8]]);
  assert.deepEqual([meter.type, meter.data], [0x58, [2, 1, 24, 8]]);
  // D dorian has the signature of C major.
  assert.deepEqual([key.type, key.data], [0x59, [0, 0]]);
  assert.deepEqual([program.status, program.data], [0xc0, [0]]);
  assert.deepEqual(events.at(-1), { tick: 4 * 1920, status: 0xff, type: 0x2f, data: [] });
  const on = events.filter(({ status }) => status === 0x90);
  const off = events.filter(({ status }) => status === 0x80);
  assert.equal(on.length, 26);
  assert.deepEqual(
    on.slice(0, 4).map(({ tick, data }) => [tick, data[0]]),
    [
      [0, 74],
      [480, 77],
      [720, 74],
      [960, 69],
    ],
  );
  assert.deepEqual(
    off.slice(0, 3).map(({ tick, data }) => [tick, data[0]]),
    [
      [480, 74],
      [720, 77],
      [960, 74],
    ],
  );
  // A note that is struck again has ended before.
  const sounding = new Set();
  for (const { status, data } of events) {
    if (status === 0x90) assert.ok(!sounding.has(data[0]) && sounding.add(data[0]));
    if (status === 0x80) assert.ok(sounding.delete(data[0]));
  }
  assert.equal(sounding.size, 0);
});

test("the bytes of a small MIDI file", () => {
  const tune = play("X:1\nM:2/4\nL:1/4\nQ:1/4=120\nK:Bb\nBB|");
  const hex = Buffer.from(midiFile("A", tune)).toString("hex");
  const head = "4d546864000000060000000101e0";
  const metas = "00ff030141 00ff510307a120 00ff580402021808 00ff5902fe00 00c000";
  const notes = "009046XX 8360804600 009046YY 8360804600 00ff2f00";
  const [x, y] = tune.notes.map(({ volume }) => volume.toString(16));
  const track = `${metas} ${notes}`.replace("XX", x).replace("YY", y).replaceAll(" ", "");
  const size = (track.length / 2).toString(16).padStart(8, "0");
  assert.equal(hex, `${head}4d54726b${size}${track}`);
});

test("numbers of any length are seven bits a byte", () => {
  const known = [
    [0, [0]],
    [0x7f, [0x7f]],
    [0x80, [0x81, 0]],
    [0x3fff, [0xff, 0x7f]],
    [0x1fffff, [0xff, 0xff, 0x7f]],
    [0x0fffffff, [0xff, 0xff, 0xff, 0x7f]],
  ];
  for (const [value, bytes] of known) assert.deepEqual(lengthOf(value), bytes);
});

// Words

test("what could not be read is quoted, and the rest is read", () => {
  const parsed = ABCJS.parseOnly("X:1\nK:C\nABc|:d§e <f|\nq|g|]\n")[0];
  const all = unreadable(parsed.warnings);
  assert.equal(
    leftOut(all)[0].slice(0, 70),
    "Left out because it could not be read: “§” in “ABc|:d§e <f|”, “q” in “",
  );
  assert.equal(performed(parsed).notes.length > 5, true);
  assert.deepEqual(leftOut([]), []);
  const many = Array.from({ length: 9 }, () => ({ what: "q", near: "aqb" }));
  assert.match(leftOut(many)[0], /, 6 more\.$/);
});

test("times and names of files", () => {
  assert.deepEqual([0, 9.9, 65, 600].map(clock), ["0:00", "0:09", "1:05", "10:00"]);
  assert.deepEqual(["O'Neill's, §1/2", "Für Élise", "???"].map(fileName), [
    "O-Neill-s-1-2",
    "Für-Élise",
    "tune",
  ]);
});
