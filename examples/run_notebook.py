"""Runs a notebook and keeps what it shows in it: ``python examples/run_notebook.py [NOTEBOOK]``.

A plain Python is enough: no Jupyter server, no kernel. The tests run both notebooks with it.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

HERE = Path(__file__).parent


def run(notebook: dict[str, Any]) -> None:
    """Run the cells of a notebook in the current folder, one after the other, and put in what they show."""
    names: dict[str, Any] = {"__name__": "__main__"}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, start=1):
        cell["outputs"] = _outputs("".join(cell["source"]), names, number)
        cell["execution_count"] = number


def _outputs(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """What a cell prints, its last value, and its figures."""
    tree, printed, value = ast.parse(source), io.StringIO(), None
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"cell {number}", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if hasattr(value, "_repr_html_"):
        data = {"text/html": _lines(value._repr_html_()), "text/plain": _lines(repr(value))}
        outputs.append({"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": number})
    for figure in map(plt.figure, plt.get_fignums()):
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=figure.dpi, metadata={"Software": None})
        data = {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": ["<Figure>"]}
        outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
    plt.close("all")
    return outputs


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def main() -> None:
    """Run it where it lies, and write it back."""
    plt.switch_backend("agg")
    path = Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "analysis.ipynb").resolve()
    notebook = json.loads(path.read_text(encoding="utf-8"))
    os.chdir(path.parent)
    run(notebook)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
