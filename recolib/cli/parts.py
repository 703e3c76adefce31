"""Lists of all users in several files, which processes share, and which a job that is started again goes on with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recolib.checks import check_integer
from recolib.files import replacing
from recolib.process_group import ProcessGroup
from recolib.recommender import Recommender

WHAT = "_lists.json"
"""The file that says what the parts in a folder are of."""


@dataclass(frozen=True)
class PartsOfLists:
    """What the parts in a folder are of.

    Attributes
    ----------
    folder
        Where they are.
    n_parts
        How many there are: each has the users of as many codes in turn.
    version
        The name of the model's file.
    n_rec, columns
        The length of lists, and which columns of items stand beside them.
    """

    folder: Path
    n_parts: int
    version: str
    n_rec: int
    columns: Sequence[str] = field(default_factory=list[str])

    def write(self, model: Recommender, group: ProcessGroup, how: Mapping[str, Any]) -> list[Path]:
        """Write those of this process's parts that are not there, each of which appears when it is whole.

        Raises
        ------
        ValueError
            If there are parts of something else.
        """
        check_integer("parts", self.n_parts, 1)
        if self.folder.is_file():
            raise ValueError(f"--out {str(self.folder)!r} is a file: several parts need a folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        n_users, written = model.data_info.n_users, list[Path]()
        if self.n_parts > n_users:
            raise ValueError(f"--parts {self.n_parts} is more than there are users, {n_users}")
        self._claim()
        for part in range(group.rank, self.n_parts, group.size):
            file = self.folder / f"part-{part:05}-of-{self.n_parts:05}.parquet"
            first, last = n_users * part // self.n_parts, n_users * (part + 1) // self.n_parts
            if not file.exists():
                users = [model.data_info.id2user[code] for code in range(first + 1, last + 1)]
                written.append(model.recommend_to(file, users, **how))
        return written

    def _claim(self) -> None:
        """Say what the parts are of, or see that it is the same."""
        mine = asdict(self) | {"folder": None, "columns": list(self.columns)}
        file = self.folder / WHAT
        if file.exists():
            there = json.loads(file.read_text())
            other = [f"{name} {there.get(name)!r}" for name in mine if there.get(name) != mine[name]]
            if other:
                raise ValueError(f"{self.folder} has parts of {', '.join(other)}: choose another folder, or remove it")
            return
        with replacing(file) as stream:
            stream.write(json.dumps(mine).encode())
