"""HotpotQA's rows as tasks, the search its episodes hold, and where that search looks."""

import ast
import asyncio
import contextlib
import io
import json
import re
from pathlib import Path

import pytest

from environments.environment import BadRow, Row
from environments.faults import UsageError
from environments.hotpotqa import ADDRESS, CONTACT, INDEX, HotpotQa, answer, bundled_search, references_of
from environments.kernels import KernelHost
from environments.protocol.render import make_prompt, observe
from environments.search.cache import Caching, MemoryCache
from environments.search.index import build_index
from environments.search.pages import Miss, told
from environments.search.passages import passages_of, read_records
from environments.sources import load_tasks
from environments.tools import BadCall, Missed
from environments.types import Rules, Task
from tests.environments.mediawiki import served

ROW = {"_id": "5a", "question": "Who &amp; what?", "answer": "Tom &amp; Jerry", "type": "bridge", "level": "hard"}


def _task(**data: object) -> Task:
    return HotpotQa().task(Row(data, "rows.jsonl:1"))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (INDEX, CONTACT, ADDRESS):
        monkeypatch.delenv(name, raising=False)


# -- rows ------------------------------------------------------------------------------------------


def test_both_forms_of_a_row_are_the_same_task() -> None:
    official = _task(**ROW, context=[["A", ["x"]]], supporting_facts=[["A", 0]])
    hub = _task(**{"id": "5a", **{name: ROW[name] for name in ROW if name != "_id"}}, context={"title": []})
    assert official == hub
    assert (official.id, official.prompt, official.reference) == ("hotpotqa/5a", "Who & what?", "Tom & Jerry")
    assert official.metadata == {"level": "hard", "type": "bridge"}
    assert official.inputs == {}


def test_a_row_without_an_id_goes_by_its_index_or_its_question() -> None:
    assert _task(question="?", answer="x", index=8).id == "hotpotqa/index-8"
    first, second = _task(question="?", answer="x"), _task(question="??", answer="x")
    assert first == _task(answer="x", question="?")
    assert first.id != second.id


async def test_an_alias_is_right_too() -> None:
    task = _task(**ROW, aliases=["Tom and Jerry"])
    assert references_of(task) == ["Tom & Jerry", "Tom and Jerry"]
    for solution, correct in (("tom and jerry", True), ("Tom & Jerry.", True), ("Tom", False)):
        assert (await HotpotQa().grade(task, solution)).correct is correct


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"answer": "x"}, "no 'question'"),
        ({"question": "?"}, "no 'answer'"),
        ({"question": "?", "answer": "x", "level": "harder"}, "'level' is none of"),
        ({"question": "?", "answer": "x", "aliases": "y"}, "'aliases' is no list"),
        ({"question": "?", "answer": "x", "aliases": [1]}, "'aliases' is no list"),
        ({"state": {}, "task": {"task_id": 1, "prompt": "?"}}, "no 'reference'"),
    ],
)
def test_a_row_that_is_no_task_says_why(data: dict[str, object], said: str) -> None:
    with pytest.raises(BadRow, match=said):
        _task(**data)


# -- the search ------------------------------------------------------------------------------------


async def test_the_function_tells_the_page_or_similar_titles() -> None:
    search = bundled_search()
    assert (await answer(search, "Dipper (locomotive)")).startswith("Page: Dipper (locomotive)\nSummary: Dipper is a ")
    missed = await answer(search, "Kestrel Head architect")
    assert missed == "Could not find [Kestrel Head architect]. Similar: ['Kestrel Head Lighthouse', 'Isolde Marchbank']"
    assert isinstance(missed, Missed)
    await search.aclose()


@pytest.mark.parametrize("query", ["", "  ", "x" * 301, None, 3, ["Dipper"]])
async def test_a_query_that_is_none_is_the_teachers_mistake(query: object) -> None:
    search = bundled_search()
    with pytest.raises(BadCall):
        await answer(search, query)
    await search.aclose()


def test_the_teacher_is_told_of_the_function() -> None:
    environment = HotpotQa()
    prompt = make_prompt(environment, Rules(), _task(**ROW))
    assert "def wikipedia_search(query: str) -> str:" in prompt.system
    assert "`wikipedia_search`" in environment.tools


async def test_an_episode_searches_what_its_task_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "pages.jsonl"
    source.write_text(json.dumps({"title": "Dipper", "text": "A dipper is a bird."}))
    build_index([source], tmp_path / "wiki")
    monkeypatch.setenv(INDEX, str(tmp_path / "wiki"))
    host = KernelHost("none")
    async with HotpotQa() as environment:
        bundled = load_tasks(environment, environment.demo).tasks[0]
        for task, title in ((bundled, "Dipper (locomotive)"), (_task(**ROW), "Dipper")):
            assert len(environment.ready([task])) == (task is not bundled)  # which index it was
            async with environment.episode(task, host) as episode:
                said = await episode.functions()["wikipedia_search"](
                    "dipper locomotive" if task is bundled else "dipper"
                )
                assert f"Page: {title}\n" in said


async def test_without_an_index_only_the_bundled_tasks_can_be_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = HotpotQa()
    bundled = load_tasks(environment, environment.demo).tasks
    environment.ready(bundled)
    with pytest.raises(UsageError, match="ERRATA_INDEX=wiki"):
        environment.ready([*bundled, _task(**ROW)])
    monkeypatch.setenv(INDEX, str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="there is no index"):
        environment.ready([_task(**ROW)])


