"""What our own households are made of, and what the engine calls it.

The kinds are ALFWorld's, since its rules name some of them; which of them stand where is our own choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ROOMS: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "kitchen": {
        "CounterTop": (1, 2), "Cabinet": (2, 4), "Drawer": (1, 3), "Fridge": (1, 1), "Microwave": (1, 1),
        "SinkBasin": (1, 1), "DiningTable": (0, 1), "Shelf": (0, 2), "GarbageCan": (1, 1),
    },
    "bedroom": {
        "Bed": (1, 1), "Desk": (1, 2), "Drawer": (2, 4), "Shelf": (1, 3), "SideTable": (0, 2), "Safe": (0, 1),
        "Dresser": (0, 1), "GarbageCan": (1, 1),
    },
    "livingroom": {
        "Sofa": (1, 1), "CoffeeTable": (1, 1), "ArmChair": (0, 2), "SideTable": (1, 2), "Drawer": (1, 3),
        "Shelf": (1, 2), "Safe": (0, 1), "GarbageCan": (1, 1),
    },
    "bathroom": {
        "SinkBasin": (1, 2), "Cabinet": (2, 4), "CounterTop": (1, 1), "Drawer": (0, 2), "Shelf": (0, 1),
        "Toilet": (1, 1), "GarbageCan": (1, 1),
    },
}  # fmt: skip
"""What a room is furnished with, how many of it at least and at most."""

OPENABLE = {"Cabinet", "Drawer", "Fridge", "Microwave", "Safe"}


@dataclass(frozen=True, slots=True)
class Thing:
    rooms: tuple[str, ...]
    abilities: tuple[str, ...]
    places: tuple[str, ...]
    """Kinds of furniture that can hold it."""


def _thing(rooms: str, abilities: str, places: str) -> Thing:
    return Thing(tuple(rooms.split()), tuple(abilities.split()), tuple(places.split()))


_FOOD = "CounterTop DiningTable Fridge Microwave SinkBasin GarbageCan"
_WARE = "CounterTop DiningTable Cabinet Shelf SinkBasin"
_CUTLERY = "CounterTop DiningTable Drawer SinkBasin"
_SPICE = "CounterTop DiningTable Cabinet Drawer Shelf"
_WASHING = "CounterTop Cabinet Drawer Toilet SinkBasin GarbageCan"
_SMALL = "Bed Desk Drawer Shelf SideTable Safe Dresser Sofa CoffeeTable ArmChair"
_PAPER = f"{_SMALL} GarbageCan"

THINGS: Mapping[str, Thing] = {
    "Apple": _thing("kitchen", "clean heat cool", _FOOD),
    "Tomato": _thing("kitchen", "clean heat cool", _FOOD),
    "Potato": _thing("kitchen", "clean heat cool", _FOOD),
    "Egg": _thing("kitchen", "clean heat cool", _FOOD),
    "Bread": _thing("kitchen", "heat cool", "CounterTop DiningTable Fridge Microwave GarbageCan"),
    "Lettuce": _thing("kitchen", "clean cool", "CounterTop DiningTable Fridge SinkBasin GarbageCan"),
    "Mug": _thing("kitchen", "clean heat cool", f"{_WARE} Microwave"),
    "Cup": _thing("kitchen", "clean heat cool", f"{_WARE} Fridge Microwave"),
    "Plate": _thing("kitchen", "clean heat cool", f"{_WARE} Fridge Microwave"),
    "Bowl": _thing("kitchen", "clean cool", f"{_WARE} Fridge"),
    "Pan": _thing("kitchen", "clean cool", "CounterTop DiningTable Cabinet SinkBasin Fridge"),
    "Spoon": _thing("kitchen", "clean", _CUTLERY),
    "Fork": _thing("kitchen", "clean", _CUTLERY),
    "SaltShaker": _thing("kitchen", "", _SPICE),
    "PepperShaker": _thing("kitchen", "", _SPICE),
    "Cloth": _thing("bathroom", "clean", _WASHING),
    "SoapBar": _thing("bathroom", "clean", _WASHING),
    "SoapBottle": _thing("bathroom", "", f"{_WASHING} Shelf"),
    "Book": _thing("bedroom livingroom", "", _SMALL),
    "CD": _thing("bedroom livingroom", "", _PAPER),
    "Pencil": _thing("bedroom livingroom", "", _PAPER),
    "Newspaper": _thing("bedroom livingroom", "", _PAPER),
    "CreditCard": _thing("bedroom livingroom", "", _SMALL),
    "KeyChain": _thing("bedroom livingroom", "", _SMALL),
    "CellPhone": _thing("bedroom livingroom", "", _SMALL),
    "Watch": _thing("bedroom livingroom", "", _SMALL),
    "RemoteControl": _thing("bedroom livingroom", "", _SMALL),
}
LAMP = _thing("bedroom livingroom", "toggle", "Desk SideTable Dresser Shelf CoffeeTable")


APPLIANCES = {"clean": "SinkBasin", "heat": "Microwave", "cool": "Fridge"}
WASHED = {"clean": "clean", "heat": "hot", "cool": "cold"}
TREATMENTS = {
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted: a thing, in a room, somewhere. To look at a thing there is no destination."""

    task_type: str
    room: str
    thing: str
    destination: str | None

    @property
    def number(self) -> int:
        return 2 if self.task_type == "pick_two_obj_and_place" else 1

    @property
    def treatment(self) -> str | None:
        return TREATMENTS.get(self.task_type)

    def goal(self) -> str:
        thing, where = self.thing.lower(), (self.destination or "").lower()
        if not self.destination:
            return f"look at the {thing} in the light of a desklamp"
        if self.number == 2:
            return f"put two {thing}{'es' if thing.endswith('ch') else 's'} in/on the same {where}"
        thing = f"{WASHED[self.treatment]} {thing}" if self.treatment else thing
        return f"put {_a(thing)} in/on {_a(where)}"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of furniture; it has a location of its own."""

    id: str
    kind: str
    location: str


@dataclass(frozen=True, slots=True)
class Item:
    id: str
    kind: str
    place: Piece


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def names(identifiers: Iterable[str]) -> Mapping[str, str]:
    """What `AlfredDemangler` calls things: their kind, and numbers that fall while the identifiers rise."""
    kinds = {one: _kind(one.lower()) for one in identifiers}
    left = Counter(kinds.values())
    found = {}
    for one in sorted(kinds, key=str.lower):
        found[one] = f"{kinds[one]} {left[kinds[one]]}"
        left[kinds[one]] -= 1
    return found


def _kind(identifier: str) -> str:
    return identifier.partition("_bar_")[0] + ("basin" if "basin" in identifier else "")
