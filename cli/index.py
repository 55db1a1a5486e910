"""`errata index`: build a local index of Wikipedia's passages, which `wikipedia_search` then searches."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJson, print_json
from environments.faults import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from environments.search.index import Built

_LINE_SECONDS = 10.0


def register(app: typer.Typer) -> None:
    app.command(name="index")(index)


def index(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="HotpotQA's questions with their contexts, files of passages, or the dump of Wikipedia's abstracts; "
            "files, folders or hf:owner/name#split.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="The index's folder; an index there is replaced.")],
    backend: Annotated[
        str, typer.Option(metavar="NAME", help="fts5, or tantivy for millions of pages (needs errata[search]).")
    ] = "fts5",
    as_json: AsJson = False,
) -> None:
    """Build an index of passages, for `wikipedia_search`.

    Of passages with the same title the first is kept.
    """
    from environments.search.index import BACKENDS, build_index

    chosen = next((one for one in BACKENDS if one == backend), None)
    if chosen is None:
        raise UsageError(f"unknown back end '{backend}'. There are: {', '.join(BACKENDS)}.")
    began = time.monotonic()
    with _shown() as progress:
        built = build_index(sources, out, backend=chosen, progress=progress)
    if as_json:
        print_json(_as_json(built, out, time.monotonic() - began))
    else:
        _summary(built, out, time.monotonic() - began)


@contextmanager
def _shown() -> Iterator[Callable[[str, int], None]]:
    """A line that counts on a terminal, a line now and then elsewhere; on stderr."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("Reading …") as status:
            yield lambda source, pages: status.update(f"{pages:,} pages · {source}")
        return
    last = time.monotonic()

    def line(source: str, pages: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_SECONDS:
            last = time.monotonic()
            _say(f"{pages:,} pages so far, in {source}")

    yield line


def _summary(built: Built, out: Path, seconds: float) -> None:
    from cli.words import duration

    manifest = built.manifest
    for problem in built.problems:
        _say(problem)
    if manifest.bad > len(built.problems):
        _say(f"… and {manifest.bad - len(built.problems):,} more like these.")
    _say(
        f"{manifest.pages:,} pages and {manifest.redirects:,} redirects in {out} ({manifest.backend}, "
        f"{built.size / 1e6:,.1f} MB, {duration(seconds)})."
    )
    dropped = {
        "the same passage again": manifest.repeated,
        "another text under a title that was there": manifest.other_text,
        "no passage": manifest.bad,
    }
    told = "; ".join(f"{why} ({count:,})" for why, count in dropped.items() if count)
    if told:
        _say(f"Passed over: {told}.")
    _say(f"To search it: ERRATA_INDEX={out} errata collect --env hotpotqa …")
    print(out)  # noqa: T201 - the command's data


def _as_json(built: Built, out: Path, seconds: float) -> dict[str, object]:
    from dataclasses import asdict

    return {"path": str(out), **asdict(built.manifest), "bytes": built.size, "seconds": round(seconds, 1)}


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - prose for people goes to stderr
