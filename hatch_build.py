"""At build time: take onnxruntime for browsers from npm, so that the page needs no other host.

Nothing fails where there is no npm or no network: the page then uses the server, and says so.
"""

from __future__ import annotations

import lzma
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path("node_modules", "onnxruntime-web", "dist")
SCRIPT, WASM, LICENSE = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm", "LICENSE.onnxruntime"
# Says what the files came from, so that another lock file fetches others.
STAMP = "package-lock.json"
SECONDS = 180


class PageRuntime(BuildHookInterface):
    """Put the files into ``flowercli/serving/page/vendor``, unless they are there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  (hatchling's signature)
        """Run before each build, of a wheel and of an editable install."""
        web, vendor = Path(self.root, "web"), Path(self.root, "flowercli", "serving", "page", "vendor")
        if not web.is_dir() or is_current(web, vendor):
            return  # A wheel that is built from an sdist holds them already.
        try:
            fetch(web, vendor)
        except (OSError, subprocess.SubprocessError) as error:
            reason = str(error).splitlines()[0]
            self.app.display_warning(
                f"The page will not answer in the browser: no onnxruntime-web from npm ({reason})."
            )


def is_current(web: Path, vendor: Path) -> bool:
    """Tell whether the files are there and come from this lock file."""
    stamp = vendor / STAMP
    return stamp.is_file() and stamp.read_bytes() == (web / STAMP).read_bytes()


def fetch(web: Path, vendor: Path) -> None:
    """Install the package in a temporary folder and copy what the page needs; the stamp comes last.

    Raises:
        OSError: there is no npm, or it failed.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed")
    with tempfile.TemporaryDirectory(prefix="flowers-page-") as temporary:
        folder = Path(temporary)
        for path in web.iterdir():
            shutil.copyfile(path, folder / path.name)
        # One try: a build without a network should not wait for minutes.
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0")
        done = subprocess.run(
            [npm, "ci", *options], cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        if done.returncode != 0:
            raise OSError((done.stderr.strip() or "npm ci failed").splitlines()[0])
        copy(folder, vendor)


def copy(folder: Path, vendor: Path) -> None:
    """Copy the files, the WebAssembly packed."""
    vendor.mkdir(exist_ok=True)
    (vendor / STAMP).unlink(missing_ok=True)
    shutil.copyfile(folder / PACKAGE / SCRIPT, vendor / SCRIPT)
    packed = lzma.compress((folder / PACKAGE / WASM).read_bytes(), preset=9)
    (vendor / f"{WASM}.xz").write_bytes(packed)
    shutil.copyfile(folder / LICENSE, vendor / LICENSE)
    shutil.copyfile(folder / STAMP, vendor / STAMP)
