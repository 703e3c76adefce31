"""Commands that ask a model: ``evaluate``, ``recommend``, ``recommend-all``, ``similar`` and ``explain``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from recolib.checks import check_integer
from recolib.cli.comparison import compare, measured
from recolib.cli.events import Events
from recolib.cli.output import Json, show
from recolib.cli.parts import PartsOfLists
from recolib.cli.training import OF_RATINGS, Data
from recolib.cli.versions import CURRENT, Pointer, id_of, open_version
from recolib.inference.cold_start import COLD_STARTS
from recolib.process_group import ProcessGroup

Length = Annotated[int, typer.Option("-n", help="The length of a list.")]
Columns = Annotated[list[str] | None, typer.Option("--column", help="A column of items to show, such as title.")]
Values = Annotated[list[str] | None, typer.Option("--feat", help="A value to use, such as age=19.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("evaluate")(evaluate)
    app.command("recommend")(recommend)
    app.command("recommend-all")(recommend_all)
    app.command("similar")(similar)
    app.command("explain")(explain)


def evaluate(
    data: Data,
    pointer: Pointer = CURRENT,
    k: Annotated[int, typer.Option("-k", help="The length of the lists.")] = 10,
    as_json: Json = False,
) -> None:
    """Measure a model on events that it was not trained on, beside popularity and EASE."""
    check_integer("k", k, 1)
    version = open_version(pointer)
    events, model = Events.read(data).prepared(version.plan), version.model
    if model.task == "ranking":
        metrics = compare(model, events, k)
    else:
        metrics = [{"method": model.model_name, **measured(model, events, OF_RATINGS, k, None)}]
    show({"model": str(version.file), "events": events.n_rows, "metrics": metrics}, as_json)


def recommend(
    users: Annotated[list[str], typer.Argument(help="Ids of users; unknown ones get the average.")],
    pointer: Pointer = CURRENT,
    n: Length = 10,
    column: Columns = None,
    feat: Values = None,
    history: Annotated[list[str] | None, typer.Option(help="An item that was consumed since.")] = None,
    cold_start: Annotated[str, typer.Option(help=f"For unknown users: {', '.join(COLD_STARTS)}.")] = "average",
    as_json: Json = False,
) -> None:
    """List the best items for users."""
    version = open_version(pointer)
    info = version.model.data_info
    ids = [id_of(info, "user", user) for user in users]
    given = read_feats(feat)
    if len(ids) > 1 and (given or history):
        raise ValueError("--feat and --history are of one user: ask for one at a time")
    lists = version.model.recommend(
        ids,
        n,
        user_feats={name: value for name, value in given.items() if name in info.user_col} or None,
        context=read_context(given, info.user_col, info.context_col),
        history=[id_of(info, "item", item) for item in history] if history else None,
        cold_start=cold_start,
        columns=column or None,
        verbose=0,
    )
    rows = [{"user": row["user"], "known": row["user"] in info.user2id, **row} for row in lists.to_dict("records")]
    show({"lists": rows}, as_json)


def recommend_all(
    out: Annotated[Path, typer.Option(help="The file of Parquet to write; with --parts a folder of such files.")],
    pointer: Pointer = CURRENT,
    n: Length = 10,
    column: Columns = None,
    users: Annotated[
        Path | None, typer.Option(help="Parquet with a column user, of whom to make lists. By default all known users.")
    ] = None,
    parts: Annotated[
        int | None, typer.Option(help="How many files to write. Those that are there are not written again.")
    ] = None,
    items_at_once: Annotated[
        int | None, typer.Option(help="How many items are encoded at a time. By default all, if 256 MB hold them.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write lists for all known users, or those of a table, to Parquet.

    Processes that torchrun starts share the parts: torchrun --nproc-per-node 4 -m recolib recommend-all --out lists.
    """
    group, version = ProcessGroup.current(), open_version(pointer, mapped=True)
    verbose = 1 if group.is_first and not as_json else 0
    how: dict[str, Any] = {
        "n_rec": n,
        "columns": column or None,
        "items_at_once": items_at_once,
        "verbose": verbose,
    }
    said = {"users": version.model.data_info.n_users if users is None else str(users), "n_rec": n}
    if parts is None and group.is_alone:
        show({"file": str(version.model.recommend_to(out, users, **how)), **said}, as_json)
        return
    if users is not None:
        raise ValueError("--users is for one file of lists: leave --parts out, and start one process")
    work = PartsOfLists(out, group.size if parts is None else parts, version.file.name, n, column or [])
    written = work.write(version.model, group, how)
    if group.is_first:
        show({"folder": str(out), "parts": work.n_parts, "written_here": len(written), **said}, as_json)


def similar(
    items: Annotated[list[str], typer.Argument(help="Ids of items.")],
    pointer: Pointer = CURRENT,
    n: Length = 10,
    column: Columns = None,
    as_json: Json = False,
) -> None:
    """List the items that the same users like."""
    version = open_version(pointer)
    info = version.model.data_info
    ids = [id_of(info, "item", item) for item in items]
    found = version.model.similar_items(ids, n, return_scores=True)
    frame = info.item_frame()
    absent = [name for name in column or () if name not in frame.columns]
    if absent:
        raise ValueError(f"items have no columns {absent}: there are {frame.columns.tolist()}")
    rows: list[dict[str, Any]] = []
    for item in ids:
        for near, score in zip(found[item][0].tolist(), found[item][1].tolist(), strict=True):
            more = {name: frame[name].iloc[info.item2id[near] - 1] for name in column or ()}
            rows.append({"item": item, "similar": near, "score": score, **more})
    show({"similar": rows}, as_json)


def explain(
    user: Annotated[str, typer.Argument(help="The id of a user.")],
    item: Annotated[str, typer.Argument(help="The id of an item.")],
    pointer: Pointer = CURRENT,
    n: Annotated[int, typer.Option("-n", help="How many terms to show.")] = 10,
    feat: Values = None,
    as_json: Json = False,
) -> None:
    """Take a score apart into what adds up to it."""
    check_integer("n", n, 1)
    model = open_version(pointer).model
    ids = id_of(model.data_info, "user", user), id_of(model.data_info, "item", item)
    terms = model.explain(*ids, read_feats(feat) or None)
    shown = pd.DataFrame(terms.head(n), columns=["term", "first_value", "second_value", "contribution"])
    about = {"prediction": terms.attrs["prediction"], "logit": terms.attrs["logit"]}
    show({"user": ids[0], "item": ids[1], **about, "terms": shown.to_dict("records")}, as_json)


def read_feats(given: Sequence[str] | None) -> dict[str, Any]:
    """Values of columns as the command line has them: of JSON, or else texts."""
    feats: dict[str, Any] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--feat takes such as age=19, got {text!r}")
        try:
            feats[name] = json.loads(value)
        except ValueError:
            feats[name] = value
    return feats


def read_context(given: dict[str, Any], user_col: Sequence[str], context_col: Sequence[str]) -> dict[str, Any] | None:
    """The values of context columns among those that are given; those of no column are refused."""
    unknown = [name for name in given if name not in (*user_col, *context_col)]
    if unknown:
        raise ValueError(f"--feat names {unknown}: users and context have {[*user_col, *context_col]}")
    return {name: value for name, value in given.items() if name in context_col} or None
