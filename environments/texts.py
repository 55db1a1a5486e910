"""Prompts are files: what a teacher is told stands in `environments/prompts/<environment>/`."""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("prompts")


@cache
def prompt_text(environment: str, name: str) -> str:
    """`prompt_text("math", "tools")`; a variant's folder is named with a dash: `tables-sql`."""
    return (_FOLDER / environment / f"{name}.txt").read_text(encoding="utf-8").strip()
