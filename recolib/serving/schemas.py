"""What requests and answers hold, as pydantic checks it and OpenAPI describes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr

MAX_USERS = 64
MAX_REC = 500
MAX_PAIRS = 1024
MAX_EVENTS = 1000
MAX_IDS = 5000
MAX_HISTORY = 200
MAX_CONDITIONS = 16
MAX_COLUMNS = 64
MAX_TEXT = 256
MAX_QUERY = 256
MAX_INT = 2**63 - 1
LAST_MOMENT = 4_102_444_800
"""The year 2100, in seconds since 1970."""
NO_VALUES = {"values": [], "n_values": None, "low": None, "high": None, "groups": False}
EXAMPLE_MODEL: dict[str, Any] = {
    "model_version": "movies-2",
    "beside": "movies-3",
    "algorithm": "FM",
    "task": "ranking",
    "n_users": 1000,
    "n_items": 500,
    "score_range": [0, 1],
    "user_columns": [
        NO_VALUES | {"name": "sex", "kind": "category", "values": ["f", "m"], "n_values": 2, "groups": True}
    ],
    "item_columns": [NO_VALUES | {"name": "year", "kind": "number", "low": 1950, "high": 1999}],
    "context_columns": [],
    "history": True,
}
TYPES = {"integer": int, "number": float}


def _whole(value: object) -> object:
    """7.0 is an integer to JSON."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53 else value


def _in_64_bits(value: int) -> int:
    if not -MAX_INT - 1 <= value <= MAX_INT:
        raise ValueError("an integer must fit 64 bits")
    return value


