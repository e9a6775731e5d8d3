"""Users' statements in a process of their own, with limits on address space, time and size that hold.

DuckDB counts neither what functions such as ``printf`` allocate nor listens everywhere to an interruption, and what nests
too deeply may end its process: here all of this ends one visitor's process only.
"""

import json
import os
import select
import subprocess
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any

import pyarrow as pa

from ato import errors
from ato.errors import AtoError, InputError, UnavailableError
from warehouse.catalog.query import check_length, out_of_time

START_SECONDS = 120
"""Longest time that a process may take to open the warehouse."""
GRACE_SECONDS = 2.0
"""Time that a statement has to stop by itself once its time is up."""
LOOK_SECONDS = 0.25
"""Interval between looks at whether the visitor still waits."""


class StatementWorker:
    """Runs the statements of one visitor, one after the other, each within limits.

    The process starts with the first statement, or when that is to be expected; it ends when it is idle or stopped, and starts
    again when needed.

    Args:
        root: of the warehouse, as in ``warehouse.connect``.
        memory: bytes of address space that a statement may use beyond those of the open warehouse.
    """

    def __init__(self, root: str | Path | None, memory: int):
        self.root, self._memory = None if root is None else str(root), memory
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._lock = Lock()

    def prepare(self) -> None:
        """Let the process start meanwhile, so that the next statement need not wait for it; does not wait itself."""
        if self._lock.acquire(blocking=False):
            try:
                self._launched()
            finally:
                self._lock.release()

    def run(
        self,
        sql: str,
        *,
        seconds: float,
        max_rows: int,
        max_bytes: int,
        flat: bool = False,
        waiting: Callable[[], object] = lambda: None,
    ) -> pa.Table:
        """The rows of one read-only statement.

        Args:
            sql: the statement.
            seconds: time limit; the process is ended soon afterwards.
            max_rows: further rows are not computed.
            max_bytes: largest result.
            flat: nested values as JSON text, see ``warehouse.catalog.query.flat``.
            waiting: called while the statement runs; if it raises, the statement is ended and the exception passes on.

        Raises:
            InputError: as ``run_select``, or over one of the limits; the message says which.
            DamagedFileError: a table that it reads has a missing or short file.
            UnavailableError: the process cannot be started.
        """
        check_length(sql)
        request = {"sql": sql, "seconds": seconds, "max_rows": max_rows, "max_bytes": max_bytes, "flat": flat}
        with self._lock:
            try:
                header, body = self._answered(request, seconds, waiting)
            except TimeoutError:
                self.stop()
                raise out_of_time(seconds) from None
            except (EOFError, BrokenPipeError):
                self.stop()
                raise self._over(", or is nested too deeply") from None
            except BaseException:  # the visitor no longer waits
                self.stop()
                raise
            if header.get("over"):
                self.stop()  # what it freed may be in pieces
                raise self._over()
        if "error" in header:
            raise _raised(header["error"])
        return pa.ipc.open_stream(pa.py_buffer(body)).read_all()

    def _answered(
        self, request: dict[str, Any], seconds: float, waiting: Callable[[], object]
    ) -> tuple[dict[str, Any], bytes]:
        """Header and body of the answer to a request."""
        process = self._started(waiting)
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            return _answer(process, monotonic() + seconds + GRACE_SECONDS, waiting)
        except (EOFError, BrokenPipeError):
            if process.wait() != 0:
                raise
        self.stop()  # it had been idle and ended at that moment
        return self._answered(request, seconds, waiting)

    def stop(self) -> None:
        """End the process, and with it the statement that it runs."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)

    def _over(self, or_else: str = "") -> InputError:
        limit = f"{self._memory / 1e9:g} GB" if self._memory >= 1e9 else f"{self._memory / 1e6:g} MB"
        return InputError(
            f"the statement exceeds its memory limit of {limit}{or_else}",
            cure="narrow the query: one collection, fewer columns, or an aggregate",
        )

    def _started(self, waiting: Callable[[], object]) -> subprocess.Popen[bytes]:
        process = self._launched()
        if self._ready:
            return process
        try:
            header, _ = _answer(process, monotonic() + START_SECONDS, waiting)
        except (TimeoutError, EOFError):
            self.stop()
            raise UnavailableError("the process for statements does not start", cure="see `ato doctor`") from None
        except BaseException:
            self.stop()
            raise
        if "error" in header:
            self.stop()
            raise _raised(header["error"])
        self._ready = True
        return process

    def _launched(self) -> subprocess.Popen[bytes]:
        """The process, which may not yet have said that it is ready."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._ready = False
        setting = json.dumps({"root": self.root, "memory": self._memory})
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        # Fewer pools, since what they only reserve counts as address space.
        pools = {"MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "warehouse.catalog.statement_process", setting],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | pools | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        weakref.finalize(self, _end, self._process)
        return self._process


def _answer(
    process: subprocess.Popen[bytes], deadline: float, waiting: Callable[[], object]
) -> tuple[dict[str, Any], bytes]:
    """Header and body of an answer.

    Raises:
        TimeoutError: it is not there in time.
        EOFError: the process has ended.
    """
    assert process.stdout is not None
    pipe, got = process.stdout.fileno(), bytearray()
    end, size = -1, 0
    while end < 0 or len(got) < end + size:
        if monotonic() > deadline:
            raise TimeoutError
        if not select.select([pipe], [], [], LOOK_SECONDS)[0]:
            waiting()
            continue
        if not (read := os.read(pipe, 1 << 20)):
            raise EOFError
        got += read
        if end < 0 and (line_end := got.find(b"\n")) >= 0:
            end = line_end + 1
            header: dict[str, Any] = json.loads(bytes(got[:end]))
            size = header.get("bytes", 0)
    return header, bytes(got[end:])


def _raised(error: dict[str, Any]) -> AtoError:
    kind: type[AtoError] = getattr(errors, error["kind"])
    return kind(error["what"], where=error["where"], cure=error["cure"])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):  # of a request that nobody read
                pipe.close()
