// Which names are wanted: what models/text/naming.py knows.

const ONE = "?";
const ANY = "*";

/**
 * What a name must be like. Each `beginning` is the same, and none is longer than `longest`;
 * `isPossible` says whether there can be one.
 */
export function limitsOf({ startsWith, contains, endsWith, pattern, minLength, maxLength }) {
  const symbols = [...(pattern || ANY)];
  const least = symbols.filter((symbol) => symbol !== ANY).length;
  const longest = symbols.includes(ANY) ? maxLength : Math.min(maxLength, least);
  const [begun] = (pattern || ANY).split(/[?*]/);
  return {
    beginning: begun.length > startsWith.length ? begun : startsWith,
    longest,
    isPossible: Math.max(least, minLength) <= longest && Math.max(...after(startsWith)) >= 0,
    allow(name) {
      const { length } = [...name];
      return (
        minLength <= length &&
        length <= maxLength &&
        name.startsWith(startsWith) &&
        name.includes(contains) &&
        name.endsWith(endsWith) &&
        after(name).has(symbols.length)
      );
    },
  };

  /** Up to which symbols a text may have been read: all ways are followed at once. */
  function after(text) {
    let places = new Set([0]);
    const skip = () => {
      // An asterisk may stand for nothing. Those that are added are gone through, too.
      for (const place of places) if (symbols[place] === ANY) places.add(place + 1);
    };
    skip();
    for (const char of text) {
      const next = [...places].map((place) => {
        if (symbols[place] === ANY) return place;
        return symbols[place] === ONE || symbols[place] === char ? place + 1 : -1;
      });
      places = new Set(next);
      skip();
    }
    return places;
  }
}

/** The characters of a pattern that stand for themselves. */
export const written = (pattern) => pattern.replace(/[?*]/g, "");
