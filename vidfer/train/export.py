"""From a trained network to a file that ships: ONNX with its card inside, verified against torch."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from vidfer.errors import DataError, ModelError
from vidfer.vision.session import CARD_KEY, SUMS, Session

OPSET = 17
_CARD_FIELDS = ("name", "version", "input", "heads", "trained_on", "metrics", "licence", "git_sha", "command")


def export_onnx(
    model: nn.Module,
    path: Path,
    *,
    example: Tensor,
    input_name: str,
    output_names: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]],
    card: Mapping[str, Any],
    verify: Sequence[Tensor],
    tolerance: float = 1e-3,
) -> dict[str, Any]:
    """Write a network as ONNX, compare it with torch, and store its card in it.

    The folder's SHA256SUMS gets the new sum, which `vision.session` checks. The file appears only when all went well.

    Args:
        model: One input, one output or a tuple of them in the order of `output_names`.
        path: Where the file goes.
        example: Input that is traced.
        input_name: Name of the input in the graph.
        output_names: Names of the outputs in the graph.
        dynamic_axes: Free axes of inputs and outputs, as `torch.onnx.export` takes them.
        card: name, version, input, heads, trained_on, metrics, licence, git_sha, command, and what else run time needs.
        verify: Inputs of all shapes to compare torch and ONNX Runtime on.
        tolerance: Largest difference of an output / the largest absolute value of that output (at least 1).

    Returns:
        The card as stored: with `verification`, the largest absolute difference of each output.

    Raises:
        DataError: The card lacks a field.
        ModelError: ONNX Runtime gives something else than torch.
    """
    missing = [field for field in _CARD_FIELDS if field not in card]
    if missing:
        raise DataError(
            f"the card of {path.name} lacks {', '.join(missing)}: a shipped network must say where it is from"
        )
    model = model.eval().cpu().float()
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / path.name
        write_graph(
            model,
            draft,
            example=example,
            input_name=input_name,
            output_names=output_names,
            dynamic_axes=dynamic_axes,
        )
        store_card(draft, card)
        differences = _differences(model, draft, input_name, output_names, verify, tolerance)
        shapes = [list(given.shape) for given in verify]
        stored = {**card, "verification": {"largest_difference": differences, "input_shapes": shapes}}
        store_card(draft, stored)
        onnx.checker.check_model(str(draft))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.part")
        temporary.write_bytes(draft.read_bytes())
        temporary.replace(path)
    write_sum(path)
    return stored


def write_graph(
    model: nn.Module,
    path: Path,
    *,
    example: Tensor,
    input_name: str,
    output_names: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]],
) -> None:
    """Write a network in evaluation mode as ONNX; arguments as for `export_onnx`."""
    with warnings.catch_warnings():
        # The TorchScript exporter is announced to go; its successor needs onnxscript. Tracer warnings are about
        # sizes taken as constants, which comparing with torch finds out.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example,),
            str(path),
            input_names=[input_name],
            output_names=list(output_names),
            dynamic_axes={name: dict(axes) for name, axes in dynamic_axes.items()},
            opset_version=OPSET,
            dynamo=False,
        )
    _shorten_names(path)


def _shorten_names(path: Path) -> None:
    """Tensors are called `Relu_12_0`, not by their way through the modules: 5 KB of a network of at most 8 MB."""
    model = onnx.load(str(path))
    kept = {value.name for value in (*model.graph.input, *model.graph.output, *model.graph.initializer)}
    short: dict[str, str] = {}
    for i, node in enumerate(model.graph.node):
        node.ClearField("name")
        short |= {name: f"{node.op_type}_{i}_{k}" for k, name in enumerate(node.output) if name not in kept}
        node.input[:] = [short.get(name, name) for name in node.input]
        node.output[:] = [short.get(name, name) for name in node.output]
    del model.graph.value_info[:]
    onnx.save(model, str(path))


def _differences(
    model: nn.Module,
    path: Path,
    input_name: str,
    output_names: Sequence[str],
    verify: Sequence[Tensor],
    tolerance: float,
) -> dict[str, float]:
    session = Session(path, device="cpu")
    largest = dict.fromkeys(output_names, 0.0)
    for given in verify:
        with torch.no_grad():
            outputs = model(given)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        results = session.run({input_name: given.numpy()})
        for name, expected in zip(output_names, outputs, strict=True):
            wanted, got = expected.numpy(), results[name]
            off = float(np.abs(wanted - got).max()) if wanted.shape == got.shape else float("inf")
            if not off <= tolerance * max(1.0, float(np.abs(wanted).max())):
                raise ModelError(
                    f"{path.name}: output {name} is off by {off:.2g} in ONNX Runtime for input {list(given.shape)} "
                    f"(torch gives {list(wanted.shape)}, ONNX Runtime {list(got.shape)}): the export is wrong"
                )
            largest[name] = max(largest[name], off)
    return {name: float(f"{value:.2g}") for name, value in largest.items()}


def store_card(path: Path, card: Mapping[str, Any]) -> None:
    """Put a card into an ONNX file in place of the one it has."""
    graph = onnx.load(str(path))
    set_card(graph, card)
    onnx.save(graph, str(path))


def set_card(graph: onnx.ModelProto, card: Mapping[str, Any]) -> None:
    """Put a card into a graph in place of the one it has."""
    del graph.metadata_props[:]
    entry = graph.metadata_props.add()
    entry.key, entry.value = CARD_KEY, json.dumps(card, ensure_ascii=False, separators=(",", ":"))


def write_sum(path: Path) -> str:
    """Put the sha256 of a file into the SHA256SUMS beside it (the format of `sha256sum -c`); returns the sum."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    sums = path.with_name(SUMS)
    lines = sums.read_text().splitlines() if sums.is_file() else []
    entries = {name: value for value, name in (line.split() for line in lines)} | {path.name: digest}
    sums.write_text("".join(f"{value}  {name}\n" for name, value in sorted(entries.items())))
    return digest
