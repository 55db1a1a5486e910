"""Grade school word problems (GSM8K, Cobbe et al. 2021): a question, an answer that ends in `#### 72`."""

from __future__ import annotations

from pathlib import Path

from environments.environment import BadRow, Row
from environments.math import Math, recorded_task, task_id
from environments.sources import text_of
from environments.types import Task, clean

_MARK = "####"


class Gsm8k(Math):
    name = "gsm8k"
    summary = "a word problem whose answer is one number (GSM8K)"
    data = "hf:openai/gsm8k/main#train"
    demo = str(Path(__file__).parent / "demo" / "gsm8k.jsonl")

    def task(self, row: Row) -> Task:
        recorded = recorded_task(row, self.name)
        if recorded is not None:
            return recorded
        prompt = clean(text_of(row, "question"))
        return Task(task_id(row, self.name, prompt), self.name, prompt, self._reference(row))

    def _reference(self, row: Row) -> str:
        answer = text_of(row, "answer").rpartition(_MARK)[2].strip()
        if not answer or "\n" in answer:
            raise BadRow(f"'answer' does not end in '{_MARK} …'")
        return clean(answer)
