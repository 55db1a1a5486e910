"""What a task file holds, and which tasks are chosen for it."""

import json
import random
from pathlib import Path

import pytest

from environments.environment import Environment, make_environment, registered_environments
from environments.faults import ErrataError, UsageError
from environments.graders.denotation import canonical, grade_denotation, target_value
from environments.math import Math
from environments.preparing import PRESETS, Condition, Preparation, Selection, drawn, largest
from environments.sources import load_tasks
from environments.tables import Tables
from environments.taskfile import encoded
from environments.taskset import Output, write
from environments.types import Task

MARKED = [name for name in registered_environments() if make_environment(name).demo]


def _tasks(count: int, environment: str = "math") -> list[Task]:
    return [
        Task(f"{environment}/{n}", environment, f"{n}?", str(n), metadata={"level": n % 5 + 1, "kind": "ab"[n % 2]})
        for n in range(count)
    ]


def _ids(tasks: list[Task]) -> list[str]:
    return [task.id for task in tasks]


def _select(tasks: list[Task], **wanted: object) -> dict[str, list[Task]]:
    return Preparation().select(tasks, Selection(**wanted))  # type: ignore[arg-type]


# -- the form ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MARKED)
def test_every_environment_takes_its_prepared_tasks_back_unchanged(name: str, tmp_path: Path) -> None:
    environment = make_environment(name)
    assert environment.demo
    given = load_tasks(environment, environment.demo).tasks
    out = tmp_path / "tasks.jsonl"
    write(environment, [environment.demo], Selection(), Output(out))
    taken = {task.id: task for task in load_tasks(environment, out).tasks}
    assert taken.keys() == {task.id for task in given}
    for task in given:
        assert encoded(taken[task.id]) == encoded(environment.completed(task)[0])
        assert taken[task.id].prompt == task.prompt


def test_text_of_every_kind_survives_the_file(tmp_path: Path) -> None:
    odd = Task(
        "math/ü", "math", "tab\tnul\\x00 “–” 東 \U0001f600", {"a": [1, 2.5, None, True]}, metadata={"x": "\ud800"}
    )
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(encoded(odd))
    assert load_tasks(Math(), path).tasks == (odd,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"environment": "gsm8k"}, "a task of 'gsm8k', not of 'math'"),
        ({"id": 7}, "no text in 'id'"),
        ({"prompt": " "}, "no text in 'prompt'"),
        ({"inputs": [1]}, "'inputs' is not an object"),
        ({"metadata": "x"}, "'metadata' is not an object"),
    ],
)
def test_a_line_of_a_task_file_that_is_none_says_why(change: dict[str, object], said: str, tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    good, bad = (json.loads(encoded(task)) for task in _tasks(2))
    path.write_text(json.dumps(good) + "\n" + json.dumps(bad | change) + "\n")
    loaded = load_tasks(Math(), path)
    assert _ids(list(loaded.tasks)) == ["math/0"]
    assert loaded.problems == (f"{path}:2: {said}",)


# -- the choice ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "levels"),
    [
        ("level>=3", {3, 4, 5}),
        ("level < 2", {1}),
        ("level=1,4", {1, 4}),
        ("level != 5", {1, 2, 3, 4}),
        ("level <= 2.5", {1, 2}),
        ("level > 4", {5}),
    ],
)
def test_conditions_choose_by_metadata(condition: str, levels: set[int]) -> None:
    chosen = _select(_tasks(20), where=(Condition.parse(condition),))[""]
    assert {task.metadata["level"] for task in chosen} == levels


def test_a_task_without_the_field_is_not_chosen_and_a_field_of_no_task_is_refused() -> None:
    bare = Task("math/x", "math", "?", "1")
    assert bare not in _select([*_tasks(5), bare], where=(Condition.parse("level != 9"),))[""]
    with pytest.raises(UsageError, match=r"no task has 'lvl'.*there are: kind, level"):
        _select(_tasks(5), where=(Condition.parse("lvl=3"),))
    for text in ("level", "level>=high", "=3", "level="):
        with pytest.raises(UsageError, match="--where"):
            Condition.parse(text)


def test_a_sample_is_the_same_whatever_the_order_of_the_source_and_grows_with_its_count() -> None:
    tasks = _tasks(200)
    mixed = random.Random(1).sample(tasks, len(tasks))
    few, same, more = (_ids(_select(given, count=count, seed=7)[""]) for given, count in
                       ((tasks, 20), (mixed, 20), (mixed, 50)))  # fmt: skip
    assert few == same == more[:20]
    assert few != _ids(_select(tasks, count=20, seed=8)[""])
    without = [task for task in tasks if task.id != few[0]]
    assert _ids(_select(without, count=19, seed=7)[""]) == few[1:]


