"""Alembic's entry: runs the migrations on the connection that `store.opening` hands in."""

from alembic import context

from store.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=context.config.get_main_option("version_table"),
    render_as_batch=True,
)
context.run_migrations()
