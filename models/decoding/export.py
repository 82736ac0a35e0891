"""Exports the network as an ONNX file that runs anywhere. Knows no checkpoint."""

import json

import onnx

from models.config import NetworkConfig, Weights
from models.decoding.graph import build_graph
from models.text.vocab import Vocabulary

MAX_ONNX = (1 << 31) - (1 << 20)
"""Maximum size of the weights in bytes: an ONNX file is a protocol buffer, limited to 2 GiB."""


def onnx_file(
    config: NetworkConfig, weights: Weights, vocabulary: Vocabulary, model: str, digest: str
) -> bytes:
    """Returns the network in fp32 as a file of ONNX's standard operators; see docs/onnx.md.

    It is the decoder's own graph: ids and state in; ids, logits and state out, for several
    characters and rows. The file describes its inputs and outputs and includes the vocabulary.

    Raises:
        ValueError: the weights are larger than ``MAX_ONNX`` bytes.
    """
    if config.weight_bytes() > MAX_ONNX:
        raise ValueError("is not available for this model: an ONNX file is limited to 2 GiB")
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
    if config.styles:
        about["styles"] = json.dumps(config.styles)
    onnx.helper.set_model_props(made, about)
    data: bytes = made.SerializeToString()
    return data


_DESCRIPTIONS = {
    "id": "The id that each row reads first; start_id at the beginning of a text.",
    "uniforms": "Random numbers in [0, 1), one for each choice.",
    "forced": "Ids to take instead of choosing, for a prime; -1 to choose.",
    "temperature": "The temperature of each row, above 0.",
    "greedy": "Whether a row takes the likeliest id, whatever its temperature.",
    "style": "The weight of each style in each row, their sum 1; all 0 for none.",
    "ngram": "The ids that each row read before, the last one last; -1 before a text.",
    "ngram_end": "The same after the call: the ngram of the next call.",
    "id_end": "The id that each row took last: the id of the next call.",
    "chosen": "The ids taken; -1 where a row's logits are not finite.",
    "logits": "The scores from which each id was chosen.",
}


def _describe(name: str) -> str:
    if name in _DESCRIPTIONS:
        return _DESCRIPTIONS[name]
    part, layer = name[0], name[1:].removesuffix("_end")
    if name.endswith("_end"):
        return f"State {part} of layer {layer} at the end: the state of the next call."
    return f"State {part} of layer {layer}; zeros at the beginning of a text."
