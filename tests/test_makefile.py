"""Set-up by make: each target installs what it needs and no more, and a folder of wheels is enough for it."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUNTIME, DEV = "-e .", "-e '.[dev]'"
FOREIGN = ("PIP_", "UV_", "MAKE", "MFLAGS", "TORCH_BACKEND", "VIRTUAL_ENV", "PYTHON")
"""Variables of whoever runs these tests, as `make test` does."""
BACKEND = """import shutil


def build_editable(folder, config_settings=None, metadata_directory=None):
    shutil.copy({name!r}, folder)
    return {name!r}
"""


def planned(*arguments: str, **variables: str) -> str:
    """What make would run."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    done = subprocess.run(
        ["make", "-n", *arguments], cwd=ROOT, env=environment | variables, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def environment(tmp_path):
    """An environment that is set up for running only, as make sees it."""
    folder = tmp_path / "venv"
    folder.mkdir()
    (folder / ".installed").touch()
    return f"VENV={folder}"


@pytest.mark.parametrize("target", ["run", "study", "check", "bench"])
def test_what_runs_installs_no_tools_of_tests(target, tmp_path):
    commands = planned(target, f"VENV={tmp_path / 'new'}")
    assert RUNTIME in commands
    assert "--require-hashes -r embedded.txt" in commands
    assert "[dev]" not in commands


@pytest.mark.parametrize("target", ["test", "test-platform", "test-demo", "docs", "install"])
def test_what_tests_and_documents_adds_its_tools(target, environment, tmp_path):
    commands = planned(target, f"VENV={tmp_path / 'new'}")
    assert commands.index(RUNTIME) < commands.index(DEV)
    added = planned(target, environment)
    assert DEV in added
    assert RUNTIME not in added


def test_a_second_run_installs_nothing(environment):
    assert planned("run", environment).splitlines() == [f"{environment[5:]}/bin/ato run pipeline --profile demo"]


def test_every_package_is_constrained_and_compiled(tmp_path):
    commands = planned("install", f"VENV={tmp_path / 'new'}").splitlines()
    packages = [line for line in commands if " -e " in line]
    assert len(packages) == 2
    assert all("--compile-bytecode -c constraints.txt" in line for line in packages)


def test_the_backend_of_torch_is_passed_on_only_where_it_is_given(tmp_path):
    new = f"VENV={tmp_path / 'new'}"
    assert planned("install", new, "TORCH_BACKEND=cpu").count("--torch-backend cpu") == 2
    assert "--torch-backend" not in planned("install", new, UV_TORCH_BACKEND="cpu")


def test_the_version_of_uv_is_written_once():
    assert len(re.findall(r"^uv==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)) == 1
    for name in ("Makefile", "pyproject.toml", ".ci/run"):
        assert not re.search(r"\buv[=<>~]=", (ROOT / name).read_text(encoding="utf-8"))


def wheel(folder: Path, name: str, version: str, files: dict[str, bytes], metadata: str = "") -> Path:
    """A wheel that any installer takes."""
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(content)}\n"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            item = zipfile.ZipInfo(file)
            item.external_attr = 0o100755 << 16
            archive.writestr(item, content)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


@pytest.fixture
def project(tmp_path):
    """A project with this Makefile: a dependency in two versions, one for tests, data with its hash, uv; all as wheels."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert uv, "uv is missing: run `make install`"
    root, wheels = tmp_path / "project", tmp_path / "wheels"
    shutil.copytree(ROOT / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    wheels.mkdir()
    shutil.copy(ROOT / "Makefile", root)
    wheel(wheels, "uv", "1.0", {"uv-1.0.data/scripts/uv": Path(uv).read_bytes()})
    for version in ("1.0", "2.0"):
        wheel(wheels, "library", version, {"library.py": f"version = {version!r}\n".encode()})
    wheel(wheels, "tests_only", "1.0", {"tests_only.py": b""})
    data = wheel(wheels, "data", "1.0", {"data.py": b""}, "Requires-Dist: nowhere\n")
    extra = "Requires-Dist: library\nProvides-Extra: dev\nRequires-Dist: tests_only; extra == 'dev'\n"
    own = wheel(root, "project", "1.0", {"project.pth": f"{root}\n".encode()}, extra)
    (root / "backend.py").write_text(BACKEND.format(name=own.name))
    (root / "pyproject.toml").write_text(
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
        "[project]\nname = 'project'\nversion = '1.0'\ndependencies = ['library']\n"
        "[project.optional-dependencies]\ndev = ['tests_only']\n"
    )
    (root / "constraints.txt").write_text("library==1.0\n")
    (root / "embedded.txt").write_text(f"data==1.0 --hash=sha256:{hashlib.sha256(data.read_bytes()).hexdigest()}\n")
    encoder = wheel(wheels, "encoder", "1.0", {"encoder.py": b""}, "Requires-Dist: nowhere\n")
    (root / "tests").mkdir()
    hashed = f"encoder==1.0 --hash=sha256:{hashlib.sha256(encoder.read_bytes()).hexdigest()}\n"
    (root / "tests" / "embedded.txt").write_text(hashed)
    return root


def make(target: str, project: Path) -> subprocess.CompletedProcess[str]:
    """Run make where there is nothing but the wheels, as pip is told, and another environment is active."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    settings = (
        f"[global]\nno-index = true\nfind-links = {project.parent / 'wheels'}\nconstraint = {project / 'machine.txt'}\n"
    )
    (project.parent / "pip.conf").write_text(settings)
    (project / "machine.txt").write_text("tests_only<2\n")
    environment |= {"PIP_CONFIG_FILE": str(project.parent / "pip.conf"), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"UV_CACHE_DIR": str(project.parent / "cache"), "VIRTUAL_ENV": "/another", "UV_SYSTEM_PYTHON": "1"}
    command = ["make", "--no-print-directory", target, f"PYTHON={sys.executable}"]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_a_folder_of_wheels_is_enough_and_each_step_is_said_in_one_line(project):
    packages = project / ".venv" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    first = make(".venv/.installed", project)
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.startswith("Setting up .venv")
    assert len((first.stdout + first.stderr).splitlines()) == 1
    assert (packages / "library.py").read_text() == "version = '1.0'\n"  # as constrained, not the latest
    assert list((packages / "__pycache__").glob("library.*.pyc"))
    assert (packages / "data.py").exists()
    assert not (packages / "tests_only.py").exists()
    second = make("install", project)
    assert second.returncode == 0, second.stdout + second.stderr
    assert len((second.stdout + second.stderr).splitlines()) == 1
    assert (packages / "tests_only.py").exists()
    assert (packages / "encoder.py").exists()
    assert make("install", project).stdout == "make: Nothing to be done for 'install'.\n"


@pytest.mark.slow
def test_a_file_of_another_hash_is_refused_in_full_words_and_set_up_starts_again(project):
    (project / "embedded.txt").write_text(f"data==1.0 --hash=sha256:{'0' * 64}\n")
    done = make(".venv/.installed", project)
    assert done.returncode != 0
    assert "Hash mismatch" in done.stderr
    assert not (project / ".venv" / ".installed").exists()
