"""What is documented exists, and what exists is documented."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer

from vidfer.cli import app as cli
from vidfer.schema import columns, document
from vidfer.train.exporters.formats import FORMATS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
OTHERS = ("docs/recipes.md", "docs/statistics.md", "docs/training.md", "examples/training/README.md", "jobs/README.md")
CLIP = ROOT / "examples" / "two_faces.mp4"
TRAINING = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(group=None, path=()):
    """All commands as (names, command), groups left out."""
    group = group or typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())
OPTIONS = [(names, p) for names, command in COMMANDS.items() for p in command.params if p.param_type_name == "option"]


def shell_lines(text=README):
    text = "".join(blocks("sh", text)).replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in text.splitlines() if line.strip()]


def vidfer_lines(text=README):
    return [line[1:] for line in shell_lines(text) if Path(line[0]).name == "vidfer"]


def lines_elsewhere():
    return [line for name in OTHERS for line in vidfer_lines((ROOT / name).read_text(encoding="utf-8"))]


def test_the_readme_shows_the_two_commands_and_vidfer_itself():
    assert ["make", "demo"] in shell_lines()
    assert ["make", "test"] in shell_lines()
    assert len(vidfer_lines()) >= 4


@pytest.mark.parametrize("line", [*vidfer_lines(), *lines_elsewhere()], ids=" ".join)
def test_every_command_line_that_is_shown_is_understood(line):
    """Parsed to the end with the command's work left out: unknown commands, options and values fail."""
    names = tuple(line[:2]) if tuple(line[:2]) in COMMANDS else tuple(line[:1])
    command = COMMANDS[names]
    context = command.make_context(" ".join(names), line[len(names) :])
    assert context.params


@pytest.mark.parametrize("line", [line for line in shell_lines() if line[0] == "make"], ids=" ".join)
def test_every_make_target_in_the_readme_exists(line):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(line[1:]) <= set(targets)


@pytest.mark.parametrize(("names", "option"), OPTIONS, ids=[f"{' '.join(n)} {o.opts[0]}" for n, o in OPTIONS])
def test_every_option_is_documented(names, option):
    """In the section of its command: behind the last `vidfer COMMAND` before it."""
    about = " ".join(["vidfer", *names])
    sections = [m.end() for m in re.finditer(rf"`{re.escape(about)}\b", README)]
    assert sections, f"README does not explain {about}"
    text = "".join(README[start : start + 3000] for start in sections)
    missing = [name for name in option.opts if f"`{name}" not in text and f"[{name}" not in text]
    assert not missing, f"README does not explain {missing} of {about}"
    assert option.help


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_command_says_what_it_does(names):
    assert COMMANDS[names].help


@pytest.mark.parametrize("table", ["observations", "tracks"])
def test_every_column_is_documented_with_its_unit(table):
    text = (
        (ROOT / "schemas" / "README.md")
        .read_text(encoding="utf-8")
        .split(f"\n## {table.capitalize()}")[1]
        .split("\n## ")[0]
    )
    rows = {row.split("|")[1].strip(" `"): row for row in text.splitlines() if row.startswith("| `")}
    for column in columns(table):
        assert column.name in rows
        assert column.meaning.replace("|", "\\|") in rows[column.name]
        assert column.unit is None or column.unit in rows[column.name]


def test_every_column_that_the_readme_names_exists():
    section = README.split("## The columns")[1].split("##")[0]
    named = set(re.findall(r"`([a-z_]+)`", section))
    assert named <= {column.name for column in columns("observations")}


def test_every_key_of_the_report_is_described():
    def undescribed(schema, path=""):
        for key, value in schema.get("properties", {}).items():
            if "description" not in value:
                yield path + key
            yield from undescribed(value, f"{path}{key}.")

    assert list(undescribed(document("run"))) == []


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "schemas/README.md",
        "docs/scaling.md",
        "docs/statistics.md",
        "docker/README.md",
        "examples/README.md",
        "jobs/README.md",
        "docs/recipes.md",
        "docs/training.md",
        "examples/training/README.md",
    ],
)
def test_links_to_files_lead_somewhere(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    missing = [link for link in links if not ((ROOT / path).parent / link).exists()]
    assert missing == []


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "examples").mkdir()
    shutil.copy(CLIP, tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert set(names["table"].columns) >= {"frame", "face_id", "emotion", "valence_smooth"}
    assert (tmp_path / "demo" / "two_faces.annotated.mp4").exists()
    assert "frames;" in capsys.readouterr().out


@pytest.mark.parametrize("name", FORMATS)
def test_the_table_of_exports_says_what_the_formats_are(name):
    known = FORMATS[name]
    (line,) = re.findall(rf"^\| `{name}` \|.*$", TRAINING, re.MULTILINE)
    _, _, needs, files, _, tolerance, _ = (cell.strip() for cell in line.strip("|").split("|"))
    assert needs == (f"`vidfer[{known.extra}]`" if known.extra else "")
    assert files == ", ".join(f"`{suffix}`" for suffix in (known.suffix, known.beside) if suffix)
    assert tolerance == "see below" if known.tolerance is None else float(tolerance) == known.tolerance
