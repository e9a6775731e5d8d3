"""The libraries of the published site, from npm into ``dashboards/site/libraries``: ``python -m tools.browser_libraries``.

Run it after changing ``package.json`` there, with npm and a registry; publishing itself needs neither. Versions and hashes of
packages are those of ``package-lock.json``, which is renewed first if ``--update`` is given.
"""

import hashlib
import json
import lzma
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "dashboards" / "site" / "libraries"
DUCKDB, PARQUET = "@duckdb/duckdb-wasm/dist", "parquet-wasm/esm"
COPIED = {
    "duckdb.wasm": f"{DUCKDB}/duckdb-eh.wasm",
    "duckdb-worker.js": f"{DUCKDB}/duckdb-browser-eh.worker.js",
    "parquet.wasm": f"{PARQUET}/parquet_wasm_bg.wasm",
}
"""File of the site -> file of a package, taken as it is."""
LICENCE = re.compile(r"licen[cs]e", re.IGNORECASE)


def main(update: bool = False) -> None:
    """Bundle, compress and list the libraries."""
    with tempfile.TemporaryDirectory() as name:
        build = Path(name)
        for file in ("package.json", "package-lock.json", "entry.js"):
            if (FOLDER / file).exists() and not (update and file == "package-lock.json"):
                shutil.copy(FOLDER / file, build)
        command = "install" if update else "ci"
        _run(build, "npm", command, "--ignore-scripts", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund")
        shutil.copy(build / "package-lock.json", FOLDER)
        _run(build, "node_modules/.bin/esbuild", "entry.js", "--bundle", "--minify", "--format=esm", "--outfile=out.js")
        packages = build / "node_modules"
        files = {"libraries.js": (build / "out.js").read_bytes()}
        files |= {file: _plain(packages / source) for file, source in COPIED.items()}
        for old in FOLDER.glob("*.xz"):
            old.unlink()
        for file, content in files.items():
            (FOLDER / f"{file}.xz").write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
        licences = "\n\n".join(_licences(build, packages))
        (FOLDER / "licences.txt.xz").write_bytes(lzma.compress(licences.encode(), preset=9))
        listed = {
            "versions": json.loads((FOLDER / "package.json").read_text())["dependencies"],
            "files": {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
            | {"licences.txt": hashlib.sha256(licences.encode()).hexdigest()},
        }
        (FOLDER / "libraries.json").write_text(json.dumps(listed, indent=2) + "\n")


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True)


def _plain(path: Path) -> bytes:
    """A file without the line that names its source map, for which browsers would ask."""
    content = path.read_bytes()
    return re.sub(rb"\n//# sourceMappingURL=\S+\s*\Z", b"\n", content) if path.suffix == ".js" else content


def _licences(build: Path, packages: Path) -> list[str]:
    """The licence of every package that is in the bundle, by name."""
    locked = json.loads((build / "package-lock.json").read_text())["packages"]
    texts = []
    for place, package in sorted(locked.items()):
        if not place or package.get("dev") or package.get("optional"):
            continue
        folder = build / place
        files = sorted(file for file in folder.iterdir() if file.is_file() and LICENCE.search(file.name))
        text = "\n".join(file.read_text(encoding="utf-8", errors="replace").strip() for file in files)
        name = place.removeprefix(f"{packages.name}/")
        texts.append(
            f"{name} {package['version']} ({package.get('license', 'see below')})\n\n{text or 'no licence file'}"
        )
    return texts


if __name__ == "__main__":
    main(update="--update" in sys.argv[1:])
