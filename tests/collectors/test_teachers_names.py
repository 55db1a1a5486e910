"""How a teacher is named, what it needs, and what is said when that is missing."""

import subprocess
import sys
from decimal import Decimal
from importlib.metadata import EntryPoint

import pytest
from pydantic import TypeAdapter

from collectors.teachers import teacher as registry
from collectors.teachers.teacher import RecordingEnded, Sampling, TeacherSpec, make_teacher
from environments.faults import UsageError


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("openai:gpt-5.5", TeacherSpec("openai", "gpt-5.5")),
        ("anthropic:claude-opus-5-5", TeacherSpec("anthropic", "claude-opus-5-5")),
        (
            "openai:Qwen/Qwen3:32b@http://127.0.0.1:8000/v1",
            TeacherSpec("openai", "Qwen/Qwen3:32b", "http://127.0.0.1:8000/v1"),
        ),
        ("replay:sqlite:///errata.db", TeacherSpec("replay", "sqlite:///errata.db")),
    ],
)
def test_a_name_is_taken_apart_and_put_together_again(name, spec):
    assert TeacherSpec.parse(name) == spec
    assert spec.name == name


def test_a_path_may_hold_an_at_sign():
    assert TeacherSpec.parse("replay:runs@home/x.jsonl").target == "runs@home/x.jsonl"


@pytest.mark.parametrize("name", ["gpt-5.5", "opnai:gpt-5.5", ":x", ""])
def test_an_unknown_provider_is_answered_with_the_known_ones(name):
    with pytest.raises(UsageError, match="the providers are: anthropic, openai, replay, scripted"):
        make_teacher(name)


@pytest.mark.parametrize("name", ["openai", "openai:", "openai:@http://127.0.0.1/v1"])
def test_a_name_without_a_model_is_refused(name):
    with pytest.raises(UsageError, match="names no model"):
        make_teacher(name)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("openai:gpt-5.5", "OPENAI_API_KEY"),
        ("openai:gpt-5.5@https://api.openai.com/v1", "OPENAI_API_KEY"),
        ("openai:gpt-5.5@https://API.openai.com:443/v1", "OPENAI_API_KEY"),
        ("anthropic:claude-opus-5-5", "ANTHROPIC_API_KEY"),
    ],
)
def test_a_missing_key_is_asked_for_by_name(name, variable, monkeypatch):
    monkeypatch.setenv(variable, "")
    with pytest.raises(UsageError, match=f"set {variable}"):
        make_teacher(name)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "http://", "ftp://host/v1", "http://[::1/v1", "http://host:port/v1", "//host/v1"]
)
def test_a_base_url_is_written_whole(provider, url):
    with pytest.raises(UsageError, match="no base URL; write it whole"):
        make_teacher(f"{provider}:m@{url}")


def test_a_base_url_keeps_no_key_and_the_refusal_does_not_repeat_it():
    for url in ("http://me:secret@127.0.0.1/v1", "me:secret@127.0.0.1/v1", "ftp://me:secret@127.0.0.1"):
        with pytest.raises(UsageError, match="set OPENAI_COMPATIBLE_API_KEY instead") as caught:
            make_teacher(f"openai:m@{url}", Sampling(options={"model": "x"}))
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("postgresql://u:SECRET@host/db", "postgresql://u:***@host/db"),
        ("postgresql+psycopg://u:SECRET/:SECRET@host:5432/db#run", "postgresql+psycopg://u:***@host:5432/db#run"),
        ("postgresql://:SECRET@host/db", "postgresql://:***@host/db"),
        ("postgresql://u:SEC@RET@host/db", "postgresql://u:***@host/db"),
        ("postgresql://host/db?user=u&password=SECRET#run", "postgresql://host/db?user=u&password=***#run"),
        ("postgresql://u@host/db", "postgresql://u@host/db"),
        ("sqlite:////data/a:b@c.db", "sqlite:////data/a:b@c.db"),
    ],
)
def test_a_password_opens_the_store_and_stands_in_no_name(target, shown):
    opened = []
    teacher = make_teacher(f"replay:{target}", recordings=lambda url: opened.append(url) or {})
    assert opened == [target]
    assert teacher.name == TeacherSpec.parse(f"replay:{target}").name == f"replay:{shown}"


async def test_what_a_recording_says_holds_no_password(conversation):
    teacher = make_teacher("replay:postgresql://u:SECRET@host/db", recordings=lambda url: {})
    with pytest.raises(RecordingEnded, match="no reply for turn 0") as ended:
        await teacher.reply(conversation("s"))
    with pytest.raises(UsageError, match="no store can be read here") as refused:
        make_teacher("replay:postgresql://u:SECRET@host/db")
    assert "SECRET" not in f"{ended.value} {refused.value}"


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("key", ["sk-a b", "sk-\u2026", "sk-a\nb"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_repeated(monkeypatch, provider, key):
    monkeypatch.setenv(f"{provider.upper()}_API_KEY", key)
    with pytest.raises(UsageError, match=r"_API_KEY holds a character that no key has; set it again") as caught:
        make_teacher(f"{provider}:m")
    assert key not in str(caught.value)


@pytest.mark.parametrize("sampling", [Sampling(temperature=0.0), Sampling(options={"top_p": 0.9})])
def test_a_temperature_is_refused_where_the_api_has_none(sampling):
    with pytest.raises(UsageError, match=r"no longer takes (temperature|top_p); use --effort"):
        make_teacher("anthropic:m@http://127.0.0.1:1", sampling)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("option", ["stream", "n", "model", "messages", "max_tokens"])
def test_an_option_that_would_break_the_request_is_refused(provider, option):
    with pytest.raises(UsageError, match=f"'{option}' cannot be a teacher option"):
        make_teacher(f"{provider}:m@http://127.0.0.1:1", Sampling(options={option: 2}))


@pytest.mark.parametrize(
    "setting", [{"max_tokens": 0}, {"timeout": 0.0}, {"timeout": float("nan")}, {"price": (Decimal(-1), Decimal(1))}]
)
def test_a_setting_that_cannot_be_is_refused(setting):
    with pytest.raises(UsageError):
        Sampling(**setting)


def test_sampling_is_saved_whole_and_read_back():
    adapter = TypeAdapter(Sampling)
    sampling = Sampling(
        max_tokens=5, effort="low", options={"thinking": {"type": "adaptive"}}, price=(Decimal("0.1"), Decimal(2))
    )
    assert adapter.validate_json(adapter.dump_json(sampling)) == sampling


def test_a_third_party_comes_in_by_the_same_call(monkeypatch):
    theirs = EntryPoint("theirs", "collectors.teachers.scripted:ScriptedTeacher", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [theirs])
    with pytest.raises(UsageError, match=r"the tape nowhere\.jsonl cannot be read"):
        make_teacher("theirs:nowhere.jsonl")


def test_no_sdk_is_imported_before_it_is_asked_for():
    heavy = "{'openai', 'anthropic', 'httpx2', 'genai_prices'}"
    code = f"import collectors.teachers.retry, sys; print({heavy} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
