// abcjs, fetched when the first tune is shown: it reads ABC, draws scores and says which notes
// sound when. Its sounds lie on another host and stay unused. Knows no page of ours.

const PLACE = new URL("../../../../vendor/abcjs/abcjs-basic-min.js", import.meta.url);

let library = null;

/** Resolves to ABCJS. */
export function abcjs() {
  library ??= new Promise((resolve, reject) => {
    // No module: it finds its global object through `this`.
    const script = document.createElement("script");
    script.src = PLACE.href;
    script.addEventListener("load", () => resolve(globalThis.ABCJS));
    script.addEventListener("error", () => {
      library = null;
      script.remove();
      reject(new Error(`${PLACE.pathname} could not be fetched`));
    });
    document.head.append(script);
  });
  return library;
}

/** What abcjs could not read, each with the music around it, as it stands in the text. */
export function unreadable(warnings = []) {
  return warnings.map((html) => {
    const [, before, marked, after] = MARKED.exec(html) ?? [null, "", html, ""];
    const near = [before.slice(-NEAR), marked, after.slice(0, NEAR)].map(plain);
    return { what: near[1].trim(), near: near.join("").trim() };
  });
}

/** UTF-16 units to quote on both sides. */
const NEAR = 8;
/** abcjs words a warning as HTML: a place, what is wrong, and the line with a character marked. */
const MARKED = /Line:\d+:\d+: [^:]*: {1,2}(.*?)<span[^>]*>(.*?)<\/span>(.*)$/s;
const ENTITIES = { "&lt;": "<", "&gt;": ">", "&amp;": "&", "&quot;": '"' };
const plain = (html) => html.replace(/&(?:lt|gt|amp|quot);/g, (name) => ENTITIES[name]);
