"""What schemathesis cannot know: the base64 text of a picture."""

from __future__ import annotations

import base64

import schemathesis
from conftest import SAMPLES
from hypothesis import strategies

PICTURES = [base64.b64encode(path.read_bytes()).decode() for path in sorted(SAMPLES.glob("*.jpg"))]

schemathesis.openapi.format("base64-picture", strategies.sampled_from(PICTURES))