async def test_live_it_asks_wikipedia_and_wants_a_contact(monkeypatch: pytest.MonkeyPatch) -> None:
    async with HotpotQa("live") as environment, served() as wiki:
        task = environment.task(Row(ROW, "here"))  # type: ignore[arg-type]
        assert (environment.name, task.id) == ("hotpotqa:live", "hotpotqa:live/5a")
        with pytest.raises(UsageError, match="ERRATA_CONTACT"):
            environment.ready([task])
        monkeypatch.setenv(CONTACT, "someone@example.org")
        monkeypatch.setenv(ADDRESS, wiki.url)
        assert isinstance(environment, Caching)
        environment.cache = MemoryCache()
        environment.ready([task])
        async with environment.episode(task, KernelHost("none")) as episode:
            search = episode.functions()["wikipedia_search"]
            assert (await search("Rihaku")).startswith("Page: Li Bai\nSummary: Li Bai (李白")
            assert await search("Li Bai") == await search("Li Bai")
        assert len(wiki.asked) == 2


def test_another_variant_is_refused() -> None:
    with pytest.raises(UsageError, match="hotpotqa:live"):
        HotpotQa("wiki")


# -- what is bundled -------------------------------------------------------------------------------


async def test_the_bundled_tasks_load_and_their_answers_stand_on_the_bundled_pages() -> None:
    environment = HotpotQa()
    loaded = load_tasks(environment, environment.demo)
    assert (len(loaded.tasks), loaded.problems) == (10, ())
    path = Path(str(environment.demo)).with_name("hotpotqa_passages.jsonl")
    text = " ".join(passage.text for record in read_records(path) for passage in passages_of(record)).lower()
    for task in loaded.tasks:
        first = references_of(task)[0]
        assert first in ("yes", "no") or first.lower() in text
        assert (await environment.grade(task, first)).correct


async def test_the_example_is_true_and_shows_one_error_corrected() -> None:
    environment, search = HotpotQa(), bundled_search()

    def wikipedia_search(query: str) -> str:
        return asyncio.run(answer(search, query))

    opening, *turns = environment.example.split("\n\nAssistant:\n")
    task = _task(question=opening.removeprefix("Task:\n"), answer="Harrow Symphony Orchestra")
    assert opening == f"Task:\n{task.prompt}"
    assert len(environment.example.splitlines()) <= 42
    namespace: dict[str, object] = {"wikipedia_search": wikipedia_search}
    errors = 0
    for number, turn in enumerate(turns[:-1], start=1):
        reply, _, shown = turn.partition("\n\nObservation:\n")
        code = re.search(r"<execute>\n(.*)\n</execute>$", reply, re.DOTALL)
        assert code is not None
        printed = await asyncio.to_thread(_run, code[1], namespace)
        body = shown.rsplit("\nYou have ", 1)[0]
        if "Traceback" in shown:
            errors += 1
            assert body.endswith(printed)
            assert f"----> 1 {code[1]}\n" in body
        else:
            assert body == printed
        assert f"Observation:\n{shown}" == observe(body, Rules(), number, 0)
    solution = re.search(r"<solution>(.*)</solution>$", turns[-1])
    assert solution is not None
    assert (await environment.grade(task, solution[1])).correct
    assert errors == 1
    await search.aclose()


def _run(code: str, namespace: dict[str, object]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(code, namespace)
        except TypeError as error:
            return f"{type(error).__name__}: {error}"
    return printed.getvalue().rstrip("\n")


# -- recorded data ---------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "count"),
    [("distractor_questions.jsonl", 207), ("hf_form_hard.jsonl", 67), ("dev_simplified_noctx.jsonl", 556)],
)
def test_every_question_is_a_task(name: str, count: int, data: Path) -> None:
    loaded = load_tasks(HotpotQa(), data / "hotpotqa" / name)
    assert (len(loaded.tasks), loaded.problems) == (count, ())
    assert len({task.id for task in loaded.tasks}) == count


@pytest.mark.data
def test_both_forms_hold_the_same_hard_questions(data: Path) -> None:
    environment = HotpotQa()
    hard = [
        task
        for task in load_tasks(environment, data / "hotpotqa" / "distractor_questions.jsonl").tasks
        if task.metadata["level"] == "hard"
    ]
    assert sorted(hard, key=lambda task: task.id) == sorted(
        load_tasks(environment, data / "hotpotqa" / "hf_form_hard.jsonl").tasks, key=lambda task: task.id
    )


@pytest.mark.data
def test_recorded_results_are_a_source(data: Path) -> None:
    source = data / "mint_results" / "gpt-4-0613" / "reasoning" / "hotpotqa" / "results.jsonl.gz"
    loaded = load_tasks(HotpotQa(), source)
    assert (len(loaded.tasks), loaded.problems) == (43, ())
    assert loaded.tasks[0].id == "hotpotqa/mint-0"


@pytest.mark.data
def test_a_miss_is_told_in_the_recorded_form(data: Path) -> None:
    path = data / "hotpotqa" / "recorded_wikipedia_observations.jsonl"
    recorded = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    misses = [row for row in recorded if row["action"] == "Search" and "]. Similar: [" in row["observation"]]
    assert len(misses) == 148
    for row in misses:
        similar = ast.literal_eval(row["observation"].partition("]. Similar: ")[2])
        assert told(row["query"], Miss(tuple(similar))) == row["observation"]


@pytest.mark.data
def test_contexts_and_passages_make_the_same_pages(data: Path) -> None:
    folder = data / "hotpotqa"

    def texts(name: str) -> dict[str, str]:
        return {
            passage.title: passage.text for record in read_records(folder / name) for passage in passages_of(record)
        }

    passages = texts("passages.jsonl")
    for name in ("distractor_questions.jsonl", "hf_form_hard.jsonl"):
        contexts = texts(name)
        assert all(passages[title] == contexts[title] for title in contexts)
