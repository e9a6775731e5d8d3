"""``python -m warehouse.catalog.statement_process``: runs users' statements for ``StatementWorker`` until its input ends.

It has an address space of its own size: DuckDB's memory limit does not count what functions such as ``printf`` allocate.
Requests are lines of JSON; an answer is a line of JSON, then as many bytes of an Arrow IPC stream as it says.
"""

import json
import os
import resource
import select
import sys
from typing import Any

IDLE_SECONDS = 120
"""An idle process ends after this time; the next statement starts another."""
THREADS = 4
"""Most threads of one visitor's statement."""


def main() -> None:
    """Answer requests."""
    os.nice(5)  # pages come first
    setting = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else may stand between the answers
    import duckdb

    from ato.errors import AtoError
    from warehouse.catalog.catalog import connect

    try:
        connection = connect(
            setting["root"], memory=f"{setting['memory'] * 3 // 4}B", threads=_threads(), must_exist=False
        )
        _limit(setting["memory"])
    except AtoError as error:
        _answer(answers, {"error": _described(error)}, b"")
        return
    _answer(answers, {"ready": True}, b"")
    while select.select([sys.stdin], [], [], IDLE_SECONDS)[0] and (line := sys.stdin.readline()):
        request = json.loads(line)
        try:
            header, body = _run(connection, request)
        except AtoError as error:
            over = isinstance(error.__cause__, duckdb.OutOfMemoryException)
            header, body = {"over": True} if over else {"error": _described(error)}, b""
        except (MemoryError, RecursionError):
            header, body = {"over": True}, b""
        _answer(answers, header, body)


def _threads() -> int:
    return min(THREADS, os.cpu_count() or 1)


def _limit(memory: int) -> None:
    """Allow so many bytes of address space beyond what is in use, no files and no core dumps."""
    with open("/proc/self/statm", encoding="ascii") as status:
        used = int(status.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _run(connection: Any, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    import pyarrow as pa

    from ato.errors import InputError
    from warehouse.catalog.query import flat, run_select
    from warehouse.catalog.sql_errors import running

    relation = run_select(connection, request["sql"], seconds=request["seconds"], max_rows=request["max_rows"])
    try:
        with running(connection, request["sql"]):
            table = (flat(relation) if request["flat"] else relation).to_arrow_table()
        if table.nbytes <= request["max_bytes"]:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as stream:
                stream.write_table(table)
            body = sink.getvalue().to_pybytes()
            return {"bytes": len(body)}, body
    except MemoryError:  # Arrow's own too
        raise
    except pa.ArrowException as error:
        what = f"the result cannot be converted: {error}"
        raise InputError(what, cure="cast its columns to other types, such as column::varchar") from error
    what = f"the result has {table.nbytes / 1e6:,.0f} MB, more than {request['max_bytes'] / 1e6:,.0f} MB"
    raise InputError(what, cure="ask for fewer rows or columns, or shorten texts with left(text, 200)")


def _described(error: Exception) -> dict[str, Any]:
    from ato.errors import AtoError

    assert isinstance(error, AtoError)
    where = None if error.where is None else str(error.where)
    return {"kind": type(error).__name__, "what": error.what, "where": where, "cure": error.cure}


def _answer(answers: Any, header: dict[str, Any], body: bytes) -> None:
    answers.write(json.dumps(header).encode() + b"\n" + body)
    answers.flush()


if __name__ == "__main__":
    main()