def test_splits_share_no_task_and_their_sizes_are_exact() -> None:
    tasks = _tasks(1_000)
    splits = _select(tasks, splits=(("train", 0.9), ("dev", 0.05), ("test", 0.05)), seed=3)
    assert {name: len(members) for name, members in splits.items()} == {"train": 900, "dev": 50, "test": 50}
    assert sorted(_ids([task for members in splits.values() for task in members])) == sorted(_ids(tasks))
    mixed = random.Random(2).sample(tasks, len(tasks))
    assert _select(mixed, splits=(("train", 0.9), ("dev", 0.05), ("test", 0.05)), seed=3) == splits


def test_tasks_that_have_to_stay_together_do() -> None:
    tasks = [Task(f"math/{n}", "math", "?", "1", metadata={"table": n // 3}) for n in range(90)]
    splits = _select(tasks, splits=(("a", 0.5), ("b", 0.5)), together="table")
    tables = [{task.metadata["table"] for task in members} for members in splits.values()]
    assert not tables[0] & tables[1]
    assert all(40 <= len(members) <= 50 for members in splits.values())


def test_a_split_that_would_be_empty_is_refused() -> None:
    with pytest.raises(UsageError, match="3 tasks leave none for the split 'dev'"):
        _select(_tasks(3), splits=(("train", 0.99), ("dev", 0.01)))


def test_the_parts_of_a_choice_are_the_whole_of_it_in_every_variant() -> None:
    sql, pandas = (_tasks(101, f"tables:{name}") for name in ("sql", "pandas"))
    first = {task.id.partition("/")[2] for task in _select(sql, part=(1, 2), seed=42)[""]}
    second = {task.id.partition("/")[2] for task in _select(pandas, part=(2, 2), seed=42)[""]}
    assert (len(first), len(second)) == (50, 51)
    assert first | second == {str(n) for n in range(101)}


def test_the_largest_are_chosen_by_rows_and_then_by_columns() -> None:
    sizes = {"a": (5, 2), "b": (9, 1), "c": (5, 3), "d": (2, 40), "e": (5, 2)}
    tasks = [
        Task(f"tables:sql/{name}", "tables:sql", "?", {}, metadata={"rows": rows, "columns": columns})
        for name, (rows, columns) in sizes.items()
    ]
    for given in (tasks, tasks[::-1]):
        assert [task.id[-1] for task in largest(given, ("rows", "columns"), 4)] == ["b", "c", "a", "e"]


def test_every_preset_is_for_an_environment_that_takes_its_sources() -> None:
    for presets in PRESETS.values():
        for name, preset in presets.items():
            assert preset.selection.seed == 42
            assert all(source.startswith("hf:") and "#" in source for source in preset.sources), name


# -- the file and its account --------------------------------------------------------------------


def _write(
    folder: Path, environment: Environment, rows: list[dict[str, object]], **wanted: object
) -> dict[str, object]:
    source = folder / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = Output(folder / "tasks.jsonl", force=True)
    return dict(write(environment, [str(source)], Selection(**wanted), out).manifest)  # type: ignore[arg-type]


def _problems(count: int) -> list[dict[str, object]]:
    return [{"id": n, "problem": f"{n}+0?", "answer": str(n), "level": f"Level {n % 5 + 1}"} for n in range(count)]


def test_refused_rows_are_counted_by_reason_with_their_first_places(tmp_path: Path) -> None:
    rows = [
        *_problems(4),
        *({"id": 90 + n, "problem": "?"} for n in range(5)),
        {"answer": "1"},
        {"id": 0, "problem": "!", "answer": "2"},
    ]
    manifest = _write(tmp_path, Math(), rows)
    path = tmp_path / "rows.jsonl"
    assert manifest["refused"] == [
        {"reason": "no 'solution' or 'answer'", "rows": 5, "first": [f"{path}:{line}" for line in (5, 6, 7)]},
        {"reason": "no 'problem'", "rows": 1, "first": [f"{path}:10"]},
        {"reason": f"'math/0' again, with other content than at {path}:1", "rows": 1, "first": [f"{path}:11"]},
    ]
    assert manifest["steps"] == [{"step": "rows read", "left": 11}, {"step": "tasks", "left": 4}]


def test_the_same_choice_writes_the_same_bytes_whatever_the_order_of_the_source(tmp_path: Path) -> None:
    rows = _problems(60)
    written = []
    for given in (rows, rows[::-1]):
        manifest = _write(tmp_path, Math(), given, count=20, splits=(("train", 0.9), ("dev", 0.1)), seed=5)
        written.append((tmp_path / "tasks.train.jsonl").read_bytes() + (tmp_path / "tasks.dev.jsonl").read_bytes())
    assert written[0] == written[1]
    assert written[0].count(b"\n") == 20
    assert {name: one["tasks"] for name, one in manifest["files"].items()} == {  # type: ignore[attr-defined]
        "tasks.train.jsonl": 18,
        "tasks.dev.jsonl": 2,
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "rows.jsonl", "tasks.dev.jsonl", "tasks.manifest.json", "tasks.train.jsonl",
    ]  # fmt: skip


def test_nothing_is_left_of_what_cannot_be_read_back(tmp_path: Path) -> None:
    class Forgetful(Math):
        """Takes a task file's tasks for its own rows, and loses them."""

        name = "forgetful"

        def completed(self, task: Task) -> tuple[Task, str | None]:
            return Task("other", "math", task.prompt, task.reference), None

    source = tmp_path / "rows.jsonl"
    source.write_text(json.dumps(_problems(1)[0]))
    with pytest.raises(
        ErrataError, match=r"not what was written .*a task of 'math', not of 'forgetful'.*nothing is kept"
    ):
        write(Forgetful(), [str(source)], Selection(), Output(tmp_path / "tasks.jsonl"))
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


# -- tables --------------------------------------------------------------------------------------

TARGETS = ["2 years", "4.0 million", "28 November 1984", "June", "July 31", "April 1997", "France", "1,204", "-5",
           "007", "106.3 FM", "9" * 400, "*", "Belgrade, Serbia", "2007–08", "Result: 2-1", "1984-xx-11"]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_a_derived_target_judges_as_the_target_itself(target: str) -> None:
    assert target_value(target, canonical(target)) == target_value(target, None)


def test_derived_targets_are_written_as_the_data_set_writes_its_own() -> None:
    assert [canonical(target) for target in TARGETS[:7]] == [
        "2.0", "4000000.0", "1984-11-28", "xxxx-06-xx", "xxxx-07-31", "1997-04-xx", "France",
    ]  # fmt: skip


@pytest.mark.data
def test_derived_targets_agree_with_the_data_sets_own_where_it_has_them(data: Path) -> None:
    unlike, count = [], 0
    for name in ("pristine-unseen-tables", "pristine-seen-tables"):
        for task in load_tasks(Tables("sql"), data / "wtq" / "tagged" / "data" / f"{name}.tagged").tasks:
            assert isinstance(task.reference, dict)
            for target, canon in zip(task.reference["targets"], task.reference["canon"], strict=True):
                count += 1
                if target_value(target, canonical(target)) != target_value(target, canon):
                    unlike.append(target)
    assert count > 228
    assert unlike == ["106.3 FM"]


@pytest.mark.data
def test_the_training_questions_get_targets_and_the_manifest_says_so(data: Path, tmp_path: Path) -> None:
    environment = Tables("pandas")
    source = str(data / "wtq" / "data" / "training.tsv")
    chosen = Selection(largest=("rows", "columns"), most=100, part=(2, 2), seed=42)
    written = write(environment, [source], chosen, Output(tmp_path / "tasks.jsonl"))
    assert list(written.manifest["derived"].values()) == [50]  # type: ignore[union-attr]
    assert [step.tasks for step in written.steps] == [218, 218, 100, 50]
    tasks = load_tasks(environment, tmp_path / "tasks.jsonl").tasks
    given = {task.id: task for task in load_tasks(environment, source).tasks}
    for task in tasks:
        assert isinstance(task.reference, dict)
        assert task.prompt == given[task.id].prompt
        assert task.inputs == given[task.id].inputs
        assert grade_denotation(
            task.reference["targets"], task.reference["canon"], "|".join(task.reference["canon"])
        ).correct
    smallest = min(
        (task.metadata["rows"], task.metadata["columns"]) for task in largest(given.values(), ("rows",), 100)
    )
    assert all((task.metadata["rows"], task.metadata["columns"]) >= smallest for task in tasks)


@pytest.mark.data
def test_the_halves_for_sql_and_pandas_are_the_questions_over_the_largest_tables(data: Path, tmp_path: Path) -> None:
    halves = {}
    for which, variant in enumerate(("sql", "pandas"), start=1):
        out = tmp_path / f"{variant}.jsonl"
        chosen = Selection(largest=("rows", "columns"), most=100, part=(which, 2), seed=42)
        write(Tables(variant), [str(data / "wtq" / "data" / "training.tsv")], chosen, Output(out))
        halves[variant] = {task.id.partition("/")[2] for task in load_tasks(Tables(variant), out).tasks}
    assert not halves["sql"] & halves["pandas"]
    sizes = {}
    for line in (data / "wtq" / "data" / "training.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        question, _, table, _ = line.split("\t")
        header, *rows = (data / "wtq" / table).with_suffix(".tsv").read_text(encoding="utf-8").rstrip("\n").split("\n")
        sizes[question] = (-len(rows), -len(header.split("\t")), question)
    assert halves["sql"] | halves["pandas"] == set(sorted(sizes, key=sizes.__getitem__)[:100])


def test_a_draw_takes_no_notice_of_the_variant() -> None:
    assert [task.id.partition("/")[2] for task in drawn(_tasks(50, "tables:sql"), 1)] == [
        task.id.partition("/")[2] for task in drawn(_tasks(50, "tables:pandas"), 1)
    ]
