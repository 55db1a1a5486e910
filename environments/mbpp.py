"""Small functions from a sentence (MBPP, Austin et al. 2021); the first assert is shown, for its name and form."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from environments.environment import BadRow, Row
from environments.graders.examiner import Examination, Verdict, examined, functions_asked
from environments.graders.programs import Program
from environments.humaneval import recorded_row, tests_of
from environments.kernels import KernelHost
from environments.programs import Programs, text_or_none, texts_of
from environments.sources import text_of
from environments.types import Json, Task, clean


class Mbpp(Programs):
    name = "mbpp"
    summary = "a small function, from a sentence and one assert (MBPP)"
    data = "hf:google-research-datasets/mbpp, or files in its form; MINT's results"
    demo = str(Path(__file__).parent / "demo" / "mbpp.jsonl")

    def task(self, row: Row) -> Task:
        recorded = recorded_row(row)
        if recorded is not None:
            setup, source, imports = "", text_of(recorded, "reference"), ""
            prompt = text_of(recorded, "prompt")
        else:
            asserts = texts_of(row, "test_list")
            if not asserts:
                raise BadRow("no 'test_list'")
            setup, source = text_or_none(row, "test_setup_code") or "", "\n".join(asserts)
            imports = "\n".join(texts_of(row, "test_imports"))
            prompt = f"{text_of(row, 'text', 'prompt').strip()}\n{asserts[0].strip()}"
        tests = tests_of(f"{setup}\n{source}", given=imports)
        asked = functions_asked(tests)
        if not asked:
            raise BadRow("its tests call no function that a solution could define")
        reference: dict[str, Json] = {
            "asked": asked,
            "imports": clean(imports),
            "tests": [clean(test) for test in tests],
        }
        identity = f"mbpp/{'mint-' if recorded else ''}{text_of(recorded or row, 'task_id')}"
        metadata: dict[str, Json] = {"source": "mint"} if recorded else {}
        return Task(clean(identity), self.name, clean(prompt.strip()), reference, metadata=metadata)

    async def verdicts(self, task: Task, program: str, kernels: KernelHost) -> Sequence[Verdict]:
        reference = cast(Mapping[str, Json], task.reference)
        preamble = (str(reference["imports"]),)
        tests, asked = (tuple(cast(Sequence[str], reference[name])) for name in ("tests", "asked"))
        examination = Examination(tests, asked, preamble)
        return await examined(kernels, Program(textwrap.dedent(program), preamble), examination)
