"""A page that attacks the servers of ``ato up`` from the user's own browser in all the ways that a page has."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx

from flows.local.deployments import declared
from tests.flows.running_platform import Platform

PAGE = "<!doctype html><title>You have won</title><body>"
EXPERIMENT = "hostile"
"""Name of what the page would create in MLflow."""
READ = {
    "server": "PREFECT/api/admin/settings",
    "version": "PREFECT/api/admin/version",
    "settings": "PREFECT/ui-settings",
    "key": "PREFECT/enter",
    "models": "MLFLOW/ajax-api/2.0/mlflow/registered-models/search",
    "artifacts": "MLFLOW/api/2.0/mlflow-artifacts/artifacts",
    "dashboard": "DASHBOARD/",
    "host": "DASHBOARD/_stcore/host-config",
}
"""What the page asks for and would read."""
WRITTEN = ("runs", "start", "start with key", "start as form", "experiment", "experiment as form")
SOCKETS = {"stream": "DASHBOARD/_stcore/stream", "events": "PREFECT/api/events/out", "logs": "PREFECT/api/logs/out"}
"""Sockets that the page opens."""
SCRIPT = """async ({read, sockets, runs, start, run, experiment, created}) => {
  const patience = (promise) => Promise.race([promise, new Promise(done => setTimeout(done, 4000, "nothing"))]);
  const got = {};
  const body = (url, options) => fetch(url, options).then(async answer => {
    const text = await answer.text();
    return answer.type === "opaque" || text === "" ? "nothing" : text.slice(0, 200);
  }).catch(() => "nothing");
  const plain = {method: "POST", mode: "no-cors", headers: {"Content-Type": "text/plain"}};
  const open = {method: "POST", headers: {"Content-Type": "application/json"}};
  const keyed = {...open, headers: {...open.headers, Authorization: "Basic " + btoa("ato:guess")}};
  const form = (address, text) => new Promise(done => {
    const frame = document.createElement("iframe"), form = document.createElement("form");
    const field = document.createElement("input"), cut = text.length - 2;
    frame.name = "frame" + Math.random();
    Object.assign(form, {action: address, method: "POST", enctype: "text/plain", target: frame.name});
    Object.assign(field, {name: text.slice(0, cut) + ', "x": "', value: '"}'});
    form.append(field);
    document.body.append(frame, form);
    frame.onload = () => setTimeout(() => {
      try { done(frame.contentDocument.body.innerText || "nothing"); } catch { done("nothing"); }
    }, 200);
    form.submit();
  });
  const socket = (address) => new Promise(done => {
    const opened = new WebSocket(address.replace("http", "ws"), address.includes("/api/") ? "prefect" : []);
    opened.onerror = opened.onclose = () => done("nothing");
    opened.onmessage = message => done("message");
    opened.onopen = () => address.includes("/api/") ? opened.send('{"type": "auth"}') : done("open");
  });
  for (const [name, url] of Object.entries(read)) {
    got[name] = await patience(body(url));
    if (got[name] === "nothing") got[name] = await patience(body(url, {credentials: "include"}));
  }
  for (const [name, url] of Object.entries(sockets)) got[name] = await patience(socket(url));
  got["runs"] = await patience(body(runs, {...open, body: "{}"}));
  await patience(body(start, {...plain, body: run}));
  got["start"] = await patience(body(start, {...open, body: run}));
  got["start with key"] = await patience(body(start, {...keyed, body: run}));
  got["start as form"] = await patience(form(start, run));
  await patience(body(experiment, {...plain, body: created}));
  got["experiment"] = await patience(body(experiment, {...open, body: created}));
  got["experiment as form"] = await patience(form(experiment, created));
  return got;
}"""


def attack(chromium: Any, there: Platform, hostile: str, proof: Path, under: str | None = None) -> dict[str, str]:
    """Visit the page at an address and let it attack; what it got out of each attempt, "nothing" if nothing.

    Args:
        hostile: address of the page, with a slash.
        proof: a file that its command would make.
        under: base address of all it asks, as after DNS rebinding; by default the servers' own addresses.
    """
    page = chromium.new_context().new_page()
    if under is None:
        page.goto(hostile)
    else:  # the name resolved to the attacker's machine before
        page.route(hostile, lambda route: route.fulfill(content_type="text/html", body=PAGE))
        page.goto(hostile)
        page.unroute(hostile)
    deployment = there.deployment("collect")["id"]
    run = {"state": {"type": "SCHEDULED"}, "job_variables": {"command": f"touch {proof}"}}

    def address(pattern: str) -> str:
        service, _, path = pattern.partition("/")
        return f"{under or there.state.addresses[service.lower()]}/{path}"

    got: dict[str, str] = page.evaluate(
        SCRIPT,
        {
            "read": {name: address(url) for name, url in READ.items()},
            "sockets": {name: address(url) for name, url in SOCKETS.items()},
            "start": address(f"PREFECT/api/deployments/{deployment}/create_flow_run"),
            "runs": address("PREFECT/api/flow_runs/filter"),
            "run": json.dumps(run),
            "experiment": address("MLFLOW/api/2.0/mlflow/experiments/create"),
            "created": json.dumps({"name": EXPERIMENT}),
        },
    )
    page.context.close()
    return got


@contextmanager
def hostile_server() -> Iterator[int]:
    """Serve the page on a port of this machine; gives the port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def nothing_happened(there: Platform, proof: Path) -> None:
    """Assert that no run was created, no command ran and MLflow holds nothing new."""
    assert not any(there.runs(deployment.name) for deployment in declared())
    assert there.post("flow_runs/count") == 0
    assert not proof.exists()
    found = httpx.get(
        f"{there.state.addresses['mlflow']}/api/2.0/mlflow/experiments/search", params={"max_results": 100}, timeout=60
    )
    assert EXPERIMENT not in {experiment["name"] for experiment in found.raise_for_status().json()["experiments"]}
