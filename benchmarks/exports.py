"""How large exports of runs are, and how near they come to torch: the table in docs/training.md, section Export.

    python benchmarks/exports.py --data TABLE.parquet RUN...

All formats whose programs are installed; files go to a temporary folder.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from vidfer.errors import ModelError, UsageError
from vidfer.train.exporters.formats import FORMATS
from vidfer.train.exporters.run import export_run


def shown(card: dict[str, Any]) -> str:
    """The worst head."""
    found = card["verification"]
    if "heads" not in found:
        return f"{max(found['largest_difference'].values()):.1g}"
    head, least = min(found["heads"].items(), key=lambda item: item[1]["correlation"])
    same = found["heads"].get("emotion", {}).get("same_class")
    return f"r {least['correlation']:.3f} ({head})" + (f", class {100 * same:.0f} %" if same is not None else "")


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--data", type=Path, required=True, metavar="TABLE")
    options = parser.parse_args()
    print("| run | " + " | ".join(FORMATS) + " |")
    print("|---|" + "---|" * len(FORMATS))
    for run in options.runs:
        cells = []
        for name, form in FORMATS.items():
            tables = [options.data] if form.precision == "int8" else []
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"net{form.suffix}"
                try:
                    card = export_run(run, path, format_name=name, tables=tables)
                    size = sum(file.stat().st_size for file in form.files(path)) / 1e6
                    cells.append(f"{size:.1f} MB, {shown(card)}")
                except (ModelError, UsageError) as error:
                    cells.append(str(error))
        print(f"| {run.name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
