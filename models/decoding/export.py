"""The network as an ONNX file that runs anywhere. Knows no checkpoint."""

import json

import onnx

from models.config import NetworkConfig, Weights
from models.decoding.graph import build_graph
from models.text.vocab import Vocabulary

MAX_ONNX = (1 << 31) - (1 << 20)
"""Bytes of weights that fit an ONNX file, a protocol buffer, which ends at 2 GiB."""


def onnx_file(
    config: NetworkConfig, weights: Weights, vocabulary: Vocabulary, model: str, digest: str
) -> bytes:
    """The network in fp32 as ONNX's standard operators, to run anywhere; docs/onnx.md says how.

    It is the decoder's own graph: ids and state in, several characters for several rows, ids,
    logits and state out. What its inputs and outputs are stands in it, and so does the vocabulary.

    Raises:
        ValueError: the weights have more than ``MAX_ONNX`` bytes.
    """
    if 4 * config.parameters() > MAX_ONNX:
        raise ValueError("is not there for this model: an ONNX file ends at 2 GiB")
    made = build_graph(config, weights)
    made.producer_name = "charloom"
    made.doc_string = (
        f"The character-level network {model}: reads a character for each row, chooses the next, "
        "and so on for every step."
    )
    for value in (*made.graph.input, *made.graph.output):
        value.doc_string = _describe(value.name)
    about = {
        "model": model,
        "digest": digest,
        "vocabulary": json.dumps(vocabulary.to_json(), ensure_ascii=False),
        "start_id": str(vocabulary.start_id),
    }
    onnx.helper.set_model_props(made, about)
    data: bytes = made.SerializeToString()
    return data


_DESCRIPTIONS = {
    "id": "The id that each row reads first; start_id where a text begins.",
    "uniforms": "Random numbers in [0, 1), one for each choice.",
    "forced": "Ids to take instead of choosing, as for a prime; -1 chooses.",
    "temperature": "Of each row, above 0.",
    "greedy": "Whether a row takes the likeliest, whatever its temperature.",
    "id_end": "The id that each row took last: the next call's id.",
    "chosen": "The ids taken; -1 where a row's logits were no numbers.",
    "logits": "The scores that each was chosen by.",
}


def _describe(name: str) -> str:
    if name in _DESCRIPTIONS:
        return _DESCRIPTIONS[name]
    part, layer = name[0], name[1:].removesuffix("_end")
    if name.endswith("_end"):
        return f"State {part} of layer {layer} at the end: the next call's."
    return f"State {part} of layer {layer}; zeros where a text begins."
