"""The command ``mlt-ray``: its verbs, and how it ends."""

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import typer

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
from mlt_ray.errors import INTERRUPTED, UserError
from mlt_ray.masking import masked

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
    """Entry point: a user's mistake is one line on stderr and exit code 2."""
    open_streams()
    use_utf8()
    show_everything()
    # A batch system's SIGTERM ends a command as Ctrl-C does, not without a word.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _check_working_folder()
        app()
    except UserError as error:
        print(f"mlt-ray: {masked(str(error))}", file=sys.stderr)
        leave(2)
    except PermissionError as error:
        print(
            f"mlt-ray: {error.filename}: expected a place that may be read and written, got: "
            f"{error.strerror}; change its permissions, or name another place",
            file=sys.stderr,
        )
        leave(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print(f"\nmlt-ray: interrupted; {_what_stays(sys.argv[1:])}", file=sys.stderr)
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))
    leave(0)


def _check_working_folder() -> None:
    """`UserError` if the working directory was deleted: few libraries can be loaded there."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UserError(
            "working directory: expected one that exists, found it deleted; cd to another"
        ) from error


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
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
