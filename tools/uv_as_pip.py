"""uv with the package sources that pip is configured for: ``python tools/uv_as_pip.py pip install ...``.

uv reads neither pip's configuration files nor its ``PIP_*`` variables: the wheel folder, index, proxy or certificate of a
machine would be ignored. Here they become uv's own variables. A variable of uv's that is set already stays as it is.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SECTIONS = ("global", "install", ":env:")
"""Where pip finds the settings of ``pip install``; a later one wins."""

VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "extra-index-url": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "find-links": ("UV_FIND_LINKS",),
    "trusted-host": ("UV_INSECURE_HOST",),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "proxy": ("ALL_PROXY", "all_proxy"),
    "timeout": ("UV_HTTP_TIMEOUT", "UV_REQUEST_TIMEOUT", "HTTP_TIMEOUT"),
    "default-timeout": ("UV_HTTP_TIMEOUT", "UV_REQUEST_TIMEOUT", "HTTP_TIMEOUT"),
    "retries": ("UV_HTTP_RETRIES",),
}
"""pip's setting: the variable that uv reads, and its other names, any of which the user may have set."""


def pip_settings(listed: str) -> dict[str, str]:
    """Settings that ``pip install`` would use, from what ``pip config list`` prints (``section.name='value'`` a line).

    Of a name that several files set, pip 25.3 and later list all, by file: the last one counts here.
    """
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        text = ast.literal_eval(value)
        if section in found and text.strip():  # pip leaves out empty values
            found[section][name] = text
    return {name: value for section in SECTIONS for name, value in found[section].items()}


def uv_variables(settings: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Variables to add to the environment, so that uv finds packages where pip does."""
    added = {}
    for name, variables in VARIABLES.items():
        if name in settings and not any(variable in environment for variable in variables):
            added[variables[0]] = _in_uvs_form(name, settings[name])
    if "UV_INDEX" in added and "UV_INDEX_STRATEGY" not in environment:
        added["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # all indexes together, as pip does; uv takes the first
    return added


def _in_uvs_form(name: str, value: str) -> str:
    """A value as uv separates it; pip separates everything by white space."""
    if name == "find-links":
        return ",".join(os.path.expanduser(place) for place in value.split())
    if name.endswith("timeout"):
        return value.partition(".")[0]  # whole seconds
    return " ".join(value.split())


def uv_options(settings: Mapping[str, str], environment: Mapping[str, str], arguments: list[str]) -> list[str]:
    """Options to add to ``arguments``, for what uv has no variable for, or would not join with an option.

    Constraints of the machine join those of the command line, as pip joins them. With ``--require-hashes`` there are none: uv
    asks for the hash of every constraint, and versions are fixed by then.
    """
    options = ["--no-index"] if settings.get("no-index", "").lower() in ("1", "true", "yes", "on", "t", "y") else []
    if "--require-hashes" not in arguments:
        for file in environment.get("UV_CONSTRAINT", settings.get("constraint", "")).split():
            options += ["--constraints", file]
    return options


def main() -> None:
    """Become uv, with the arguments of this program, for the environment whose Python runs it."""
    arguments = sys.argv[1:]
    pip = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(pip, stdout=subprocess.PIPE, text=True)
    if listed.returncode:
        sys.exit(f"pip's configuration could not be read: {' '.join(pip)} exited with {listed.returncode}")
    settings = pip_settings(listed.stdout)
    options = uv_options(settings, os.environ, arguments)
    environment = os.environ | uv_variables(settings, os.environ)
    environment.pop("UV_CONSTRAINT", None)
    uv = Path(sys.executable).with_name("uv")
    os.execve(uv, [str(uv), *arguments, "--python", sys.executable, *options], environment)


if __name__ == "__main__":
    main()