Whole = Annotated[
    StrictInt,
    BeforeValidator(_whole),
    AfterValidator(_in_64_bits),
    Field(json_schema_extra={"minimum": -MAX_INT - 1, "maximum": MAX_INT}),
]
Text = Annotated[StrictStr, Field(max_length=MAX_TEXT)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Id = Whole | Text
"""7 and "7" are two."""
Length = Annotated[StrictInt, Field(ge=1, le=MAX_REC), BeforeValidator(_whole)]
Scalar = StrictBool | Whole | Number | Text | None
Value = Scalar | Annotated[list[Whole | Number | Text], Field(max_length=MAX_IDS)]
Column = Annotated[StrictStr, Field(min_length=1, max_length=MAX_TEXT)]
Feats = Annotated[dict[Column, Value], Field(max_length=MAX_COLUMNS)]
Ids = Annotated[list[Id], Field(max_length=MAX_IDS)]
Items = Annotated[list[Id], Field(max_length=MAX_HISTORY)]
Scored = Literal["average", "features"]
ColdStart = Literal["average", "features", "popular"]
WhichModel = Annotated[
    Literal["current", "beside"], Field(description="Whose answer: of the model served, or of the one beside it.")
]


class Model(BaseModel):
    """What all requests have in common."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Condition(Model):
    """What a column of items must be; where it is missing, the item is left out."""

    column: Column
    op: Literal["==", "!=", "<", "<=", ">", ">=", "in", "not in", "contains"]
    value: StrictBool | Whole | Number | Text | Ids


class RecommendRequest(Model):
    """Which lists are wanted."""

    users: Annotated[list[Id], Field(min_length=1, max_length=MAX_USERS)]
    n_rec: Length = 10
    user_feats: Annotated[
        Feats | Annotated[list[Feats], Field(max_length=MAX_USERS)] | None,
        Field(description="Features to use instead of the known ones: of one user, or a list with one each."),
    ] = None
    history: Annotated[
        Items | Annotated[list[Items], Field(max_length=MAX_USERS)] | None,
        Field(description="Items that were consumed after training: by one user, or a list with one each."),
    ] = None
    context: Annotated[Feats | None, Field(description="Values of context columns, for all users.")] = None
    candidates: Annotated[Ids | None, Field(description="The only items that lists may have.")] = None
    exclude: Annotated[Ids | None, Field(description="Items that lists may not have.")] = None
    where: Annotated[list[Condition], Field(max_length=MAX_CONDITIONS, description="All of them must hold.")] = []
    max_per_group: Annotated[
        dict[Column, Length] | None,
        Field(max_length=MAX_COLUMNS, description="How many items of each value of a column a list has at most."),
    ] = None
    min_score: Annotated[Number | None, Field(description="The least prediction that an item may have.")] = None
    cold_start: Annotated[ColdStart, Field(description="What unknown users get.")] = "average"
    segment: Annotated[list[Column] | None, Field(max_length=MAX_COLUMNS, description="For 'popular': like whom.")] = (
        None
    )
    filter_consumed: Annotated[StrictBool, Field(description="Leave out what the user consumed.")] = True
    include_cold_items: Annotated[StrictBool, Field(description="Also items without any interaction.")] = False
    columns: Annotated[list[Column], Field(max_length=MAX_COLUMNS, description="Columns of items to show.")] = []
    version: WhichModel = "current"

    model_config = ConfigDict(json_schema_extra={"examples": [{"users": [5, "someone new"], "n_rec": 10}]})


class Pair(Model):
    """A user and an item."""

    user: Id
    item: Id


class PredictRequest(Model):
    """Which predictions are wanted."""

    pairs: Annotated[list[Pair], Field(min_length=1, max_length=MAX_PAIRS)]
    feats: Annotated[Feats | None, Field(description="Features and context of all pairs.")] = None
    cold_start: ColdStart = "average"
    version: WhichModel = "current"

    model_config = ConfigDict(json_schema_extra={"examples": [{"pairs": [{"user": 5, "item": 7}]}]})


class SimilarRequest(Model):
    """Whose neighbours are wanted."""

    items: Annotated[list[Id], Field(min_length=1, max_length=MAX_USERS)]
    n: Length = 10
    include_cold_items: StrictBool = False
    columns: Annotated[list[Column], Field(max_length=MAX_COLUMNS, description="Columns of items to show.")] = []
    version: WhichModel = "current"

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [7], "n": 5}]})


class ExplainRequest(Pair):
    """Whose score is to be taken apart."""

    feats: Annotated[Feats | None, Field(description="Features and context to use instead of the known ones.")] = None
    history: Annotated[Items | None, Field(description="Items that were consumed after training.")] = None
    cold_start: Scored = "average"
    n_terms: Length = 20
    version: WhichModel = "current"

    model_config = ConfigDict(json_schema_extra={"examples": [{"user": 5, "item": 7}]})


class EventIn(Pair):
    """A user consumed an item."""

    time: Annotated[
        Annotated[Number, Field(ge=0, le=LAST_MOMENT)] | None,
        Field(description="When, in seconds since 1970; by default now."),
    ] = None


class EventsRequest(Model):
    """What was consumed."""

    events: Annotated[list[EventIn], Field(min_length=1, max_length=MAX_EVENTS)]

    model_config = ConfigDict(json_schema_extra={"examples": [{"events": [{"user": 5, "item": 7}]}]})


class ScoredItem(BaseModel):
    """An item of a list."""

    item: int | str
    score: Annotated[float | None, Field(description="null where the list is by popularity.")]
    columns: dict[str, Any] | None = None


class UserList(BaseModel):
    """A user's list, best first."""

    user: int | str
    known: Annotated[bool, Field(description="Whether the model was trained with this user.")]
    items: list[ScoredItem]


class RecommendAnswer(BaseModel):
    """A list for each user, in the order of the request."""

    model_version: str
    results: list[UserList]


class Prediction(BaseModel):
    """How much a user would like an item."""

    user: int | str
    item: int | str
    known: bool
    item_known: bool
    score: float


class PredictAnswer(BaseModel):
    """A prediction for each pair, in the order of the request."""

    model_version: str
    results: list[Prediction]


class Neighbours(BaseModel):
    """The items that the same users like, most similar first; none of an unknown item."""

    item: int | str
    known: bool
    items: list[ScoredItem]


class SimilarAnswer(BaseModel):
    """Neighbours of each item, in the order of the request."""

    model_version: str
    results: list[Neighbours]


class Term(BaseModel):
    """What a column, or two, add to a score."""

    term: str
    kind: str
    first: str | None
    first_value: Any
    second: str | None
    second_value: Any
    contribution: float


class ExplainAnswer(BaseModel):
    """What adds up to a score, those first that add or take most."""

    model_version: str
    user: int | str
    item: int | str
    known: bool
    item_known: bool
    prediction: float
    logit: float
    reads_history: Annotated[bool, Field(description="Whether what was consumed after training is among the terms.")]
    terms: list[Term]


class EventsAnswer(BaseModel):
    """How many events were stored."""

    stored: int


class ItemFound(BaseModel):
    """An item and its columns."""

    item: int | str
    columns: dict[str, Any]


class ItemsAnswer(BaseModel):
    """Items that were found, the most popular first."""

    model_version: str
    items: list[ItemFound]


class UserFound(BaseModel):
    """A known user, their features, and the items that they consumed last, the latest first."""

    user: int | str
    columns: dict[str, Any]
    n_consumed: int
    latest: list[ItemFound]


class UsersAnswer(BaseModel):
    """Known users that were found: who has this very id, and then those who consumed most."""

    model_version: str
    users: list[UserFound]


class ColumnAbout(BaseModel):
    """What a column holds."""

    name: str
    kind: Annotated[
        Literal["category", "number", "list", "vector"],
        Field(description="A value of some, a number, a list of values, or numbers that mean something together."),
    ]
    values: Annotated[
        list[bool | int | float | str],
        Field(description="At most 50; of items the most frequent, else those known first."),
    ]
    n_values: Annotated[int | None, Field(description="How many there are; null of numbers and hashed values.")]
    low: Annotated[float | None, Field(description="The least number that is known.")]
    high: Annotated[float | None, Field(description="The greatest number that is known.")]
    groups: Annotated[bool, Field(description="Whether max_per_group takes it, or of users segment.")]


class ModelAnswer(BaseModel):
    """What the model is, and what requests may name."""

    model_version: str
    beside: Annotated[str | None, Field(description="The model beside it, whose answers have version 'beside'.")]
    algorithm: str
    task: Literal["ranking", "rating"]
    n_users: int
    n_items: int
    score_range: Annotated[list[float], Field(min_length=2, max_length=2, description="From where to where scores go.")]
    user_columns: list[ColumnAbout]
    item_columns: list[ColumnAbout]
    context_columns: list[ColumnAbout]
    history: Annotated[bool, Field(description="Whether events are stored.")]

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_MODEL]})


class ReadyBeside(BaseModel):
    """Which model is served beside the current one, and why not the newest."""

    model_version: str | None
    error: str | None


class Ready(BaseModel):
    """Whether a model is served, which, and why not the newest."""

    ready: bool
    model_version: str | None
    error: str | None
    beside: Annotated[ReadyBeside | None, Field(description="null where the server has none beside.")] = None


class Refusal(BaseModel):
    """Why there is no answer."""

    detail: str
