"""What schemathesis cannot know: what a picture is, as a file and in base64. Nothing is left out."""

from __future__ import annotations

import base64

import schemathesis
from conftest import SAMPLES
from hypothesis import strategies

PICTURES = strategies.sampled_from([path.read_bytes() for path in sorted(SAMPLES.glob("*.jpg"))])

for kind in ("image/jpeg", "image/png", "image/webp", "image/gif"):
    schemathesis.openapi.media_type(kind, PICTURES)
schemathesis.openapi.format("base64-picture", PICTURES.map(lambda content: base64.b64encode(content).decode()))
