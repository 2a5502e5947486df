"""The sums in docs/scaling.md come out."""

import json
import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
PRICES = {"core": 0.045, "machine": 0.55}
CORES = 4
CLIPS = {"WolfgangLanger_Pexels.mp4": "640x360", "interview2.mp4": "720p", "crowd.mp4": "1080p"}


def rows(section):
    """Numbers of a section's tables by the first word of their row."""
    text = TEXT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = {}
    for line in text.splitlines():
        if match := re.match(r"\| (\w+), ", line):
            numbers = [float(cell.replace(",", "")) for cell in line.split("|")[2:-1]]
            found.setdefault(match[1], []).append(numbers)
    return found


MEASURED = {name: numbers[0] for name, numbers in rows("One core").items()}


def test_what_a_frame_takes_is_what_was_measured():
    kept = json.loads((ROOT / "benchmarks" / "history" / "2026-11-21-process-2.1.json").read_text())["clips"]
    for clip, name in CLIPS.items():
        measured = kept[clip]["cpu_ms_per_frame"]
        assert MEASURED[name][:2] == pytest.approx([measured["process"], measured["decode"]], abs=0.006)


@pytest.mark.parametrize("name", MEASURED)
def test_speeds_and_costs_follow(name):
    ms, decoding, per_second, hours_a_day = MEASURED[name]
    assert per_second == pytest.approx(1000 / ms, rel=0.01)
    assert hours_a_day == pytest.approx(24 * 1000 / ms / 25, rel=0.01)
    (core_hours, cpu), (machine_hours, gpu) = rows("Cost of 1,000 hours")[name]
    assert core_hours == pytest.approx(25 * ms, rel=0.01)
    assert cpu == pytest.approx(core_hours * PRICES["core"], abs=0.06)
    assert machine_hours == pytest.approx(25 * decoding / CORES, abs=0.06)
    assert gpu == pytest.approx(machine_hours * PRICES["machine"], abs=0.06)
    saved = round(100 * (1 - gpu / cpu))
    assert re.search(rf"\b{saved}\b.*%", TEXT), f"{saved} % are saved"


def test_many_small_tables_become_few(tmp_path, monkeypatch):
    """By the SQL that the page shows; the unit of each row is kept."""
    monkeypatch.chdir(tmp_path)
    for unit in ("ua", "ub"):
        folder = tmp_path / "results" / "observations" / f"unit={unit}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"frame": [0, 1]}), folder / "part.parquet")
    (sql,) = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
    duckdb.sql(sql)
    rows = sorted(duckdb.sql("select unit, frame from 'observations/*.parquet'").fetchall())
    assert rows == [("ua", 0), ("ua", 1), ("ub", 0), ("ub", 1)]


def test_the_simulated_figures_are_those_that_were_kept():
    kept = json.loads((ROOT / "benchmarks" / "history" / "2026-11-21-million-units.json").read_text())
    for run in kept["driver"]:
        times = [run[f"{name}_s"] for name in ("plan", "hand_out", "manifest", "rerun", "status")]
        cells = [f"{run['units']:,}", *(f"{seconds:.1f}" for seconds in times)]
        cells += [f"{run['ledger_mb']:.0f} MB", f"{run['peak_memory_mb']:.0f} MB"]
        assert f"| {' | '.join(cells)} |" in TEXT


def test_the_prices_are_said():
    assert all(f"{price:g}" in TEXT for price in PRICES.values())
