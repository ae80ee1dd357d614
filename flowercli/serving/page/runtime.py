"""onnxruntime for browsers, as the build took it from npm; an install that was built without npm has none."""

from __future__ import annotations

import lzma
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("vendor")
SCRIPT = "ort.wasm.bundle.min.mjs"
WASM = "ort-wasm-simd-threaded.wasm"
LICENSE = "LICENSE.onnxruntime"
# Packed, because as it is it would make the wheel three times as large, and with gzip half as large again.
PACKED_WASM = WASM + ".xz"
# What a user types where the build found no npm.
HINT = (
    "Install Node.js with npm, then: pip install --force-reinstall --no-deps flowercli, from a clone of its repository."
)


def is_there() -> bool:
    """Tell whether the build took what the page needs to answer in the browser."""
    return all((FOLDER / name).is_file() for name in (SCRIPT, PACKED_WASM, LICENSE))


@cache
def wasm() -> bytes:
    """Return the WebAssembly of onnxruntime, 14 MB."""
    return lzma.decompress((FOLDER / PACKED_WASM).read_bytes())
