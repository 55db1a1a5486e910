"""Inserting a row, or what is not there yet."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Insert, insert
from sqlalchemy.dialects import postgresql, sqlite

from store.schema import Base


def insert_one(connection: Connection, table: type[Base], **values: Any) -> int:
    """The new row's id."""
    key = connection.execute(insert(table), values).inserted_primary_key
    return int(key[0]) if key else 0


def insert_new(connection: Connection, table: type[Base], values: list[dict[str, Any]]) -> None:
    """Insert what is not there yet, whoever else inserts it at this moment."""
    if values:
        connection.execute(_insert_new(connection, table), values)


def insert_if_new(connection: Connection, table: type[Base], values: dict[str, Any]) -> bool:
    """The same for one row; whether it was not there yet."""
    return connection.execute(_insert_new(connection, table), values).rowcount == 1


def _insert_new(connection: Connection, table: type[Base]) -> Insert:
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()
