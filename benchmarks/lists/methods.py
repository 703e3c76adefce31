"""The methods of ``benchmarks.lists``, and the settings that are tried on the validation part of each data set."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

Settings = dict[str, Any]
LARGE = "ml-1m-random", "ml-1m-time", "catalogue"
"""Data sets on which a method may have other settings to try, since all take long there."""


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes
    ----------
    title
        What the page calls it.
    module, model
        The side that runs it, and which of its models.
    settings
        What is tried.
    on_large
        What is tried on large data sets; by default the same.
    environment
        The environment of ``make peers`` that it needs; "" is this one.
    has_columns
        Whether it gets the data set's features or context.
    is_random
        Whether seeds make a difference.
    patience
        Moments without a better validation figure before a training ends.
    limit_s
        Seconds of training and lists after which no more training begins.
    """

    title: str
    module: str
    model: str
    settings: tuple[Settings, ...]
    on_large: tuple[Settings, ...] = ()
    environment: str = ""
    has_columns: bool = False
    is_random: bool = True
    patience: int = 10
    limit_s: float = 300

    def tried(self, data_set: str) -> tuple[Settings, ...]:
        """What is tried on a data set."""
        return self.on_large if self.on_large and data_set in LARGE else self.settings


# ---- others

ALS: Settings = {"factors": 128, "iterations": 40, "step": 1}
TRIED_ALS = (
    *(
        {**ALS, "alpha": alpha, "regularization": alpha * times}
        for alpha, times in product((5, 10, 20, 40), (2.5, 5, 10))
    ),
    *(
        {**ALS, "factors": factors, "alpha": alpha, "regularization": 5 * alpha}
        for factors, alpha in product((32, 64, 256), (10, 20))
    ),
)
BPR: Settings = {"factors": 64, "learning_rate": 0.01, "regularization": 0.01, "iterations": 500, "step": 5}
TRIED_BPR = (
    *(
        {**BPR, "learning_rate": lr, "regularization": reg}
        for lr, reg in product((0.005, 0.01, 0.02, 0.05), (0.003, 0.01, 0.03))
    ),
    *({**BPR, "factors": factors} for factors in (32, 128)),
)
LIGHTGCN: Settings = {
    "embedding_size": 64, "n_layers": 2, "reg_weight": 1e-4, "learning_rate": 0.02, "train_batch_size": 4096,
    "epochs": 200, "step": 3,
}  # fmt: skip
TRIED_LIGHTGCN = (
    LIGHTGCN,
    {**LIGHTGCN, "n_layers": 3},
    {**LIGHTGCN, "n_layers": 1},
    {**LIGHTGCN, "reg_weight": 1e-3},
    {**LIGHTGCN, "learning_rate": 5e-3},
    {**LIGHTGCN, "embedding_size": 128},
)
LIGHTGCN_ON_LARGE = {**LIGHTGCN, "train_batch_size": 32_768}
TRIED_LIGHTGCN_ON_LARGE = (
    LIGHTGCN_ON_LARGE,
    {**LIGHTGCN_ON_LARGE, "n_layers": 1},
    {**LIGHTGCN_ON_LARGE, "reg_weight": 1e-3},
    {**LIGHTGCN_ON_LARGE, "learning_rate": 0.01},
)
LIBRECOMMENDER: Settings = {"embed_size": 16, "lr": 3e-3, "batch_size": 1024, "n_epochs": 60, "step": 4}
TRIED_LIBRECOMMENDER = (
    {**LIBRECOMMENDER, "lr": 1e-3},
    LIBRECOMMENDER,
    {**LIBRECOMMENDER, "lr": 1e-2},
    {**LIBRECOMMENDER, "embed_size": 64},
    {**LIBRECOMMENDER, "num_neg": 4},
    {**LIBRECOMMENDER, "reg": 1e-3},
    {**LIBRECOMMENDER, "dropout_rate": 0.2, "use_bn": False},
)
LIBRECOMMENDER_ON_LARGE = {**LIBRECOMMENDER, "batch_size": 2048, "n_epochs": 20, "step": 20}
TRIED_LIBRECOMMENDER_ON_LARGE = (
    LIBRECOMMENDER_ON_LARGE,
    {**LIBRECOMMENDER_ON_LARGE, "lr": 1e-2},
    {**LIBRECOMMENDER_ON_LARGE, "dropout_rate": 0.2, "use_bn": False},
)

# ---- ours

