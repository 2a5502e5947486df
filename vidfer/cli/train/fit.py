"""``vidfer train fit``: a network as a recipe says, or one of the packaged ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidfer.cli.progress import ProgressLine, clock, is_live, logs_shown
from vidfer.cli.stopping import Interrupted, Stopped, stoppable
from vidfer.cli.train.counting import counting
from vidfer.cli.train.needs import torch_needed
from vidfer.cli.train.packaged import ANALYZER, DETECTOR, Run, data_folder
from vidfer.errors import DataError, UsageError

if TYPE_CHECKING:
    from vidfer.train.loop import TrainingProgress
    from vidfer.train.multitask.training import Training

What = Annotated[str, typer.Argument(metavar=f"RECIPE.toml|{DETECTOR}|{ANALYZER}")]
Data = Annotated[
    list[Path],
    typer.Option("--data", metavar="TABLE|DATA", help="A training table, repeatable; or the folder DATA."),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        metavar="N",
        min=1,
        help="How long; by default as in the recipe, or as it was for the packaged network.",
    ),
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Seed of the random numbers: weights, order of the data.")
]
Threads = Annotated[int | None, typer.Option("--threads", metavar="N", min=1, help="Threads for torch.")]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="DEVICE", help="Where torch computes: cpu (default), cuda, cuda:1, mps."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an earlier run in RUN stopped.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]


def fit(
    network: What,
    data: Data,
    run: Run,
    epochs: Epochs = None,
    seed: Seed = None,
    threads: Threads = None,
    device: Device = None,
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Train a network on split train of training tables.

    RECIPE.toml says which network learns which labels, and how (docs/training.md has all keys); TABLE is what vidfer
    train dataset or vidfer train label wrote. face_detector and face_analyzer make the packaged networks again, from
    the folder DATA of their training data.

    Checkpoints and the log go to RUN; a run that was stopped goes on with --resume and ends with the same weights.
    Prints the figures of the best weights on the held-out rows, as one JSON object.
    """
    given = {"epochs": epochs, "seed": seed, "threads": threads, "device": device}
    if network in (DETECTOR, ANALYZER):
        _packaged(network, data, run, given, resume=resume, quiet=quiet)
        return
    with torch_needed():
        from vidfer.train.loop import check_start
        from vidfer.train.multitask.recipe import read_recipe
        from vidfer.train.multitask.training import check_resume, prepare_training

        recipe = read_recipe(_recipe(network)).with_loop(**given)
        with _watched(run, quiet=quiet) as line:
            check_start(recipe.loop_config(rows=1), run, resume=resume)
            check_resume(recipe, run)
            training = prepare_training(recipe, data, None if quiet else counting("looking at pictures"))
            best = _trained(training, run, line, resume=resume, quiet=quiet)
    print(json.dumps({"run": str(run), "best": best}, indent=2))


@contextmanager
def _watched(run: Path, *, quiet: bool) -> Iterator[ProgressLine]:
    """Show what happens, end with one line when somebody stops it, and leave no empty folder."""
    line = ProgressLine(sys.stderr, live=is_live(sys.stderr))
    missing = [folder for folder in (run, *run.parents) if not folder.exists()]
    with stoppable(), logs_shown(line, sys.stderr, debug=False, quiet=quiet):
        try:
            yield line
        except Stopped as stop:
            raise Interrupted(_left(run), stop.exit_code) from None
        finally:
            line.clear()
            with suppress(OSError):  # one is not empty
                for folder in missing:
                    folder.rmdir()


def _trained(training: Training, run: Path, line: ProgressLine, *, resume: bool, quiet: bool) -> Mapping[str, Any]:
    """Train, and give the figures of the best weights."""
    from vidfer.train.loop import read_weights

    def say(text: str) -> None:
        line.clear()
        with suppress(OSError):  # nobody reads it any more, which is no reason to stop
            print(text, file=sys.stderr, flush=True)

    if quiet:
        training.fit(run, resume=resume)
    else:
        for note in training.notes:
            say(note)
        training.fit(
            run,
            resume=resume,
            progress=lambda now: line.offer(lambda: describe(now)),
            evaluated=lambda figures: say(f"held out: {_figures(figures)}"),
        )
    state = read_weights(run, "last")[1]
    if not quiet and state["epoch"] < state["config"]["epochs"]:
        since = (state["best"] or {"epoch": 0})["epoch"]
        say(f"stopped early after epoch {state['epoch']}: no better score since epoch {since}")
    best: Mapping[str, Any] | None = state["best"]
    if best is None:
        raise DataError(f"{run} has no best weights: what the network told was never a number; lower the learning rate")
    return best


def describe(now: TrainingProgress) -> str:
    """One moment of a training run in words: where it is, every loss, how fast it goes."""
    words = [f"{now.task}: epoch {now.epoch}/{now.epochs} step {now.step}/{now.steps}"]
    if now.stage == "evaluate":
        words.append("measuring")
    elif now.losses:
        parts = [f"{name} {value:.4g}" for name, value in now.losses.items() if name != "loss"]
        words.append(f"loss {now.losses['loss']:.4g}" + (f" ({', '.join(parts)})" if len(parts) > 1 else ""))
        words.append(f"lr {now.learning_rate:.2g}")
    words += [f"{now.steps_per_second:.1f} steps/s", f"{clock(now.seconds_left)} left"]
    if now.best_score is not None:
        words.append(f"best score {now.best_score:.4f}")
    return " · ".join(words)


def _figures(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())


def _left(run: Path) -> str:
    """What a stopped run leaves."""
    from vidfer.train.loop import LAST, read_weights

    if not (run / LAST).is_file():
        return f"interrupted before the first epoch ended: nothing is in {run}"
    done = read_weights(run, "last")[1]["epoch"]
    return f"interrupted after epoch {done}: the same command with --resume goes on"


def _recipe(name: str) -> Path:
    path = Path(name)
    if path.suffix.lower() != ".toml" and not path.is_file():
        raise UsageError(f"got {name!r}, allowed are a recipe (a file that ends in .toml), {DETECTOR} and {ANALYZER}")
    return path


def _packaged(
    network: str, data: list[Path], run: Path, given: Mapping[str, Any], *, resume: bool, quiet: bool
) -> None:
    if len(data) != 1:
        raise UsageError(f"{network} is trained on one folder: give --data once, got it {len(data)} times")
    if given["device"] is not None:
        raise UsageError(f"--device is for recipes, {network} is trained on the CPU")
    settings: dict[str, Any] = {"seed": given["seed"] or 0, "threads": given["threads"] or 1}
    settings |= {"epochs": given["epochs"]} if given["epochs"] else {}
    with torch_needed(), _watched(run, quiet=quiet) as line:
        from vidfer.train.detector_run import detector_config, fit_detector
        from vidfer.train.faces_run import fit_faces

        def show(now: TrainingProgress) -> None:
            line.offer(lambda: describe(now))

        progress, folder = None if quiet else show, data_folder(data[0])
        if network == DETECTOR:
            fit_detector(folder, run, detector_config(**settings), resume=resume, progress=progress)
        else:
            fit_faces(folder, run, resume=resume, progress=progress, **settings)
