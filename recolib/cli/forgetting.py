"""The command ``forget``: a user or an item leaves the model and the history store."""

from __future__ import annotations

from typing import Annotated

import typer

from recolib.cli.output import Json, show
from recolib.cli.versions import CURRENT, Pointer, id_of, name_without_moment, open_version, save_version
from recolib.files import SUFFIX
from recolib.serving import open_history


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("forget")(forget)


def forget(
    user: Annotated[list[str] | None, typer.Option(help="The id of a user.")] = None,
    item: Annotated[list[str] | None, typer.Option(help="The id of an item.")] = None,
    pointer: Pointer = CURRENT,
    history: Annotated[str, typer.Option(help="The history store: a file, or the address of a PostgreSQL.")] = "",
    as_json: Json = False,
) -> None:
    """Remove users and items from the model, which is saved as a new version, and from the history store."""
    if not user and not item:
        raise ValueError("forget needs --user or --item: name whom to forget")
    before = open_version(pointer)
    info = before.model.data_info
    users = [id_of(info, "user", one) for one in user or ()]
    items = [id_of(info, "item", one) for one in item or ()]
    n_known = sum(one in info.user2id for one in users) + sum(one in info.item2id for one in items)
    plan = before.plan if n_known else None  # or an error, before anything is removed
    n_events = 0
    if history:
        with open_history(history) as store:
            n_events = sum(store.forget(user=one) for one in users) + sum(store.forget(item=one) for one in items)
    file = before.file
    if plan is not None:
        model = before.model.forget(users=users or None, items=items or None)
        name = name_without_moment(before.file)
        file = save_version(model, plan, pointer, name, before.data_until).file
    older = sorted(one.name for one in file.parent.glob(f"*{SUFFIX}") if one != file)
    answer = {"model": str(file), "forgotten": n_known, "events": n_events, "older_files": older}
    show(answer, as_json)
    if older and not as_json:
        print("older files are as they were, and so is the data: remove what must not have them any more")