CATALOGUE: Settings = {"num_neg": "all", "n_epochs": 200}
"""What else is left open is what ``fit`` chooses."""
TRIED_FM = (
    CATALOGUE,
    {**CATALOGUE, "prior": 1.0},
    {**CATALOGUE, "prior": 6.0},
    {**CATALOGUE, "prior": 10.0},
    {**CATALOGUE, "prior": 6.0, "embed_dropout": (0.3, 0)},
    {**CATALOGUE, "prior": 1.0, "embed_dropout": (0.7, 0)},
    {**CATALOGUE, "embed_size": 256, "embed_dropout": (0.7, 0)},
    {**CATALOGUE, "lr": 2e-3},
    {**CATALOGUE, "loss_type": "implicit"},
    {**CATALOGUE, "loss_type": "implicit", "prior": 6.0, "unobserved_weight": 0.5},
    {**CATALOGUE, "prior": 0.0, "embed_dropout": (0.75, 0)},
)
TRIED_FM_ON_LARGE = (
    CATALOGUE,
    {**CATALOGUE, "prior": 0.0, "embed_dropout": (0.75, 0)},
    {**CATALOGUE, "prior": 0.0, "embed_dropout": (0.8, 0), "embed_size": 256},
    {**CATALOGUE, "prior": 6.0},
    {**CATALOGUE, "embed_size": 256, "embed_dropout": (0.7, 0)},
    {**CATALOGUE, "loss_type": "implicit"},
    {**CATALOGUE, "prior": 0.0, "embed_dropout": (0.8, 0), "embed_size": 256, "lr": 2e-3},
    {**CATALOGUE, "prior": 0.0, "embed_dropout": (0.85, 0), "embed_size": 512},
    {**CATALOGUE, "prior": 1.0, "embed_dropout": (0.8, 0), "embed_size": 256},
)
ALL_ITEMS: Settings = {"item_to_item": True, "max_history": 10_000}
TRIED_ITEMS = (
    {**CATALOGUE, "item_to_item": True},
    {**CATALOGUE, "item_to_item": True, "prior": 0.0, "embed_dropout": (0.75, 0)},
    {**CATALOGUE, **ALL_ITEMS, "prior": 0.0, "embed_dropout": (0.8, 0), "embed_size": 256, "lr": 2e-3},
    {**CATALOGUE, **ALL_ITEMS, "lr": 2e-3},
)
TRIED_ITEMS_ON_LARGE = TRIED_ITEMS[:2]
"""The others choose λ and w for longer than a training may last."""
DEEP = {**CATALOGUE, "hidden_units": (64,)}
TRIED_DEEPFM = (DEEP, {**DEEP, "prior": 6.0}, {**DEEP, "embed_size": 128, "dropout_rate": 0.5})
FEW: Settings = {"sampler": "shared", "num_neg": 128, "batch_size": 16, "n_epochs": 200}
"""Layers over each pair take long: small batches with few items have more steps an epoch and fewer pairs."""
NFM: Settings = {**FEW, "embed_size": 64, "hidden_units": (64,)}
DEEPFM: Settings = {**FEW, "embed_size": 64, "hidden_units": (64,), "dropout_rate": 0.8}
DCNV2: Settings = {**FEW, "embed_size": 32, "hidden_units": (64,), "cross_layers": 1, "dropout_rate": 0.8}
FINALMLP: Settings = {**FEW, "embed_size": 32, "hidden_units": (32,), "second_hidden_units": (32,)}
FAST: Settings = {"hidden_units": (32,), "lr": 0.01, "embed_dropout": (0.2, 0)}
TRIED_DEEP = {
    "NFM": (DEEP, NFM, {**NFM, "prior": 1.0}),
    "DeepFM": TRIED_DEEPFM,
    "DCNv2": (DCNV2, {**DCNV2, "dropout_rate": 0.0}),
    "FinalMLP": (FINALMLP, {**FINALMLP, "dropout_rate": 0.3}),
}
TRIED_DEEP_WITH_COLUMNS = {
    "NFM": ({**NFM, "embed_size": 32, "batch_size": 32},),
    "DeepFM": ({**DEEPFM, "batch_size": 32},),
    "DCNv2": (
        {**DCNV2, "embed_size": 16, "batch_size": 32},
        {**DCNV2, "embed_size": 16, "batch_size": 32, "dropout_rate": 0.0, "lr": 0.01},
    ),
    "FinalMLP": ({**FINALMLP, "batch_size": 32},),
}
TRIED_DEEP_ON_LARGE = {
    "NFM": ({**NFM, "embed_size": 32, "hidden_units": (32,), "lr": 2e-3},),
    "DeepFM": ({**DEEPFM, "num_neg": 256, "batch_size": 32, "hidden_units": (32,), "lr": 2e-3},),
    "DCNv2": ({**DCNV2, **FAST, "embed_size": 16, "dropout_rate": 0.0},),
    "FinalMLP": ({**FINALMLP, **FAST},),
}
OUR_MODELS = "FM", "NFM", "DeepFM", "DCNv2", "FinalMLP"
VARIANTS = {
    "defaults": ("ids, defaults", False, False),
    "ids": ("ids, tuned", False, True),
    "columns-defaults": ("features or context, defaults", True, False),
    "columns": ("features or context, tuned", True, True),
}


