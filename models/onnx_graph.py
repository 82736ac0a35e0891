"""Builds ONNX graphs and runs them. Knows no network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 9
MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

FLOAT: int = TensorProto.FLOAT
INT64: int = TensorProto.INT64
BOOL: int = TensorProto.BOOL


SESSION_BYTES = 350_000
"""Memory of a session besides its constants; measured by ``bench.memory``."""

COPIES, HOISTED_COPIES = 4, 2
"""Copies of a constant that ONNX Runtime 1.32 keeps: of a subgraph's, in the node's attribute, in
the subgraph, as a tensor and packed for the product; of the main graph's, the first two are freed.
Measured by ``bench.memory``."""


class OnnxSession:
    """A graph in ONNX Runtime. Threads may share it.

    ``bytes`` estimates its memory, without what a run takes and returns.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        options = onnxruntime.SessionOptions()
        # One thread: products this small wait for memory, so a second thread gains little; each
        # core has its own work; and with two threads int8 products are scaled separately.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The arena would keep the memory of the largest run for as long as the session lives.
        options.enable_cpu_mem_arena = False
        self.bytes = SESSION_BYTES + _constant_bytes(model.graph)
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Returns the outputs by name."""
        return dict(zip(self._outputs, self._session.run(None, feeds), strict=True))


def _constant_bytes(graph: onnx.GraphProto, copies: int = HOISTED_COPIES) -> int:
    """Returns the memory that a graph's constants take in a session."""
    own = copies * sum(len(constant.raw_data) for constant in graph.initializer)
    bodies = (attribute.g for node in graph.node for attribute in node.attribute)
    return own + sum(_constant_bytes(body, COPIES) for body in bodies)


HOISTED_BYTES = 1 << 20
"""Size from which a body's constant moves to the graph around it. A loop pays for each one in every
round, 20 of them about a microsecond, which a small network would notice and a large one does not.
"""


class GraphBuilder:
    """A graph under construction.

    Args:
        around: the graph that will contain this one and take its large constants; ONNX Runtime
            keeps half as many copies of them there.
    """

    def __init__(self, around: "GraphBuilder | None" = None) -> None:
        self._around = around
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Adds a node and returns the name of its first output that has a name.

        Without ``outputs`` the node has one output, with a generated name.
        """
        # A body sees the names of the graph around, so it must not have them.
        scope = "inner_" if self._around else ""
        names = outputs or (f"{scope}{operator}_{len(self._nodes)}",)
        self._nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return next(name for name in names if name)

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Adds a constant, unless one of this name exists here or around, and returns the name."""
        around = self._around
        if around and (value.nbytes >= HOISTED_BYTES or name in around._constants):
            return around.constant(name, value)
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def graph(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> onnx.GraphProto:
        constants = list(self._constants.values())
        return helper.make_graph(self._nodes, name, inputs, outputs, constants)


def value(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
    """Describes an input or output; a word in the shape stands for any size."""
    return helper.make_tensor_value_info(name, kind, shape)


def values(names: Sequence[str], kind: int, *shape: int | str) -> list[onnx.ValueInfoProto]:
    """Describes inputs or outputs of the same type and shape."""
    return [value(name, kind, *shape) for name in names]


def model_of(graph: onnx.GraphProto, *, microsoft: bool = False) -> onnx.ModelProto:
    """Wraps a graph of ONNX's standard operators and, optionally, Microsoft's into a model."""
    opsets = [helper.make_opsetid("", OPSET)]
    if microsoft:
        opsets.append(helper.make_opsetid(MICROSOFT, 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
