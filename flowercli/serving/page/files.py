"""A file of the web page, as the HTTP service and a static export hand it out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PageFile:
    """The bytes of one file and what they are: ``text/html; charset=utf-8``, ``application/wasm``, …"""

    content: bytes
    media_type: str