def ours(model: str, variant: str) -> Method:
    """One of recolib's algorithms, with ids alone or all columns, with its defaults or tuned."""
    title, has_columns, is_tuned = VARIANTS[variant]
    if not is_tuned:
        return Method(f"{model}, {title}", "benchmarks.own.lists", model, ({},), has_columns=has_columns)
    if model == "FM":
        settings, on_large = TRIED_FM, TRIED_FM_ON_LARGE
    else:
        tried = TRIED_DEEP_WITH_COLUMNS if has_columns else TRIED_DEEP
        settings, on_large = tried[model], TRIED_DEEP_ON_LARGE[model]
    return Method(f"{model}, {title}", "benchmarks.own.lists", model, settings, on_large, has_columns=has_columns)


TRIED_ALS_OF_OURS = (
    *(
        {"n_epochs": 40, "prior": prior, "unobserved_weight": weight}
        for prior, weight in product((4.0, 6.0, 10.0), (0.05, 0.1, 0.2))
    ),
    *({"n_epochs": 40, "prior": prior, "embed_size": 256} for prior in (4.0, 6.0, 10.0)),
)

IMPLICIT = "benchmarks.peers.implicit"
METHODS = {
    "popular": Method("popular", "benchmarks.own.baselines", "popular", ({},), is_random=False),
    "ease": Method(
        "EASE",
        "benchmarks.own.baselines",
        "ease",
        tuple({"reg": reg} for reg in (20, 50, 100, 200, 500, 1000, 2000)),
        is_random=False,
    ),
    "ials": Method("iALS (implicit)", IMPLICIT, "als", TRIED_ALS, environment="implicit", patience=4),
    "bpr": Method("BPR (implicit)", IMPLICIT, "bpr", TRIED_BPR, environment="implicit", patience=8),
    "lightgcn": Method(
        "LightGCN (RecBole)",
        "benchmarks.peers.recbole_lists",
        "LightGCN",
        TRIED_LIGHTGCN,
        TRIED_LIGHTGCN_ON_LARGE,
        environment="recbole",
        patience=3,
    ),
    "librecommender": Method(
        "DeepFM (LibRecommender)",
        "benchmarks.peers.librecommender_lists",
        "DeepFM",
        TRIED_LIBRECOMMENDER,
        TRIED_LIBRECOMMENDER_ON_LARGE,
        environment="librecommender",
        patience=2,
    ),
    "als-defaults": Method("ALS, ids, defaults", "benchmarks.own.lists", "ALS", ({},)),
    "als-ids": Method("ALS, ids, tuned", "benchmarks.own.lists", "ALS", TRIED_ALS_OF_OURS),
    "als-items": Method(
        "ALS and item to item, ids, tuned",
        "benchmarks.own.lists",
        "ALS",
        (ALL_ITEMS, {**ALL_ITEMS, "item_to_item_weight": 0.5}),
    ),
} | {f"{model.lower()}-{variant}": ours(model, variant) for model in OUR_MODELS for variant in VARIANTS}
METHODS["fm-items"] = Method(
    "FM and item to item, ids, tuned", "benchmarks.own.lists", "FM", TRIED_ITEMS, TRIED_ITEMS_ON_LARGE
)
METHODS["ease-recent"] = Method(
    "EASE, ids in order", "benchmarks.own.lists", "EASE", ({"history": "recent"},), is_random=False
)
METHODS["fm-recent"] = Method(
    "FM, ids in order", "benchmarks.own.lists", "FM", ({**CATALOGUE, "history": "recent"}, {"history": "recent"})
)
METHODS["fm-items-recent"] = Method(
    "FM and item to item, ids in order",
    "benchmarks.own.lists",
    "FM",
    ({**CATALOGUE, "history": "recent", "item_to_item": True},),
)
METHODS["sasrec"] = Method(
    "SASRec, ids in order", "benchmarks.own.lists", "SASRec", (CATALOGUE,), patience=6, limit_s=1200
)
OURS = [name for name, method in METHODS.items() if method.module == "benchmarks.own.lists"]
OTHERS = [name for name in METHODS if name not in OURS]
