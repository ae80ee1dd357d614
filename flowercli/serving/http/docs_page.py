"""The service's description (OpenAPI 3.1) as a page at ``/docs``: plain HTML, which asks no other host for anything."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from flowercli.serving.http.openapi import BINARY
from flowercli.serving.page.files import MEDIA_TYPES, PageFile

PATH = "/docs"
HEAD = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>flowers: the service</title>
  <link rel="icon" href="./flower.svg" type="image/svg+xml">
  <link rel="stylesheet" href="./tokens.css">
  <link rel="stylesheet" href="./page.css">
  <link rel="stylesheet" href="./docs.css">
</head>
<body>
"""
CODE, IN_CODE = re.compile(r"`([^`]+)`"), r"<code>\1</code>"
# What the page says first: the shortest request that answers.
TRY = "curl --data-binary @rose.jpg -H 'Content-Type: image/jpeg' http://HOST:PORT/v1/classify"


def docs_page(description: Mapping[str, Any]) -> PageFile:
    """Return the page of a service that describes itself so."""
    paths = [
        _operation(path, method, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [_schema(name, schema) for name, schema in sorted(description["components"]["schemas"].items())]
    title = f"{description['info']['title']} {description['info']['version']}"
    parts = (
        '<header class="masthead"><img src="./flower.svg" alt="" width="32" height="32">',
        '<a class="wordmark" href="./">flowers</a></header>\n<main class="docs">',
        f"<h1>{_text(title)}</h1>{_paragraphs(description['info'].get('description', ''))}",
        f"<pre>{_text(TRY)}</pre>",
        '<p>For programs: <a href="./openapi.json">openapi.json</a></p>',
        *paths,
        "<h2>Schemas</h2>",
        *schemas,
        "</main>\n</body>\n</html>\n",
    )
    return PageFile((HEAD + "\n".join(parts)).encode(), MEDIA_TYPES[".html"])


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    body = operation.get("requestBody", {}).get("content", {})
    parameters = [
        (f"{one['name']} ({one['in']})", one.get("description", ""), _type(one["schema"]))
        for one in operation.get("parameters", [])
    ]
    sent = [(kind, "", _type(content.get("schema", {}))) for kind, content in body.items()]
    answers = [
        (
            str(status),
            answer["description"],
            ", ".join(_type(one["schema"]) for one in answer.get("content", {}).values()),
        )
        for status, answer in operation["responses"].items()
    ]
    return "\n".join(
        (
            f"<section><h2><code>{method.upper()} {_text(path)}</code></h2>",
            f"<p>{_text(operation['summary'])}.</p>{_paragraphs(operation.get('description', ''))}",
            _table("Parameters", parameters),
            _table("Body", sent),
            _table("Answers", answers),
            "</section>",
        )
    )


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    document = _text(json.dumps(schema, indent=2, ensure_ascii=False))
    return f'<details id="{_text(name)}"><summary><code>{_text(name)}</code></summary><pre>{document}</pre></details>'


def _type(schema: Mapping[str, Any]) -> str:
    """Return what a schema is called, as HTML."""
    if "$ref" in schema:
        name = _text(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}"><code>{name}</code></a>'
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    return "the bytes" if schema == BINARY else _text(str(schema.get("type", "any")))


def _table(title: str, rows: Iterable[tuple[str, str, str]]) -> str:
    """Return a table; the last cell of each row is HTML already."""
    cells = [
        f"<tr><td><code>{_text(name)}</code></td><td>{_text(what)}</td><td>{kind}</td></tr>"
        for name, what, kind in rows
    ]
    return f"<h3>{title}</h3><table>{''.join(cells)}</table>" if cells else ""


def _paragraphs(text: str) -> str:
    parts = (_text(part) for part in text.split("\n\n") if part.strip())
    return "".join(f"<p>{CODE.sub(IN_CODE, part)}</p>" for part in parts)


def _text(text: str) -> str:
    return html.escape(text)
