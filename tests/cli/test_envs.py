"""`errata envs` lists what is installed, and what is not."""

import json
from pathlib import Path
from typing import Any

from environments.environment import environment_names


def test_every_environment_is_listed_with_what_it_needs(errata: Any) -> None:
    done = errata("envs", "--json")
    assert done.returncode == 0, done.stderr
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert list(found) == list(environment_names())
    assert found["tables"]["variants"] == ["sql", "pandas"]
    for one in found.values():
        assert one["trouble"] is None
        assert one["summary"]
        assert one["grading"]
        assert one["data"]
        assert one["demo_tasks"] >= 1
        assert bool(one["missing"]) == bool(one["install"])


def test_people_are_shown_a_table_with_the_names_that_collect_takes(errata: Any) -> None:
    shown = errata("envs").stdout
    for name in ("math", "gsm8k", "tables:sql", "tables:pandas"):
        assert any(line.startswith(name) for line in shown.splitlines()), shown


def test_one_that_cannot_be_imported_or_lacks_its_packages_is_listed_and_says_why(errata: Any, tmp_path: Path) -> None:
    metadata = tmp_path / "mine-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: mine\nVersion: 1.0\nProvides-Extra: games\n"
        "Requires-Dist: rich\nRequires-Dist: no-such-package >=1 ; extra == 'games'\n"
        "Requires-Dist: rich; extra == 'games'\n"
    )
    (metadata / "entry_points.txt").write_text(
        "[errata.environments]\nbroken = no_such_module:Words\ngames = mine_games:Games\n"
    )
    (tmp_path / "mine_games.py").write_text(
        "from environments.math import Math\nclass Games(Math):\n    name = 'games'\n    extra = 'games'\n"
    )
    done = errata("envs", "--json")
    assert done.returncode == 0, done.stderr
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert "cannot be imported: No module named 'no_such_module'" in found["broken"]["trouble"]
    assert found["games"]["missing"] == ["no-such-package"]
    assert found["games"]["install"] == "pip install 'mine[games]'"
    shown = errata("envs").stdout
    assert "no-such-package:" in shown
    assert "pip install 'mine[games]'" in shown
