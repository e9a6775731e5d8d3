"""How a command ends: an error is one line with its exit status, and the process leaves without tearing itself down."""

import atexit
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from rich.console import Console

from ato.errors import AtoError, SettingsError, file_error

problems = Console(stderr=True, highlight=False)


class _Ended(BaseException):
    """SIGTERM came."""


def _end(signum: int, frame: object) -> NoReturn:
    raise _Ended


def end_with(command: Callable[[], int | None]) -> NoReturn:
    """Run a command and end the process with its exit status; a traceback only with ``--debug``."""
    if "--debug" in sys.argv:  # at any position
        sys.argv = [sys.argv[0], "--debug", *(a for a in sys.argv[1:] if a != "--debug")]
    signal.signal(signal.SIGTERM, _end)  # by default nothing would end the Prefect server that a run started
    try:
        code = command()
    except SettingsError as error:
        told = "" if "`ato settings" in str(error) else "; all settings: `ato settings`"
        _fail(error, f"{error}{told}; docs/settings.md")
    except AtoError as error:
        _fail(error, str(error))
    except KeyboardInterrupt:
        _fail(None, "interrupted: run the same command again to resume", code=130)
    except _Ended:
        _fail(None, "ended by SIGTERM: run the same command again to resume", code=143)
    except Exception as error:
        message = getattr(error, "format_message", lambda: "")()
        if isinstance(error, OSError) and error.errno and error.filename:
            _fail(error, str(file_error(error)))
        if message:  # a usage error of the command line
            _fail(None, f"{message} See: ato --help", code=2)
        _fail(error, f"{type(error).__name__}: {' '.join(str(error).split())} (run with --debug for the traceback)")
    _leave(code or 0)


def _fail(error: BaseException | None, message: str, *, code: int = 1) -> None:
    if "--debug" in sys.argv and error is not None:
        raise error
    from ato.text.display import visible

    problems.print("[bold red]error[/]", end=" ")
    keep = "\n" if isinstance(error, SettingsError) else ""  # faults of settings are a line each
    problems.print(visible(message, keep), markup=False, soft_wrap=True)
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process after its exit functions, without tearing the interpreter down.

    Prefect's daemon threads outlive the teardown and keep modules alive, of which native libraries then complain.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
