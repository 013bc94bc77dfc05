"""Installs GraphiQL's files into `static`, so that the page needs no other host.

`python -m api.gateway.playground.install` lets npm fetch what `package-lock.json` names, checked by its hashes. With
the path of a `node_modules` it takes the files from there. Needs nothing but Python.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from api.gateway.playground.assets import ASSETS, HERE, STATIC

NPM_FILES = ("package.json", "package-lock.json", ".npmrc")
# One retry: whoever has no network should not wait for minutes to be told so.
NPM_OPTIONS = (
    "--ignore-scripts",
    "--prefer-offline",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",
    "--fetch-timeout=30000",
    "--no-audit",
    "--loglevel=error",
)
NPM_SECONDS = 180.0
LICENSES = "LICENSES.txt"
STAMP = ".installed"


class InstallError(Exception):
    """The files could not be installed; the message says why, in one line."""


def install(static: Path = STATIC, modules: Path | None = None) -> None:
    """Put the files into `static`, out of the `node_modules` given or else by npm. May be called again.

    Raises `InstallError` when npm is missing or fails, or when a file is not the one that the page demands, and
    `OSError` when the files cannot be read or written.
    """
    if modules is not None:
        _copy(modules, static)
        return
    with TemporaryDirectory(prefix="heliograph-graphiql-") as folder:
        _copy(_fetched(Path(folder)), static)


def _fetched(folder: Path) -> Path:
    """The `node_modules` that npm made in `folder`."""
    npm = shutil.which("npm")
    if npm is None:
        raise InstallError("npm is not installed")
    for name in NPM_FILES:
        shutil.copy(HERE / name, folder)
    command = [npm, "ci", *NPM_OPTIONS]
    try:
        done = subprocess.run(  # noqa: S603 - the command is ours
            command, cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"npm did not get through: {error}") from error
    if done.returncode:
        said = done.stderr.strip() or f"exit status {done.returncode}"
        raise InstallError(f"npm failed: {said.splitlines()[0]}")
    return folder / "node_modules"


def _copy(modules: Path, static: Path) -> None:
    """Check all, then copy all: what is in `static` is always right."""
    contents = {asset.name: (modules / asset.package / asset.path).read_bytes() for asset in ASSETS}
    if changed := [asset.name for asset in ASSETS if not asset.is_intact(contents[asset.name])]:
        raise InstallError(f"npm delivered other files than expected: {', '.join(changed)}")
    static.mkdir(exist_ok=True)
    for name, content in contents.items():
        (static / name).write_bytes(content)
    (static / LICENSES).write_text(_licenses(modules))
    (static / STAMP).touch()


def _licenses(modules: Path) -> str:
    """The licences, which ask to go with every copy."""
    packages = sorted({asset.package for asset in ASSETS})
    files = [(package, path) for package in packages for path in sorted((modules / package).glob("LICENSE*"))]
    return "\n\n".join(f"{package}\n\n{path.read_text()}" for package, path in files)


def main() -> int:
    """What `python -m` calls; the exit status says whether the files are there now."""
    modules = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    try:
        install(modules=modules)
    except (InstallError, OSError) as error:
        print(f"GraphiQL will come from a CDN, not from this machine: {error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
