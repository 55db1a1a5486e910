"""One game, played through TextWorld by lines of JSON: what is wanted comes in, a scene or a fault goes out.

    {"problem": …, "goal": …, "domain": …, "grammar": …}   → {"text": …, "won": false}
    {"commands": ["put mug 1 in/on desk 1", "move mug 1 to desk 1"]}   → {"text": …, "won": …}

Of several commands the first that the game admits is played: games differ in how they say one thing. Without
`domain` and `grammar` the game is played on those of the installed `alfworld`.
"""

import contextlib
import copy
import functools
import json
import os
import traceback
from collections.abc import Mapping
from pathlib import Path
from socket import socket
from typing import Any

import fast_downward
import textworld
from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos
from alfworld.info import ALFRED_PDDL_PATH, ALFRED_TWL2_PATH
from textworld.envs.pddl import PddlEnv, textgen
from textworld.logic import Rule

GOAL = "UNKNOWN GOAL"
"""What stands in the package's grammar for the goal."""


def warm_up() -> None:
    fast_downward.load_lib()
    translate_once()
    parse_once()
    package_logic()


def translate_once() -> None:
    """The engine makes a game's state twice, and translates the game twice each time: once for a planner, which is
    never asked here. None of it differs, so it is done once."""
    translate = fast_downward.pddl2sas
    translated = functools.cache(lambda domain, problem: translate(domain, problem))
    fast_downward.pddl2sas = lambda domain, problem, **options: translated(domain, problem)


def parse_once() -> None:
    """For each command that is possible the engine parses its template anew, and a rule's condition at each use."""
    parse, query = textgen._parse_and_convert, Rule.parse_conjunctive_query
    # What is written down in a template while it is filled in is not to be there the next time.
    parsed = functools.cache(lambda text, rule_name: parse(text, rule_name=rule_name))
    textgen._parse_and_convert = lambda text, rule_name, **options: copy.deepcopy(parsed(text, rule_name))
    Rule.parse_conjunctive_query = functools.cache(query)


def play(channel: socket) -> None:
    """Until the host closes the channel."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError), channel.makefile("rw", encoding="utf-8") as lines:
        try:
            game: Game | None = None
            for line in lines:
                request = json.loads(line)
                if game is None:
                    game = Game(request)
                    answer = game.opening()
                else:
                    answer = game.play(request["commands"])
                print(json.dumps(answer), file=lines, flush=True)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # the engine raises anything; the host is told what
            traceback.print_exc()
            last = traceback.extract_tb(error.__traceback__)[-1]
            fault = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
            print(json.dumps({"fault": fault}), file=lines, flush=True)
    os._exit(0)


class Game:
    def __init__(self, game: Mapping[str, Any]) -> None:
        domain, grammar = game.get("domain"), game.get("grammar")
        if domain is None or grammar is None:
            domain, grammar = package_logic()
            grammar = grammar.replace(GOAL, json.dumps(game["goal"])[1:-1])
        infos = textworld.EnvInfos(won=True, admissible_commands=True, extras=["gamefile"])
        self._env = AlfredInfos(AlfredDemangler(PddlEnv(infos)))
        self._env.load({"pddl_domain": domain, "grammar": grammar, "pddl_problem": game["problem"]})

    def opening(self) -> Mapping[str, Any]:
        self._state = self._env.reset()
        return self._scene()

    def play(self, commands: list[str]) -> Mapping[str, Any]:
        admitted = set(self._state["admissible_commands"])
        # What is not admitted at all is said as well: to say that nothing happens is for the game.
        command = next((command for command in commands if command in admitted), commands[0])
        self._state, *_ = self._env.step(command)
        return self._scene()

    def _scene(self) -> Mapping[str, Any]:
        return {"text": self._state["feedback"], "won": bool(self._state["won"])}


def package_logic() -> tuple[str, str]:
    return Path(ALFRED_PDDL_PATH).read_text(encoding="utf-8"), Path(ALFRED_TWL2_PATH).read_text(encoding="utf-8")
