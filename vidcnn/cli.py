"""The command line: finds the command, and turns what goes wrong into one line and an exit code.

Each command is a module of `vidcnn.commands` and is imported when it is called, so that ``vidcnn --help`` is immediate.
Results go to stdout, progress and errors to stderr.
"""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from vidcnn import interrupts
from vidcnn.errors import (
    DEBUG_VARIABLE,
    JobFailedError,
    OutputError,
    RayDiedError,
    UsageError,
    VidcnnError,
    describe_failure,
)
from vidcnn.logins import hide_logins
from vidcnn.safe_text import one_line, screen_text
from vidcnn.streams import show, stdout_fault, unwritten
from vidcnn.version import __version__

COMMANDS = {
    "infer": "Classify videos clip by clip, into a Parquet table with a row for every clip and every bad video.",
    "train": "Train a network on labelled videos, into a bundle that `vidcnn infer` takes.",
    "evaluate": "Measure a bundle on labelled videos: over clips, and over whole videos with several views of each.",
    "scan": "Check a collection of videos: what they are, what is wrong with them, which are the same.",
    "show": "Show a table of predictions: its classes, its errors, its videos; or one video over time.",
    "events": "Turn the scores of clips into events: what happened, from when to when.",
    "similar": "Find the clips of a table that are most like one, or the clusters that its clips are in.",
    "models": "List the models: name, parameters, GFLOPs per clip, input and weights.",
    "bundle": "Make a model bundle from an architecture, weights and labels.",
    "quantize": "Make the int8 form of a model bundle, which runs about twice as fast on processors with VNNI.",
    "run": "Run a job spec: the options of a command in a file.",
    "schema": "Print the JSON Schema of job specs, by which editors complete and check them.",
    "schedule": "Write what runs a job again and again: lines for cron, units of systemd, or a CronJob of Kubernetes.",
    "jobs": "List, follow and stop the jobs of a cluster.",
    "report": "Make one HTML page of a table of predictions: what was seen when, how sure, and what went wrong.",
    "runs": "List the runs of an output: what each did, how it ended, what limited it.",
    "doctor": "Look at this machine, or at each node of a cluster: what it has, what is wrong, and how to mend it.",
    "demo": "Show it at work: make small videos, train on them, classify others, and print the table.",
}
"""Name and first line of each command."""

_COMPLETE_VARIABLE = "_VIDCNN_COMPLETE"
"""Is set where a shell asks what may follow; its name is the one that Typer gives it."""


class LazyGroup(TyperGroup):
    """A group that knows its commands by name, and imports one when it is called."""

    # Click's own types are left out: Typer brings a copy of Click along from some version on.

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a stand-in with the command's name and first line: enough for the help."""
        summary = COMMANDS.get(cmd_name)
        return None if summary is None else TyperCommand(cmd_name, help=summary)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that is called."""
        if args and args[0] in COMMANDS:
            command = load_command(args[0])
            if ctx.resilient_parsing:  # a shell asks what may follow
                return args[0], command, args[1:]
            from vidcnn.config import optional_values

            interrupts.begin()
            return args[0], command, optional_values.complete(args[1:])
        if args and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"the commands are {', '.join(COMMANDS)}"
            raise UsageError(f"there is no command '{args[0]}'", hint)
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="vidcnn",
    cls=LazyGroup,
    help="Classify and train on more video than one machine can watch.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def load_command(name: str) -> Any:
    """Import a command: a function of its module's own name, or a group of them called ``app``."""
    module = import_module(f"vidcnn.commands.{name}")
    if hasattr(module, "app"):
        return typer.main.get_command(module.app)
    command_app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    command_app.command(name)(getattr(module, name))
    return typer.main.get_command(command_app)


def main() -> None:
    """Run the command line, and exit."""
    if "--debug" in sys.argv:
        os.environ[DEBUG_VARIABLE] = "1"
    exit_code = _run(sys.argv[1:]) or _flush()
    interrupts.finish(exit_code)
    # What Python does at its end takes a second where torch is loaded; and where compiled code met an interruption, it
    # would end by the signal and not with the exit code.
    interrupts.leave(exit_code)
    sys.exit(exit_code)


def _run(arguments: list[str]) -> int:
    """Run a command, print what goes wrong, and return the exit code."""
    try:
        command = typer.main.get_command(app)
        if _COMPLETE_VARIABLE in os.environ:
            return _complete(command)
        with command.make_context("vidcnn", arguments) as context:
            command.invoke(context)
    except typer.Exit as error:
        return error.exit_code
    except JobFailedError as error:
        return error.exit_code
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        fault = stdout_fault()
        if isinstance(error, OSError | SystemExit) and fault is not None:  # Rich makes the one of the other
            return 0 if isinstance(fault, BrokenPipeError) else _tell(unwritten(fault), is_debug=False)
        if isinstance(error, SystemExit) and not error.code:  # the options that install and show the completion
            return 0
        if _is_usage(error):
            return _tell_usage(error)
        return _tell(error, is_debug="--debug" in arguments)
    return 0


def _complete(command: Any) -> int:
    """Print what a shell asks for, and return the exit code; nothing follows what is not known."""
    try:
        command.main([], prog_name="vidcnn")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0
    except VidcnnError:
        pass
    return 1


def _flush() -> int:
    """Write out what is left of the result, and return an exit code other than 0 if that fails."""
    try:
        show("", end="")
    except OutputError as error:
        return _tell(error, is_debug=False)
    return 0


def _tell(error: BaseException, *, is_debug: bool) -> int:
    """Print what went wrong, and return the exit code."""
    if is_debug and not isinstance(error, KeyboardInterrupt):
        sys.stderr.write(screen_text(hide_logins("".join(traceback.format_exception(error)))))
    failure = describe_failure(error)
    if interrupts.was_interrupted() and not isinstance(error, VidcnnError):
        failure = describe_failure(KeyboardInterrupt())
    print(f"vidcnn: {failure.message}", file=sys.stderr)
    if failure.hint:
        print(f"        {failure.hint}", file=sys.stderr)
    if isinstance(error, RayDiedError):
        interrupts.leave(failure.exit_code)
    return failure.exit_code


def _versions() -> list[str]:
    """Return the versions of what vidcnn runs on, without loading it."""
    from importlib.metadata import PackageNotFoundError, version
    from platform import platform, python_version

    found = []
    for name in ("torch", "torchvision", "ray", "av", "pyarrow"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} is not installed")
    return [f"Python {python_version()} on {platform()}", *found]


def _is_usage(error: BaseException) -> bool:
    """Return whether arguments are wrong; Click's own types are left out, as above."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _tell_usage(error: Any) -> int:
    """Show what is wrong with the arguments, and return the exit code."""
    from typer import rich_utils

    error.message = one_line(hide_logins(str(error.message)))
    rich_utils.rich_format_error(error)
    exit_code: int = error.exit_code
    return exit_code


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="With --version: those of what it runs on, too.")] = False,
) -> None:
    if version:
        show("\n".join([f"vidcnn {__version__}", *(_versions() if debug else ())]))
        raise typer.Exit
