"""Small households written by us, on ALFWorld's own domain: no download, and a walkthrough known by construction.

A game is drawn from its seed alone. The thing that is wanted stands where it does not count, everything that can be
closed is closed, and a way to the goal is written down while the household is.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from environments.alfworld_pddl import problem
from environments.alfworld_rooms import APPLIANCES, LAMP, OPENABLE, ROOMS, THINGS, Item, Piece, Thing, Wish, names
from environments.types import Json

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)


@dataclass(frozen=True, slots=True)
class MadeGame:
    id: str
    task_type: str
    goal: str
    problem: str
    """PDDL."""
    walkthrough: tuple[str, ...]
    """Commands that lead to the goal, as the package's grammar says them."""

    def row(self) -> Mapping[str, Json]:
        return {
            "id": self.id,
            "task_type": self.task_type,
            "goal": self.goal,
            "problem": self.problem,
            "walkthrough": [
                f"{name}({', '.join(map(json.dumps, given))})" for name, given in map(as_call, self.walkthrough)
            ],
        }


_CALLS = {
    "goto": r"go to (.+)",
    "take_from": r"take (.+) from (.+)",
    "put": r"(?:move|put) (.+) (?:to|in/on) (.+)",
    "open_receptacle": r"open (.+)",
    "close_receptacle": r"close (.+)",
    "clean": r"clean (.+) with (.+)",
    "heat": r"heat (.+) with (.+)",
    "cool": r"cool (.+) with (.+)",
    "use": r"use (.+)",
    "look": r"look",
}


def as_call(command: str) -> tuple[str, tuple[str, ...]]:
    """A command of a game as the environment's function and its arguments."""
    for name, pattern in _CALLS.items():
        if found := re.fullmatch(pattern, command):
            return name, found.groups()
    raise ValueError(f"no function says {command!r}")


def make_games(count: int, seed: int) -> Iterator[MadeGame]:
    """The six task types in turn. A larger count of the same seed begins with the same games."""
    for number in range(count):
        yield make_game(TASK_TYPES[number % len(TASK_TYPES)], f"{seed}-{number}")


def make_game(task_type: str, seed: str) -> MadeGame:
    draw = random.Random(f"{task_type}/{seed}")  # noqa: S311
    wish = draw.choice(_wishes(task_type))
    room = Room(draw, wish)
    identifier = f"{task_type}-{wish.thing}-{wish.destination or 'DeskLamp'}-{wish.room}/{seed}"
    written = problem(wish, room.furniture, room.items)
    return MadeGame(identifier, task_type, wish.goal(), written, tuple(room.walkthrough()))


def _wishes(task_type: str) -> Sequence[Wish]:
    """All that can be wished for, in an order of its own."""
    return [
        wish
        for room, furniture in ROOMS.items()
        for thing in THINGS
        for destination in ([None] if task_type == "look_at_obj_in_light" else _certain(furniture))
        if _possible(wish := Wish(task_type, room, thing, destination))
    ]


def _certain(furniture: Mapping[str, tuple[int, int]]) -> Sequence[str]:
    return [kind for kind, (least, _) in furniture.items() if least]


def _possible(wish: Wish) -> bool:
    thing, certain = THINGS[wish.thing], _certain(ROOMS[wish.room])
    if wish.room not in thing.rooms:
        return False
    elsewhere = [kind for kind in thing.places if kind in certain and kind != wish.destination]
    if not elsewhere:
        return False
    if wish.destination is None:
        return any(kind in certain for kind in LAMP.places)
    if wish.destination not in thing.places:
        return False
    return wish.treatment is None or (wish.treatment in thing.abilities and APPLIANCES[wish.treatment] in certain)


class Room:
    """A furnished room in which a wish can be fulfilled."""

    def __init__(self, draw: random.Random, wish: Wish) -> None:
        self.wish = wish
        self.furniture = _furnished(draw, wish.room)
        self.wanted = [
            Item(_id(wish.thing, number), wish.thing, self._place(draw, THINGS[wish.thing], wish.destination))
            for number in range(1, wish.number + 1)
        ]
        self.lamps = [] if wish.destination else [Item(_id("DeskLamp", 1), "DeskLamp", self._place(draw, LAMP))]
        self.items = [*self.wanted, *self.lamps, *self._others(draw)]
        held = [piece for piece in self.furniture if piece.kind == wish.destination]
        self.destination = draw.choice(held) if held else None
        self.names = names([*(piece.id for piece in self.furniture), *(item.id for item in self.items)])

    def _place(self, draw: random.Random, thing: Thing, other_than: str | None = None) -> Piece:
        return draw.choice(
            [piece for piece in self.furniture if piece.kind in thing.places and piece.kind != other_than]
        )

    def _fits(self, thing: Thing) -> bool:
        return self.wish.room in thing.rooms and any(piece.kind in thing.places for piece in self.furniture)

    def _others(self, draw: random.Random) -> Iterator[Item]:
        fitting = [one for one, thing in THINGS.items() if one != self.wish.thing and self._fits(thing)]
        drawn = Counter(draw.choices(fitting, k=draw.randint(4, 7)))
        for kind, number in sorted(drawn.items()):
            for one in range(1, number + 1):
                yield Item(_id(kind, one), kind, self._place(draw, THINGS[kind]))

    def walkthrough(self) -> Iterator[str]:
        here: Piece | None = None
        for item in self.wanted:
            yield from self._at(item.place, here, f"take {self.names[item.id]} from {self.names[item.place.id]}")
            here = item.place
            if self.wish.treatment:
                appliance = next(one for one in self.furniture if one.kind == APPLIANCES[self.wish.treatment])
                yield from self._go(appliance, here)
                yield f"{self.wish.treatment} {self.names[item.id]} with {self.names[appliance.id]}"
                here = appliance
            if self.destination:
                put = f"move {self.names[item.id]} to {self.names[self.destination.id]}"
                yield from self._at(self.destination, here, put)
                here = self.destination
        for lamp in self.lamps:
            yield from self._go(lamp.place, here)
            yield f"use {self.names[lamp.id]}"

    def _at(self, piece: Piece, here: Piece | None, command: str) -> Iterator[str]:
        """Go there, open it where it is shut, and leave it shut."""
        yield from self._go(piece, here)
        if piece.kind in OPENABLE:
            yield f"open {self.names[piece.id]}"
        yield command
        if piece.kind in OPENABLE:
            yield f"close {self.names[piece.id]}"

    def _go(self, piece: Piece, here: Piece | None) -> Iterator[str]:
        if piece != here:  # to go where one stands is no command
            yield f"go to {self.names[piece.id]}"


def _furnished(draw: random.Random, room: str) -> Sequence[Piece]:
    kinds = [kind for kind, (least, most) in ROOMS[room].items() for _ in range(draw.randint(least, most))]
    counted: Counter[str] = Counter()
    pieces = []
    for number, kind in enumerate(kinds, start=1):
        counted[kind] += 1
        pieces.append(Piece(_id(kind, counted[kind]), kind, f"loc_bar_{number}"))
    return pieces


def _id(kind: str, number: int) -> str:
    # A basin is part of a sink: the engine reads its name from such an identifier.
    return f"Sink_bar_{number}_bar_SinkBasin" if kind == "SinkBasin" else f"{kind}_bar_{number}"
