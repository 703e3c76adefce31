"""Frames in, arrays out."""

from recolib.data.dataset import DatasetFeat, DatasetPure
from recolib.data.field import Field
from recolib.data.info import DataInfo, Feature
from recolib.data.interactions import Interactions
from recolib.data.libfm_reader import read_libfm
from recolib.data.libfm_writer import libfm_offsets, write_libfm
from recolib.data.processing import process_data, split_multi_value
from recolib.data.rows import Rows
from recolib.data.schema import Schema
from recolib.data.split import (
    random_split,
    split_by_num,
    split_by_num_chrono,
    split_by_ratio,
    split_by_ratio_chrono,
)
from recolib.data.streaming.splitting import split_in_parts
from recolib.data.vocab import Vocab

TransformedSet = Interactions
TransformedEvalSet = Interactions

__all__ = [
    "DataInfo",
    "DatasetFeat",
    "DatasetPure",
    "Feature",
    "Field",
    "Interactions",
    "Rows",
    "Schema",
    "TransformedEvalSet",
    "TransformedSet",
    "Vocab",
    "libfm_offsets",
    "process_data",
    "random_split",
    "read_libfm",
    "split_by_num",
    "split_by_num_chrono",
    "split_by_ratio",
    "split_by_ratio_chrono",
    "split_in_parts",
    "split_multi_value",
    "write_libfm",
]
