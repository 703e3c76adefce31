"""Whether the archives in dist/ are whole and work: ``make dist-check``.

Each is looked into, installed into a new environment, and runs the quickstart there. An argument is what pip installs
before, such as a torch without CUDA.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCATE = "import recolib; print(recolib.__file__)"


def check(condition: bool, rule: str) -> None:
    """End with the rule that does not hold."""
    if not condition:
        sys.exit(rule)


def names_of(archive: Path) -> set[str]:
    """The files in an archive, those of a source archive without its top folder."""
    if archive.suffix == ".whl":
        return set(zipfile.ZipFile(archive).namelist())
    with tarfile.open(archive) as content:
        return {member.name.partition("/")[2] for member in content.getmembers() if member.isfile()}


def check_names(archive: Path) -> None:
    """Both have the package, the marker of its types and the licence; a source archive has what the tests read."""
    names = names_of(archive)
    package = {str(file.relative_to(ROOT)) for file in (ROOT / "recolib").rglob("*.py")} | {"recolib/py.typed"}
    tops = {name.split("/")[0] for name in names}
    check(package == {name for name in names if name.startswith("recolib/")}, f"{archive.name} has not the package")
    check(any(name.endswith("LICENSE") for name in names), f"{archive.name} has no licence")
    if archive.suffix == ".whl":
        check(all(top == "recolib" or top.endswith(".dist-info") for top in tops), f"{archive.name} has {tops}")
    else:
        wanted = {"tests", "examples", "benchmarks", "docs", "pyproject.toml", "CHANGELOG.md", "SECURITY.md"}
        check(wanted <= tops, f"{archive.name} lacks {wanted - tops}")
        hidden = {top for top in tops if top.startswith(".")} - {".gitignore"}
        check(not hidden, f"{archive.name} has {hidden}")
    print(f"{archive.name}: {len(names)} files, {archive.stat().st_size / 1000:.0f} kB")


def check_install(archive: Path, first: list[str]) -> None:
    """The quickstart, run outside the checkout by an environment that has recolib from the archive."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        for wanted in ([first] if first else []) + [[str(archive)]]:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
        # -I: neither the current folder nor PYTHONPATH may give another recolib
        where = subprocess.run([python, "-I", "-c", LOCATE], cwd=folder, check=True, capture_output=True, text=True)
        check(Path(folder).resolve() in Path(where.stdout.strip()).resolve().parents, f"recolib is from {where.stdout}")
        quickstart = ROOT / "examples" / "quickstart.py"
        done = subprocess.run([python, "-I", quickstart], cwd=folder, capture_output=True, text=True)
        check(done.returncode == 0 and "test:" in done.stdout, f"{archive.name}: {done.stdout}{done.stderr}")
        print(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    archives = sorted([*(ROOT / "dist").glob("*.whl"), *(ROOT / "dist").glob("*.tar.gz")])
    check(len(archives) == 2, f"dist/ must have one wheel and one source archive, it has {[a.name for a in archives]}")
    for archive in archives:
        check_names(archive)
        check_install(archive, sys.argv[1:])
    print("both archives install and run the quickstart")
