"""A household in PDDL, on the domain that the installed `alfworld` brings along."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from environments.alfworld_rooms import LAMP, OPENABLE, THINGS, Item, Piece, Thing, Wish

NEVER_EMPTY = ("SinkBasinType", "MicrowaveType", "FridgeType")
"""Types that the domain's rules name, and that are declared whether the room holds one or not."""


def problem(wish: Wish, furniture: Sequence[Piece], items: Sequence[Item]) -> str:
    return "\n".join(
        (
            "(define (problem household)",
            "(:domain alfred)",
            f"(:objects\n{_lines(_objects(furniture, items))})",
            f"(:init\n{_lines(_facts(furniture, items))})",
            f"(:goal {_goal(wish)})",
            ")\n",
        )
    )


def _objects(furniture: Sequence[Piece], items: Sequence[Item]) -> Iterator[str]:
    yield "agent1 - agent"
    yield "loc_bar_0 - location"
    for kind in sorted({f"{piece.kind}Type" for piece in furniture} | set(NEVER_EMPTY)):
        yield f"{kind} - rtype"
    for kind in sorted({item.kind for item in items}):
        yield f"{kind}Type - otype"
    for piece in furniture:
        yield f"{piece.id} - receptacle"
        yield f"{piece.location} - location"
    for item in items:
        yield f"{item.id} - object"


def _facts(furniture: Sequence[Piece], items: Sequence[Item]) -> Iterator[str]:
    yield "(atLocation agent1 loc_bar_0)"
    yield "(= (total-cost) 0)"
    for piece in furniture:
        yield f"(receptacleType {piece.id} {piece.kind}Type)"
        yield f"(receptacleAtLocation {piece.id} {piece.location})"
        if piece.kind in OPENABLE:
            yield f"(openable {piece.id})"
    for item in items:
        yield f"(objectType {item.id} {item.kind}Type)"
        yield f"(inReceptacle {item.id} {item.place.id})"
        yield f"(objectAtLocation {item.id} {item.place.location})"
        yield from (f"({ability} {item.id})" for ability in _abilities(item.kind))
    kinds = {piece.kind for piece in furniture}
    for kind in sorted({item.kind for item in items}):
        yield from (f"(canContain {place}Type {kind}Type)" for place in _known(kind).places if place in kinds)


def _goal(wish: Wish) -> str:
    thing, destination = f"{wish.thing}Type", f"{wish.destination}Type"
    if wish.destination is None:
        return _LOOK.format(thing=thing)
    if wish.number == 2:
        return _TWO.format(thing=thing, destination=destination)
    if wish.treatment:
        able, done = _TREATED[wish.treatment]
        return _TREAT.format(thing=thing, destination=destination, able=able, done=done)
    return _SIMPLE.format(thing=thing, destination=destination)


# The goals of ALFWorld's task types, to the same effect: nothing may be left open after a simple one alone.
_SIMPLE = (
    "(and (exists (?r - receptacle ?o - object) (and (objectType ?o {thing}) (receptacleType ?r {destination}) "
    "(inReceptacle ?o ?r))) (forall (?r - receptacle) (not (opened ?r))))"
)
_LOOK = (
    "(and (exists (?o - object ?a - agent) (and (objectType ?o {thing}) (holds ?a ?o))) "
    "(exists (?d - object ?r - receptacle ?a - agent ?l - location) (and (objectType ?d DeskLampType) (isToggled ?d) "
    "(inReceptacle ?d ?r) (receptacleAtLocation ?r ?l) (atLocation ?a ?l))))"
)
_TREAT = (
    "(exists (?r - receptacle ?o - object) (and (objectType ?o {thing}) (receptacleType ?r {destination}) "
    "({able} ?o) ({done} ?o) (inReceptacle ?o ?r)))"
)
_TWO = (
    "(exists (?r - receptacle ?o - object ?p - object) (and (objectType ?o {thing}) (objectType ?p {thing}) "
    "(not (= ?o ?p)) (receptacleType ?r {destination}) (inReceptacle ?o ?r) (inReceptacle ?p ?r)))"
)
_TREATED = {
    "clean": ("cleanable", "isClean"),
    "heat": ("heatable", "isHot"),
    "cool": ("coolable", "isCool"),
}
_ABLE = {"clean": "cleanable", "heat": "heatable", "cool": "coolable", "toggle": "toggleable"}


def _abilities(kind: str) -> Iterator[str]:
    if kind != "DeskLamp":
        yield "pickupable"
    yield from (_ABLE[ability] for ability in _known(kind).abilities)


def _known(kind: str) -> Thing:
    return LAMP if kind == "DeskLamp" else THINGS[kind]


def _lines(facts: Iterable[str]) -> str:
    return "".join(f"    {fact}\n" for fact in facts)
