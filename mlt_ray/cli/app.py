"""The command ``mlt-ray``: its verbs, and how it ends."""

import atexit
import contextlib
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NoReturn

import typer

from mlt_ray import signals
from mlt_ray.cli import corpus
from mlt_ray.cli.compare import compare
from mlt_ray.cli.doctor import doctor
from mlt_ray.cli.evaluate import evaluate
from mlt_ray.cli.explain import explain
from mlt_ray.cli.export import export
from mlt_ray.cli.predict import predict
from mlt_ray.cli.report import report, sync
from mlt_ray.cli.run import demo, list_studies, run
from mlt_ray.cli.search import search
from mlt_ray.display.encoding import open_streams, show_everything, use_utf8
from mlt_ray.errors import INTERRUPTED, UserError, refusal
from mlt_ray.masking import masked

NAME = "mlt-ray"

TOO_LITTLE: Final = ("failed to map segment", "annot allocate memory")
"""What the system says of a library for which the limits of this process leave no room."""

app = typer.Typer(
    help="Cross-validated multimodal speech emotion recognition, orchestrated with Ray.",
    epilog="Start with: mlt-ray demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command()(run)
app.command()(search)
app.command()(report)
app.command()(compare)
app.command()(predict)
app.command()(explain)
app.command()(evaluate)
app.command()(export)
app.command()(demo)
app.command("studies")(list_studies)
app.command()(sync)
app.command()(doctor)

corpus_app = typer.Typer(help="Make, voice and check corpora.", no_args_is_help=True)
corpus_app.command("demo")(corpus.demo)
corpus_app.command("synthesize")(corpus.synthesize)
corpus_app.command("languages")(corpus.languages)
corpus_app.command("check")(corpus.check)
app.add_typer(corpus_app, name="corpus")


def main() -> NoReturn:
    """Entry point: the verb that the command line names, and its exit code."""
    open_streams()
    use_utf8()
    show_everything()
    signals.handle()
    os.environ["MPLBACKEND"] = "agg"  # figures go to files; a notebook's choice is none of ours
    leave(exit_code(sys.argv[1:]))


def exit_code(arguments: Sequence[str]) -> int:
    """Call a verb as a command line would; returns the exit code.

    A user's mistake, or a place that the system refuses, is one line on stderr and exit code 2. A
    bug is raised.
    """
    try:
        _check_empty(arguments)
        os.getcwd()  # fails where the folder was deleted: few libraries can be loaded there
        code = app(list(arguments), prog_name=NAME, standalone_mode=False)
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()  # the disk that it goes to may be full
    except typer.TyperException as error:
        # Without arguments its text is empty: the help has been printed.
        if text := error.format_message():
            _tell(_misused(text, error, arguments))
        return 2
    except typer.Abort as error:
        # Typer makes it of an EOFError, which a library raises for a file that is cut short.
        raise error.__cause__ or error from None
    except UserError as error:
        _tell(str(error))
        return 2
    except ImportError as error:
        if not any(words in str(error) for words in TOO_LITTLE):
            raise
        _tell(f"memory: expected room to load libraries, got: {error}; raise ulimit -v")
        return 2
    except OSError as error:
        if (refused := refusal(error)) is None:
            raise
        _tell(refused)
        return 2
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    if code == INTERRUPTED:
        print(f"\n{NAME}: interrupted; {_what_stays(arguments)}", file=sys.stderr)
    return code or 0


def _check_empty(arguments: Sequence[str]) -> None:
    """`UserError` for an empty word, which would be taken for the current folder or for nothing."""
    for before, word in pairwise(("", *arguments)):
        option, equals, value = word.partition("=")
        if word and not (option.startswith("--") and equals and not value):
            continue
        name = option or before
        if name != "--text":
            where = name if name.startswith("--") else "command line"
            raise UserError(
                f"{where}: expected a value, got an empty text; is a variable of the shell not set?"
            )


def _tell(text: str) -> None:
    """Print one line on stderr, with ``\\n`` for a line break that a name or a value holds."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in masked(text))
    print(f"{NAME}: {line}", file=sys.stderr)


def _misused(text: str, error: typer.TyperException, arguments: Sequence[str]) -> str:
    """What is wrong with a command line, in one line; `text` is Typer's."""
    text = " ".join(text.replace("Value error, ", "").split()).rstrip(".")
    if details := getattr(error.__cause__, "errors", None):
        given = repr(str(details()[0]["input"]))
        text += "" if given in text else f", got {given}"
    context = getattr(error, "ctx", None)
    command = context.command_path if context else " ".join((NAME, *arguments[:1]))
    return f"{text[0].lower()}{text[1:]}; see {command} --help"


_LEFT: Final = {
    "predict": "what was printed stays",
    "explain": "nothing was written",
    "export": "nothing was written",
}
"""What an interrupted verb leaves, where it is not what was computed."""


def _what_stays(arguments: Sequence[str]) -> str:
    """What an interrupted command leaves."""
    verb = arguments[0] if arguments else ""
    if verb in _LEFT:
        return _LEFT[verb]
    return "what was computed is kept, the same command goes on from here"


def leave(code: int) -> NoReturn:
    """End the process without Python's clean-up, which takes a second after torch, Ray and MLflow.

    Everything that must be kept has been written and closed by then.
    """
    atexit._run_exitfuncs()
    # A program that reads the output, such as head, may have ended.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):
            stream.flush()
    os._exit(code)
