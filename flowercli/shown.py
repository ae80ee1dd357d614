"""Text from outside as it may be shown.

Names, paths and messages that others chose can neither steer a terminal, break a line, nor turn what is beside them.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from typing import Any

# Control characters (C0, DEL, C1); marks without a form of their own, of direction above all, and line separators;
# bytes of a file name that are no text. Not U+200C and U+200D, which some scripts and emoji are written with.
C0, HALVES = "\x00-\x1f", "\ud800-\udfff"
MARKS = "\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff"
UNSAFE = re.compile(f"[{C0}{MARKS}{HALVES}]")
# Characters of a name, or of what went wrong, that others wrote.
SHOWN = 200
# The highest probability that is written as a number; the lowest is as far from none.
SUREST = 0.999
# JSON has escaped the others itself, or cannot be encoded.
UNSAFE_IN_JSON = re.compile(f"[{MARKS}]")
# Of `_`, only where a word begins or ends: inside one it is none of Markdown's marks.
MARKDOWN = re.compile(r"([\\`|\[\]*~$]|(?<!\w)_|_(?!\w))")


def one_line(text: str) -> str:
    """Return text with what is not to be seen as escapes, line breaks included."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def first_line(error: BaseException) -> str:
    """Return what an error of others says, short and as it may be shown."""
    if isinstance(error, KeyError):
        return one_line(f"{error} is missing"[:SHOWN])
    found = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # torch says in the first what it was about, and in the second what is wrong.
    return one_line(" ".join(found[: 2 if found[0].endswith(":") else 1])[:SHOWN])


def counted(count: int, noun: str) -> str:
    """Return how many of something there are: ``1 photograph``, ``2,000 photographs``, ``2 processes``."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


def percent(share: float, digits: int = 1) -> str:
    """Return a share as it is written everywhere: ``97.5 %``."""
    return f"{100 * share:.{digits}f} %"


def probability(share: float) -> str:
    """Return a probability as a percentage that claims neither certainty nor impossibility, as the page does."""
    if share > SUREST:
        return f">{percent(SUREST)}"
    return f"<{percent(1 - SUREST)}" if share < 1 - SUREST else percent(share)


def in_shell(word: object) -> str:
    """Return a path or a name as it may stand in a command to be copied: one word, whatever is in it."""
    if sys.platform == "win32":
        import subprocess

        return subprocess.list2cmdline([str(word)])
    return shlex.quote(str(word))


def lines(text: str) -> str:
    """Return text of several lines with everything else that is not to be seen as escapes."""
    return "\n".join(map(one_line, text.split("\n")))


def json_line(document: str) -> str:
    r"""Return a JSON document with what is not to be seen as ``\uXXXX``: its value stays what it was."""
    return UNSAFE_IN_JSON.sub(lambda found: json.dumps(found[0])[1:-1], document)


def in_markdown(value: Any) -> Any:
    """Return a value of JSON in which no text, and no key, is Markdown or HTML."""
    if isinstance(value, str):
        # Its table of named characters costs a hundredth of the first answer of `classify`, which writes no Markdown.
        import html

        return MARKDOWN.sub(r"\\\1", html.escape(one_line(value), quote=False))
    if isinstance(value, dict):
        return {in_markdown(key): in_markdown(inner) for key, inner in value.items()}
    return [in_markdown(inner) for inner in value] if isinstance(value, list | tuple) else value
