"""Recipes: what they say is checked, and a wrong key or value is one line that tells what to write."""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest

pytest.importorskip("torch", reason="RECIPES ARE NOT TESTED: no torch")

from vidfer.errors import InputError, UsageError
from vidfer.train.loop import LoopConfig
from vidfer.train.multitask.recipe import Recipe, read_recipe

ROOT = Path(__file__).parents[3]

FULL = """
name = "trio"
[network]
name = "resnet18_small"
grey = true
weights = "imagenet.safetensors"
[heads]
emotion = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"]
valence_arousal = true
landmarks = 68
[loss.emotion]
kind = "focal"
weight = 2
[loss.landmarks]
kind = "wing"
[loss.distillation]
weight = 0.5
[augment]
flip = 0
mixup = 0.3
[data]
crop = "none"
sampling = "balanced"
[loop]
epochs = 3
learning_rate = 1e-3
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_a_recipe_is_read_with_defaults_for_what_it_does_not_say(tmp_path):
    text = FULL.replace('name = "resnet18_small"', 'name = "resnet18"')
    recipe = read_recipe(write(tmp_path, text))
    assert recipe.name == "trio"
    assert recipe.network.weights == tmp_path / "imagenet.safetensors"
    assert recipe.heads.names == ("emotion", "valence_arousal", "landmarks68")
    assert recipe.loss.emotion.weight == 2.0
    assert recipe.loss.emotion.label_smoothing == 0
    assert recipe.loss.valence_arousal.kind == "ccc_mse"
    assert recipe.augment.flip == 0
    config = recipe.loop_config(rows=1000)
    assert (config.epochs, config.steps_per_epoch, config.learning_rate) == (3, 16, 1e-3)
    assert config.warmup_steps == 16  # an epoch


def test_a_recipe_without_a_name_has_that_of_its_file(tmp_path):
    assert read_recipe(write(tmp_path, "[heads]\nbox = true")).name == "recipe"


def test_what_a_run_stores_is_the_recipe():
    recipe = Recipe.from_dict({"heads": {"emotion": ["neutral", "fear"], "landmarks": 4}, "loop": {"epochs": 2}})
    stored = json.loads(json.dumps(recipe.as_dict()))
    assert Recipe.from_dict(stored) == recipe


def test_options_of_the_command_line_go_before_the_file():
    recipe = Recipe.from_dict({"heads": {"box": True}, "loop": {"epochs": 2, "seed": 4}})
    config = recipe.with_loop(epochs=9, seed=None, threads=2).loop_config(rows=10)
    assert (config.epochs, config.seed, config.threads) == (9, 4, 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[head]\nbox = true", "unknown key 'head', did you mean 'heads'?"),
        ("[heads]\nbox = true\n[augment]\nflips = 1", "unknown key 'augment.flips', did you mean 'augment.flip'?"),
        ("[heads]\nbox = true\n[loss.boxes]\nkind = 'mse'", "unknown key 'loss.boxes', did you mean 'loss.box'?"),
        ("[heads]\nbox = true\n[loop]\nepoch = 1", "unknown key 'loop.epoch', did you mean 'loop.epochs'?"),
        ("[heads]\nbox = true\n[loop]\nepochs = 0", "[loop] epochs must be at least 1, got 0"),
        ("[heads]\nbox = true\n[loop]\nepochs = '9'", "loop.epochs must be a whole number, got '9'"),
        ("[heads]\nbox = 1", "heads.box must be true or false, got 1"),
        ("[heads]\nlandmarks = 67", "landmarks must be one of 4, 5, 15, 68, 478, got 67"),
        ("[heads]\nemotion = ['joy', 'fear']", "no emotion is called 'joy'"),
        ("[heads]\nemotion = 'fear'", "heads.emotion must be a list of texts, got 'fear'"),
        ("[heads]", "a network needs a head"),
        ("[network]\nname = 'fast'", "heads is missing"),
        ("heads = 3", "[heads] must be a table, got 3"),
        ("loop = 3\n[heads]\nbox = true", "[loop] must be a table, got 3"),
        ("[heads]\nbox = true\n[network]\nname = 'resnet'", "no network is called 'resnet': did you mean 'resnet18'?"),
        (
            "[heads]\nbox = true\n[loss.box]\nkind = 'wing'",
            "loss.box.kind is 'wing': choose one of mse, smooth_l1, huber",
        ),
        ("[heads]\nbox = true\n[loss.box]\nweight = -1", "[loss.box] weight must be 0 or more, got -1"),
        ("[heads]\nbox = true\n[loss.box]\nthreshold = 0", "[loss.box] threshold must be above 0, got 0"),
        ("[heads]\nbox = true\n[loss.box]\nweight = nan", "[loss.box] weight must be 0 or more, got nan"),
        ("[heads]\nbox = true\n[loss.box]\nweight = inf", "[loss.box] weight must be 0 or more, got inf"),
        (
            "[heads]\nbox = true\n[loss.emotion]\nweight = 1",
            "[loss.emotion] is of a head that [heads] does not ask for",
        ),
        ("[heads]\nbox = true\n[augment]\nerase = 1.5", "[augment] erase must be between 0 and 1, got 1.5"),
        ("[heads]\nbox = true\n[augment]\nmixup = 0.5", "augment.mixup and augment.cutmix mix emotions"),
        ("[heads]\nvalence_arousal = true\n[augment]\nmixup = 0.6\ncutmix = 0.6", "the sum of mixup and cutmix"),
        ("[heads]\nbox = true\n[data]\nbatch_size = 1", "[data] batch_size must be 2 or more, got 1"),
        ("[heads]\nbox = true\n[loss.distillation]\nweight = 1", "loss.distillation.weight is of emotions"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_write(tmp_path, text, says):
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_recipe(path)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_toml_or_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match="is no TOML"):
        read_recipe(write(tmp_path, "heads = {"))
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_recipe(tmp_path / "none.toml")


def tables(kind: type, place: str = "") -> dict[str, set[str]]:
    """Keys of every table of a recipe."""
    found: dict[str, set[str]] = {place: set()}
    for name, hint in get_type_hints(kind).items():
        if is_dataclass(hint):
            found |= tables(hint, f"{place}.{name}".lstrip("."))
        else:
            found[place].add(name)
    return found


def test_every_key_is_documented_in_its_table():
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    wanted = tables(Recipe) | {"loop": {f.name for f in fields(LoopConfig)}}
    wanted[""] -= {"loop"}
    for place, keys in wanted.items():
        if not keys:  # `loss` holds tables alone
            continue
        head = {"": "| top |", "loop": "| key of `[loop]` |"}.get(place, f"| `[{place}]` |")
        rows = text.split(head)[1].split("\n\n")[0]
        documented = set(re.findall(r"`([a-z_0-9]+)`", rows))
        assert keys <= documented, f"{place}: {sorted(keys - documented)}"


def test_the_recipe_of_the_readme_is_one(tmp_path):
    blocks = re.findall(
        r"^```toml\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    (recipe,) = (read_recipe(write(tmp_path, block)) for block in blocks if "[heads]" in block)
    assert recipe.loop == {"epochs": 20}


def test_the_recipe_of_the_documentation_is_one(tmp_path):
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    recipe = read_recipe(write(tmp_path, block))
    assert recipe.heads.landmarks == 68
    assert recipe.loop["early_stopping"] == 6
