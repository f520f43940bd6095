"""The command line: finds the command, and turns what goes wrong into one line and an exit code.

Each command is a module of `vidcnn.commands` and is imported when it is called, so that ``vidcnn --help`` is immediate.
Results go to stdout, progress and errors to stderr.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from vidcnn import __version__
from vidcnn.errors import DEBUG_VARIABLE, Failure, JobFailedError, describe_failure
from vidcnn.logins import hide_logins

COMMANDS = {
    "infer": "Classify videos clip by clip, into a Parquet table with a row for every clip and every bad video.",
    "train": "Train a network on labelled videos, into a bundle that `vidcnn infer` takes.",
    "evaluate": "Measure a bundle on labelled videos: over clips, and over whole videos with several views of each.",
    "models": "List the models: name, parameters, GFLOPs per clip, input and weights.",
    "bundle": "Make a model bundle from an architecture, weights and labels.",
    "run": "Run a job spec: the options of a command in a file.",
    "schema": "Print the JSON Schema of job specs, by which editors complete and check them.",
    "schedule": "Write what runs a job again and again: lines for cron, units of systemd, or a CronJob of Kubernetes.",
    "jobs": "List, follow and stop the jobs of a cluster.",
    "demo": "Show it at work: make small videos, train on them, classify others, and print the table.",
}
"""Name and first line of each command."""


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

    def invoke(self, ctx: Any) -> Any:
        """Call the command; what is wrong with its arguments is told without the logins in them."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if hasattr(error, "format_message") and isinstance(getattr(error, "message", None), str):
                error.message = hide_logins(error.message)  # type: ignore[attr-defined]
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that is called."""
        if args and args[0] in COMMANDS:
            return args[0], load_command(args[0]), args[1:]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="vidcnn",
    cls=LazyGroup,
    help="Classify and train on more video than one machine can watch.",
    no_args_is_help=True,
    add_completion=False,
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
    debug = "--debug" in sys.argv
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"
    try:
        app(prog_name="vidcnn")
        sys.stdout.flush()
    except JobFailedError as error:
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (Exception, KeyboardInterrupt) as error:
        if debug and not isinstance(error, KeyboardInterrupt):
            sys.stderr.write(hide_logins(traceback.format_exc()))
            sys.exit(1)
        _fail(describe_failure(error))


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"vidcnn {__version__}")
        raise typer.Exit


def _fail(failure: Failure) -> Any:
    print(f"vidcnn: {failure.message}", file=sys.stderr)
    if failure.hint:
        print(f"        {failure.hint}", file=sys.stderr)
    sys.exit(failure.exit_code)
