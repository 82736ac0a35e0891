// Bounds of the API that controls and links are made with. Knows no view.
//
// Typed here, not read from /openapi.json: at 95 kB that weighs more than the whole first page,
// which would have to wait for it. tests/whole/test_javascript.py holds these to the server's.

/** Characters of a prime. */
export const MAX_PRIME = 16_384;
/** Characters to generate at once. */
export const MAX_LENGTH = 1_000_000;
/** Characters of a text to inspect. */
export const MAX_INSPECTED = 20_000;
/** Activations in one response of /inspect. */
export const MAX_ACTIVATIONS = 1_000_000;
/** Files that a text may be made of. */
export const MAX_FILES = 10_000;
/** Names in one response. */
export const MAX_NAMES = 1000;
/** Characters of a name. */
export const MAX_NAME_LENGTH = 200;

// As attributes of an input, whose patterns are anchored and want "-" escaped in a class.
const NAME = "[a-z0-9][a-z0-9_\\-]{0,62}";
const TAG = "[a-z0-9][a-z0-9._\\-]{0,62}";

/** A name to train a model under. */
export const MODEL_NAME = NAME;
/** A model, or one of its tags. */
export const MODEL_REFERENCE = `${NAME}(:${TAG})?`;
