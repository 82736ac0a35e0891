// What a page does that has no view, such as one that tells an error: it switches
// colours and languages.

import { switchColours } from "./colours.js";
import { switchLanguage } from "./language_switch.js";

switchColours(document.getElementById("theme"));
switchLanguage(document.getElementById("language"));
