"""Commands that train: ``fit`` and ``update``."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from recolib.checks import check_choice, check_number
from recolib.cli.comparison import compare, measured
from recolib.cli.events import Events
from recolib.cli.inference import infer_plan
from recolib.cli.output import Json, say, show, table
from recolib.cli.plan import Plan
from recolib.cli.versions import (
    CURRENT,
    Pointer,
    Version,
    name_without_moment,
    newest_moment,
    open_version,
    save_version,
)
from recolib.data import DatasetFeat
from recolib.fitting.defaults import LARGE_CATALOGUE
from recolib.loading import ALGORITHMS
from recolib.recommender import Recommender

Data = Annotated[
    Path,
    typer.Argument(help="A file of CSV or Parquet, or a folder of Parquet, a row for each event.", show_default=False),
]
OF_RATINGS = "rmse", "mae"
BY_NAME = {name.lower(): name for name in ALGORITHMS}
OF_SEQUENCES = "EASE", "SASRec", "YouTubeRetrieval", "TwoTower", "DIN"
"""Algorithms that have what users consumed in a way of their own."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("fit")(fit)
    app.command("update")(update)


def fit(
    data: Data,
    model: Annotated[str, typer.Option(help=f"The algorithm: {', '.join(BY_NAME)}.")] = "",
    plan: Annotated[Path | None, typer.Option(help="A plan to follow, as an earlier fit wrote it.")] = None,
    out: Annotated[Path, typer.Option(help="The pointer to write; models stand in its folder.")] = CURRENT,
    name: Annotated[str, typer.Option(help="What to call the model; by default as the data.")] = "",
    user: Annotated[str, typer.Option(help="The column of users.")] = "",
    item: Annotated[str, typer.Option(help="The column of items.")] = "",
    label: Annotated[str, typer.Option(help="The column of ratings or clicks.")] = "",
    time: Annotated[str, typer.Option(help="The column of times.")] = "",
    task: Annotated[str, typer.Option(help="ranking (lists) or rating (predictions of labels).")] = "",
    liked: Annotated[float | None, typer.Option(help="The label from which on an item was liked.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="A setting, such as embed_size=32.")] = None,
    test: Annotated[float, typer.Option(help="The share of each user's latest events to measure on; 0: none.")] = 0.2,
    refit: Annotated[bool, typer.Option(help="After measuring, train on all events.")] = True,
    k: Annotated[int, typer.Option("-k", help="The length of the lists that are measured.")] = 10,
    only_plan: Annotated[bool, typer.Option("--only-plan", help="Infer, print and write the plan alone.")] = False,
    as_json: Json = False,
) -> None:
    """Train a model from a table, measure it beside popularity and EASE, and save it."""
    check_number("test", test, 0)
    if test >= 1:
        raise ValueError(f"test must be a share below 1, got {test}")
    events = Events.read(data)
    roles = {"user": user, "item": item, "label": label, "time": time}
    named = {role: column for role, column in roles.items() if column}
    found = infer_plan(events.head(), named) if plan is None else Plan.read(plan)
    chosen = with_choices(found, model, task, liked, settings or [])
    prepared = events.prepared(chosen)
    chosen = with_item_to_item(chosen, prepared) if plan is None else chosen
    name = name or data.name.split(".")[0]
    say(f"{events.n_rows:,} events of {data}", as_json)
    say("\n".join(table(chosen.rows())), as_json)
    if only_plan:
        out.parent.mkdir(parents=True, exist_ok=True)
        show({"plan": str(chosen.write(out.parent / f"{name}.toml"))}, as_json)
        return
    show(train(prepared, chosen, out, name, test, refit, k, as_json), as_json)


def with_choices(plan: Plan, model: str, task: str, liked: float | None, settings: list[str]) -> Plan:
    """A plan with what the command line says otherwise."""
    if model:
        check_choice("model", model.lower(), list(BY_NAME))
        plan = replace(plan, algorithm=BY_NAME[model.lower()])
    check_choice("algorithm", plan.algorithm, list(ALGORITHMS))
    if task:
        check_choice("task", task, ["ranking", "rating"])
        plan = replace(plan, task="ranking" if task == "ranking" else "rating")
    if plan.task == "rating":
        plan = replace(plan, liked=None)
    elif liked is not None:
        plan = replace(plan, liked=liked)
    return replace(plan, settings={**plan.settings, **dict(map(read_setting, settings))})


def with_item_to_item(plan: Plan, events: Events) -> Plan:
    """A plan for lists whose model also has weights from item to item, where the catalogue is small enough for them.

    They cost little there, and lists are better: nDCG@10 on the movies of ``demo`` .316 instead of .295, EASE .315.
    """
    if plan.task != "ranking" or plan.algorithm in OF_SEQUENCES or events.more_than(LARGE_CATALOGUE, "item"):
        return plan
    return replace(plan, settings={"item_to_item": True, **plan.settings})


def read_setting(text: str) -> tuple[str, Any]:
    """A setting as the command line has it: a name and a value of JSON, or else a text."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--set takes such as embed_size=32, got {text!r}")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value.strip()


def train(
    events: Events, plan: Plan, pointer: Path, name: str, test: float, refit: bool, k: int, quiet: bool
) -> dict[str, Any]:
    """Train by a plan on events as it has them, measure, save, and say what came of it."""
    parts = events.split(test) if test else [events]
    begin = time.monotonic()
    model = trained(parts[0], plan, quiet, {})
    methods: list[Any] = []
    if len(parts) > 1 and parts[1].n_rows:
        say(f"\nmeasuring on the latest {parts[1].n_rows:,} events, which were not trained on", quiet)
        if plan.task == "ranking":
            methods = compare(model, parts[1], k)
        else:
            methods = [{"method": model.model_name, **measured(model, parts[1], OF_RATINGS, k, None)}]
    if len(parts) > 1 and refit:
        say("training on all events", quiet)
        model = trained(events, plan, quiet, settled(model))
    version = save_version(model, plan, pointer, name, newest_moment(events.parts()))
    return {
        "model": str(version.file),
        "card": str(version.file.with_suffix(".md")),
        "plan": str(version.file.with_suffix(".toml")),
        "pointer": str(pointer),
        "seconds": round(time.monotonic() - begin, 1),
        "metrics": methods,
    }


def trained(events: Events, plan: Plan, quiet: bool, settings: dict[str, Any]) -> Recommender:
    """A model of a plan, trained on events as it has them."""
    data, info = DatasetFeat.build_trainset(**events.arguments(plan))
    model = ALGORITHMS[plan.algorithm](task=plan.task, data_info=info, **{**plan.settings, **settings})
    return model.fit(data, neg_sampling=plan.task == "ranking", verbose=0 if quiet else 1)


def settled(model: Recommender) -> dict[str, Any]:
    """The settings that a first fit chose, the number of epochs among them."""
    return {name: value for name, value in model.get_params().items() if name not in ("task", "data_info")}


def update(
    data: Data,
    pointer: Pointer = CURRENT,
    as_json: Json = False,
) -> None:
    """Take new events into a model, and save it as a new version."""
    before = open_version(pointer)
    plan, model = before.plan, before.model
    frame = plan.prepared(Events.read(data).whole())
    n_before = model.data_info.n_users, model.data_info.n_items
    model.update(frame, neg_sampling=plan.task == "ranking", verbose=0 if as_json else 1)
    moments = [moment for moment in (before.data_until, newest_moment([frame])) if moment is not None]
    after = save_version(model, plan, pointer, name_without_moment(before.file), max(moments, default=None))
    show(about_update(before, after, n_before, len(frame)), as_json)


def about_update(before: Version, after: Version, n_before: tuple[int, int], n_events: int) -> dict[str, Any]:
    """What an update changed."""
    info = after.model.data_info
    return {
        "model": str(after.file),
        "before": str(before.file),
        "events": n_events,
        "new_users": info.n_users - n_before[0],
        "new_items": info.n_items - n_before[1],
    }
