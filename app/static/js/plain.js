// What a page does that has no view, such as one that tells an error: it switches colours.

import { switchColours } from "./colours.js";

switchColours(document.getElementById("theme"));
