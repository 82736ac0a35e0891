// Texts that are not UTF-8: a guess at their encoding, and their text in any. Knows no element and no
// request.

import { t } from "../../language.js";

/** Encodings to choose from, as TextDecoder names them, and their names for people. */
export const ENCODINGS = {
  "windows-1252": t("Western European (Windows-1252, Latin-1)"),
  "iso-8859-2": t("Central European (ISO-8859-2)"),
  "windows-1250": t("Central European (Windows-1250)"),
  "iso-8859-15": t("Western European with € (ISO-8859-15)"),
  macintosh: t("Western European (Mac)"),
  "windows-1251": t("Cyrillic (Windows-1251)"),
  "koi8-r": t("Cyrillic (KOI8-R)"),
  ibm866: t("Cyrillic (IBM866)"),
  "windows-1253": t("Greek (Windows-1253)"),
  "windows-1254": t("Turkish (Windows-1254)"),
  "windows-1255": t("Hebrew (Windows-1255)"),
  "windows-1256": t("Arabic (Windows-1256)"),
  shift_jis: t("Japanese (Shift-JIS)"),
  "euc-jp": t("Japanese (EUC-JP)"),
  "iso-2022-jp": t("Japanese (ISO-2022-JP)"),
  gb18030: t("Chinese, simplified (GB18030)"),
  big5: t("Chinese, traditional (Big5)"),
  "euc-kr": t("Korean (EUC-KR)"),
  "utf-16le": t("UTF-16, little-endian"),
  "utf-16be": t("UTF-16, big-endian"),
  "utf-32le": t("UTF-32, little-endian"),
  "utf-32be": t("UTF-32, big-endian"),
  "utf-8": t("UTF-8, cut off at the end"),
};

/** Bytes that a guess is made from. */
const READ = 65_536;

/** Of bytes in a Latin script, fewer are above 127; of others, more. */
const FEW = 0.25;

/**
 * The encodings of other scripts, characters that a text in one of them is full of, and about their
 * share in it.
 */
const TELLING = {
  shift_jis: [/[\u3041-\u30ff]/gu, 0.5],
  "euc-jp": [/[\u3041-\u30ff]/gu, 0.5],
  "euc-kr": [/[\uac00-\ud7a3]/gu, 0.75],
  gb18030: [/[的一是不了人我在有他这中大来上国个到说们]/gu, 0.12],
  big5: [/[的一是不了人我在有他這中大來上國個到說們]/gu, 0.12],
  "windows-1251": [/[а-яё]/gu, 0.75],
  "koi8-r": [/[а-яё]/gu, 0.75],
  "windows-1253": [/[α-ώ]/gu, 0.75],
  "windows-1255": [/[א-ת]/gu, 0.75],
  "windows-1256": [/[ء-ي]/gu, 0.75],
};

/** The text of bytes in an encoding; null if it has other bytes. */
export function textIn(encoding, bytes, { isCut = false } = {}) {
  if (encoding.startsWith("utf-32")) return utf32(bytes, encoding === "utf-32le");
  // UTF-8 gets here only if it is cut within a character.
  if (encoding === "utf-8") isCut = true;
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes, { stream: isCut });
  } catch {
    return null;
  }
}

/** No browser knows UTF-32. What is behind the last whole character is left out. */
function utf32(bytes, isLittle) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts = [];
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    const code = view.getUint32(at, isLittle);
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return null;
    if (at || code !== 0xfeff) parts.push(String.fromCodePoint(code));
  }
  return parts.join("");
}

/** The likeliest encoding of a text that is not UTF-8; a person decides. */
export function guess(bytes) {
  const head = bytes.subarray(0, READ);
  for (const encoding of ["utf-32le", "utf-32be"])
    if (head.length > 3 && textIn(encoding, head) !== null) return encoding;
  const wide = utf16(head);
  if (wide) return wide;
  // Nothing but its escape sequences is above ASCII.
  if (head.includes(0x1b) && textIn("iso-2022-jp", head, { isCut: true })) return "iso-2022-jp";
  if (/[^\0-\x7f]/.test(textIn("utf-8", bytes) ?? "")) return "utf-8";
  const high = head.reduce((sum, byte) => sum + (byte > 127), 0);
  if (high < FEW * head.length) return "windows-1252";
  const isCut = head.length < bytes.length;
  const found = Object.entries(TELLING)
    .map(([encoding, [telling, usual]]) => {
      const text = textIn(encoding, head, { isCut });
      const share = text ? (text.match(telling)?.length ?? 0) / text.length : 0;
      return { encoding, likeness: share / usual };
    })
    .reduce((best, one) => (one.likeness > best.likeness ? one : best));
  return found.likeness > 0.2 ? found.encoding : "windows-1252";
}

/** UTF-16 has a byte-order mark, or a zero in most of its pairs of bytes. */
function utf16(bytes) {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return "utf-16le";
  if (first === 0xfe && second === 0xff) return "utf-16be";
  const zeros = [0, 0];
  for (let i = 0; i < bytes.length; i += 1) zeros[i % 2] += bytes[i] === 0;
  const most = 0.3 * (bytes.length / 2);
  if (zeros[1] > most && !zeros[0]) return "utf-16le";
  if (zeros[0] > most && !zeros[1]) return "utf-16be";
  return null;
}
