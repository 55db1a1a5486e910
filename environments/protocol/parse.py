"""From a reply's text to an `Action`. Total: every string has a meaning, and what was odd about it has a name.

Two policies stand behind one seam. `first-action` takes the first complete block and ends the reply
there, so nothing that the teacher dreamt up after it enters the conversation. `mint` is the rule of
the original collection (a solution anywhere wins, blocks of one tag are joined, nothing is cut), kept
to replay recorded runs. `docs/protocol.md` gives each class of oddity and the decision.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import cast

from environments.types import Action, ActionKind, Oddity

Policy = Callable[[str], Action]

STOP = "\nObservation:"
"""Where a provider that takes stop sequences is asked to end: only the host observes."""

# The innermost block: `<solution> it is <solution> 7 </solution>` proposes 7.
_BLOCK = re.compile(r"<(execute|solution)>((?:(?!<\1>).)*?)</\1>", re.DOTALL)
_OPEN = re.compile(r"<(execute|solution)>")
_CLOSE = re.compile(r"</(execute|solution)>")
# A role marker or a bracket before the word is still an invented observation: `[INST] Observation:`.
_INVENTED = re.compile(
    r"^[^\S\n]*(?:(?:[*>]|\[[^\]\n]{0,20}\]?|Assistant\S{0,12})[^\S\n]*){0,3}Observation\**[^\S\n]*[:：]|(?i:<observation>)",
    re.MULTILINE,
)
_OTHER_SPEAKER = re.compile(r"^[^\S\n]*(?:Assistant|User|Human|System|Task)[^\S\n]*[:：]", re.MULTILINE)
_FENCE = re.compile(r"^[^\S\n]*```", re.MULTILINE)
_WIDE_COLON = re.compile(r"\b(?:Observation|Assistant|User|Task)[^\S\n]*：")

_KINDS: MappingProxyType[str, ActionKind] = MappingProxyType({"execute": "code", "solution": "solution"})


def first_action(text: str) -> Action:
    """The first complete block counts, and the reply ends after it, or before an observation it invented."""
    invented = _INVENTED.search(text)
    heard = text[: invented.start()] if invented else text
    block = _BLOCK.search(heard)
    if block is None:
        return Action("malformed", "", len(heard.rstrip()), oddities(text))
    content = block[2].strip()
    kind: ActionKind = _KINDS[block[1]] if content else "malformed"
    return Action(kind, content, block.end(), oddities(text, block.end()))


def mint(text: str) -> Action:
    """The original's rule: `<solution>` anywhere makes it a solution; blocks of the tag are joined by newlines."""
    tag = "solution" if "<solution>" in text else "execute"
    content = "\n".join(block.strip() for block in _whole_blocks(text, tag))
    kind: ActionKind = _KINDS[tag] if content else "malformed"
    return Action(kind, content, len(text), oddities(text))


def _whole_blocks(text: str, tag: str) -> Iterator[str]:
    """What stands from each opening tag to the next closing one. (A pattern would look for it quadratically.)"""
    begin, end = f"<{tag}>", f"</{tag}>"
    start = text.find(begin)
    while start >= 0 and (stop := text.find(end, start + len(begin))) >= 0:
        yield text[start + len(begin) : stop]
        start = text.find(begin, stop + len(end))


POLICIES: MappingProxyType[str, Policy] = MappingProxyType({"first-action": first_action, "mint": mint})


def oddities(text: str, end: int | None = None) -> tuple[Oddity, ...]:
    """Everything odd about a reply, in the order of `Oddity`; `end` is where its action ended, if it has one."""
    found = frozenset(_oddities(text, end))
    return tuple(name for name in _ORDER if name in found)


def _oddities(text: str, end: int | None) -> Iterator[Oddity]:
    if not text.strip():
        yield "empty"
        return
    blocks = list(_BLOCK.finditer(text))
    opened = [match[1] for match in _OPEN.finditer(text)]
    closed = [match[1] for match in _CLOSE.finditer(text)]
    if not opened and not closed:
        yield "no_tag"
    if len(set(opened)) == 2:
        yield "both_tags"
    if any(sum(block[1] == tag for block in blocks) > 1 for tag in _KINDS):
        yield "several_blocks"
    if any(opened.count(tag) > closed.count(tag) for tag in _KINDS):
        yield "unclosed"
    if any(closed.count(tag) > opened.count(tag) for tag in _KINDS):
        yield "stray_close"
    if _is_nested(text):
        yield "nested_tag"
    if any(not block[2].strip() for block in blocks):
        yield "empty_block"
    if _FENCE.search(text):
        yield "markdown_fence"
    if end is not None and text[end:].strip(" \t\r\n.*"):
        yield "text_after_block"
    if _INVENTED.search(text):
        yield "invented_observation"
    if any(match.start() > 0 for match in _OTHER_SPEAKER.finditer(text)):
        yield "invented_turn"
    if _WIDE_COLON.search(text):
        yield "full_width_colon"


def _is_nested(text: str) -> bool:
    """Whether a tag opens inside an open tag of its own kind."""
    for tag in _KINDS:
        inside = False
        for match in re.finditer(f"<(/?){tag}>", text):
            if inside and not match[1]:
                return True
            inside = not match[1]
    return False


_ORDER = cast(
    tuple[Oddity, ...],
    (
        "empty", "no_tag", "both_tags", "several_blocks", "unclosed", "stray_close", "nested_tag", "empty_block",
        "markdown_fence", "text_after_block", "invented_observation", "invented_turn", "full_width_colon",
    ),
)  # fmt: skip
