"""The replies of a store as a recording that a teacher can repeat."""

from __future__ import annotations

from sqlalchemy import select

from environments.faults import UsageError
from environments.types import Reply
from store import records
from store.load import require_run
from store.schema import RunRow, TaskRow, TrajectoryRow, TurnRow
from store.store import open_store


async def read_recordings(address: str) -> dict[tuple[str, int], list[Reply]]:
    """(task id, attempt) → replies in order of turns, of the store at `URL` or of its run `URL#RUN`.

    Raises `UsageError` where two trajectories recorded the same work, as of two runs or teachers.
    """
    url, _, run = address.partition("#")
    query = (
        select(TurnRow.__table__, TaskRow.task_id, TrajectoryRow.attempt)
        .join(TrajectoryRow, TrajectoryRow.id == TurnRow.trajectory_id)
        .join(TaskRow, TaskRow.id == TrajectoryRow.task_row)
        .join(RunRow, RunRow.id == TrajectoryRow.run_id)
        .where(~TurnRow.abandoned)
        .order_by(TurnRow.trajectory_id, TurnRow.position)
    )
    async with open_store(url) as store:
        if run:
            await require_run(store, run)
            query = query.where(RunRow.name == run)
        rows = await store.read(query)
        shown = store.address
    replies: dict[tuple[str, int], list[Reply]] = {}
    recorded_by: dict[tuple[str, int], int] = {}
    for row in rows:
        work = (row["task_id"], row["attempt"])
        if recorded_by.setdefault(work, row["trajectory_id"]) != row["trajectory_id"]:
            raise UsageError(
                f"{shown} recorded {work[0]} more than once, and a recording holds it once: "
                f"name a run of one teacher, as in {shown}#RUN."
            )
        replies.setdefault(work, []).append(records.reply_of(row))
    return replies
