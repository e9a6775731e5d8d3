"""``python -m flows.local.serving prefect|mlflow``: the two servers of ``ato up``, each behind ``OwnPagesOnly``.

Their own commands check less: Prefect's answers any page and any host name, MLflow's any page of this machine's ports.
Settings come from the environment, see ``flows.local.services``.
"""

import argparse
import os
from typing import Any
from urllib.parse import quote

from ato.io.own_pages import Application, OwnPagesOnly, Receive, Scope, Send
from flows.local.prefect_api import ENTRY

_ENTRY_PAGE = """<!doctype html><meta charset="utf-8"><title>ATO</title><p id="said">One moment ...</p><script>
// The part after # never leaves the browser. It is kept only if the server accepts it, where Prefect's pages look for it.
const given = location.hash.slice(1), cut = given.includes("/") ? given.indexOf("/") : given.length;
const token = btoa(decodeURIComponent(given.slice(0, cut))), rest = given.slice(cut);
const path = /^\\/(?![\\/\\\\])/.test(rest) ? rest : "/";
history.replaceState(null, "", "/enter");
fetch("/api/admin/version", {headers: {Authorization: "Basic " + token}}).then(answer => {
  if (answer.ok) { localStorage.setItem("prefect-password", token); location.replace(path); }
  else document.getElementById("said").textContent = "This link is of an earlier start: use the one that ato up printed last.";
});
</script>"""


class WithEntry:
    """Prefect's application with the page ``/enter`` added: ``/enter#STRING/path`` keeps the string and leads to the path.

    Its pages ask the API by address: who opens them as ``localhost`` is led to the address, where the string is kept.
    """

    def __init__(self, app: Application):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the page, or pass on."""
        if scope["type"] != "http" or scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return
        host = dict(scope["headers"]).get(b"host", b"")
        if host.lower().startswith(b"localhost") and scope["method"] == "GET":
            address, port = scope["server"]
            query = b"?" + scope["query_string"] if scope["query_string"] else b""
            target = f"http://{address}:{port}".encode() + quote(scope["path"]).encode() + query
            await send({"type": "http.response.start", "status": 307, "headers": [(b"location", target)]})
            await send({"type": "http.response.body", "body": b""})
            return
        if scope["path"] != ENTRY:
            await self._app(scope, receive, send)
            return
        policy = "default-src 'none'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'"
        headers = {"content-type": "text/html; charset=utf-8", "cache-control": "no-store"}
        headers |= {"content-security-policy": policy, "referrer-policy": "no-referrer"}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": encoded})
        await send({"type": "http.response.body", "body": _ENTRY_PAGE.encode()})


def prefect_app() -> Application:
    """Prefect's API, services and pages, as ``prefect server start`` runs them, with the entry page."""
    from prefect.server.api.server import create_app

    return WithEntry(create_app(final=True))


def mlflow_app() -> Application:
    """MLflow's API and pages, as ``mlflow server`` runs them."""
    from mlflow.server.fastapi_app import app

    return app


def main() -> None:
    """Serve until stopped."""
    import uvicorn

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=("prefect", "mlflow"))
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    asked = parser.parse_args()
    options: dict[str, Any] = {"log_level": "warning"}
    if asked.server == "mlflow":
        os.environ["_MLFLOW_SGI_NAME"] = "uvicorn"  # as its own command does
    app = prefect_app() if asked.server == "prefect" else mlflow_app()
    uvicorn.run(OwnPagesOnly(app), host=asked.host, port=asked.port, **options)


if __name__ == "__main__":
    main()
