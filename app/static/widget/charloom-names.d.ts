// Types of <charloom-names>, for TypeScript and for editors: keep it beside charloom-names.js.
// docs/widget.md says what each attribute does.

/** The attributes, as HTML has them; for JSX, whose own types know no custom elements. */
export interface CharloomNamesAttributes {
  /** A file that `./charloom models NAME --download names.html` made, in place of a server. */
  src?: string;
  /** The server; by default the one that the script came from. */
  api?: string;
  /** The model, as name or name:tag; optional where the server has only one. */
  model?: string;
  /** A style of a model of several lists, or a mix such as "elves:0.7,dwarves:0.3". */
  "in-style"?: string;
  /** Randomness: 0, or from 0.01 to 10; 1 by default. */
  temperature?: number | string;
  /** How every name begins. */
  "starts-with"?: string;
  /** What every name has in it. */
  contains?: string;
  /** How every name ends. */
  "ends-with"?: string;
  /** What every name looks like: ? is one character, * any number of them. */
  pattern?: string;
  /** Fewest characters of a name; 1 by default. */
  "min-length"?: number | string;
  /** Most characters of a name; 40 by default. */
  "max-length"?: number | string;
  /** Names to draw; 10 by default. */
  count?: number | string;
  /** Only names that the model has not read. */
  novel?: boolean | "";
  /** The same seed gives the same names; by default each draw has its own. */
  seed?: number | string;
  /** Words of the button; by default "More names" in the language of the visitor. */
  label?: string;
  /** Draw only when draw() is called. */
  manual?: boolean | "";
}

/**
 * Detail of `charloom-error`: the message is for visitors, in their language, the detail for the
 * page's owner.
 */
export interface CharloomNamesError {
  /** Of the server's answer; 0 where there was none. */
  status: number;
  message: string;
  detail: string;
}

export class CharloomNames extends HTMLElement {
  static observedAttributes: string[];
  /** Sent with every request, such as an API key. */
  headers: Record<string, string>;
  /** Draws new names in place of those that are shown. Never rejects: see `charloom-error`. */
  draw(): Promise<void>;
  /** Ends the drawing; the names so far stay. */
  stop(): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "charloom-names": CharloomNames;
  }
  interface HTMLElementEventMap {
    /** Each name, as it is found. */
    "charloom-name": CustomEvent<{ name: string }>;
    /** All names of a draw. */
    "charloom-done": CustomEvent<{ names: string[] }>;
    "charloom-error": CustomEvent<CharloomNamesError>;
  }
}
