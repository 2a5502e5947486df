"""The command ``vidfer``: its groups, its one-line errors and its exit codes.

Nothing heavy is imported here or at the top of any command's module: ``vidfer --help`` answers in 0.3 s.
"""

from __future__ import annotations

import io
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import click
import typer

from vidfer import __version__
from vidfer.cli import doctor, export, jobs, probe, process, render, report, schema, smooth, summary, train, watch
from vidfer.cli.stopping import Interrupted
from vidfer.errors import VidferError, one_line

INTERRUPTED = 130

app = typer.Typer(
    name="vidfer",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("process")(process.process)
app.command("watch")(watch.watch)
app.command("render")(render.render)
app.command("report")(report.report)
app.command("export")(export.export)
app.command("probe")(probe.probe)
app.command("smooth")(smooth.smooth)
app.command("summary")(summary.summary)
app.command("doctor")(doctor.doctor)
app.command("schema")(schema.schema)
app.add_typer(jobs.app, name="jobs")
app.add_typer(train.app, name="train")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"vidfer {__version__}")
        raise typer.Exit


@app.callback()
def vidfer(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="After an error, print its traceback.")] = False,
) -> None:
    """Faces in video: exact time, stable face ids, emotions, valence and arousal, landmarks, head pose.

    Results go to files, data to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage,
    3 bad input, 4 some inputs failed, 130 interrupted.
    """
    if debug and isinstance(context.command, click.Group):  # `vidfer --debug COMMAND` is `vidfer COMMAND --debug`
        context.default_map = {name: {"debug": True} for name in context.command.commands}


def _fail(message: str, code: int) -> int:
    print("vidfer: error:", " ".join(message.split()), file=sys.stderr)
    return code


def run(args: Sequence[str]) -> int:
    """Carry out one command line and give its exit code; errors become one line on stderr."""
    debug = "--debug" in args  # of whichever command: an error may come before any of them is known
    try:
        code = int(app(args=list(args), prog_name="vidfer", standalone_mode=False) or 0)
        # Typer turns Ctrl-C into this exit code, older ones into Abort.
        return _fail("interrupted", code) if code == INTERRUPTED else code
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return error.exit_code
    except click.ClickException as error:
        # The nearest command is named by Click and by Typer, each in the same words.
        return _fail(re.sub(r"( Did you mean [^?]+\?)\1", r"\1", error.format_message()), error.exit_code)
    except Interrupted as stop:
        print("vidfer:", stop, file=sys.stderr)
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of our stdout went away, as `head` does
        sys.stdout = None  # nothing is left to flush into the closed pipe at exit
        return 1
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        if debug:
            traceback.print_exc()
        return _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)
    except VidferError as error:
        if debug:
            traceback.print_exc()
        return _fail(one_line(error), error.exit_code)
    except Exception as error:  # noqa: BLE001 (the edge: a person sees one line, --debug shows the rest)
        if debug:
            traceback.print_exc()
        hint = "" if debug else " (a fault of vidfer's: run again with --debug and report what it prints)"
        return _fail(f"{type(error).__name__}: {error}{hint}", 1)


def main() -> NoReturn:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may hold anything
    sys.exit(run(sys.argv[1:]))
