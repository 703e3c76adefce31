"""Serving with onnxruntime and numpy alone: lists for users from the folder that ``export_onnx`` wrote."""

import json
import tempfile
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession


class Server:
    def __init__(self, folder):
        self.about = json.loads(Path(folder, "vocabularies.json").read_text())
        self.arrays = read_arrays(Path(folder, "rows.safetensors").read_bytes())
        self.graphs = {name: InferenceSession(Path(folder, f"{name}.onnx")) for name in self.about["graphs"]}
        self.codes = {side: {v: n for n, v in enumerate(some, 1)} for side, some in self.about["vocabularies"].items()}
        rows = {one: self.arrays[f"item_{one}"][1:] for one in self.about["graphs"]["encode_item"]["inputs"]}
        self.catalogue = self.run("encode_item", rows)

    def recommend(self, user, n_rec, history=()):
        """The best new items for a user (of code 0: the mean user) who then consumed those of a history, in order."""
        code = self.codes["user"].get(user, 0)
        later = [self.codes["item"][item] for item in history if item in self.codes["item"]]
        row = {one: self.arrays[f"user_{one}"][[code]] for one in self.about["graphs"]["encode_user"]["inputs"]}
        if later:
            assert "history" in row, f"history is for models that read it, and this {self.about['algorithm']} does not"
            past = row["history"][0]  # the earliest item first, zeros behind
            latest = [*np.trim_zeros(past), *later][-len(past) :]
            past[: len(latest)] = latest
        logits = self.run("score", self.run("encode_user", row) | self.catalogue)["logits"][0]
        start, end = self.arrays["consumed_starts"][code : code + 2]
        logits[[one - 1 for one in (*self.arrays["consumed_items"][start:end], *later)]] = -np.inf  # codes begin with 1
        best = [at for at in np.argsort(-logits, kind="stable")[:n_rec] if logits[at] > -np.inf]
        how = self.about["prediction"]
        finish = {"sigmoid": lambda x: 1 / (1 + np.exp(-x)), "clip": lambda x: np.clip(x, how["low"], how["high"])}
        return [self.about["vocabularies"]["item"][at] for at in best], finish[how["function"]](logits[best])

    def run(self, name, inputs):
        outputs = self.graphs[name].run(None, {one: inputs[one] for one in self.about["graphs"][name]["inputs"]})
        return dict(zip(self.about["graphs"][name]["outputs"], outputs, strict=True))


def read_arrays(content):
    """The arrays of a safetensors file: eight bytes of length, a header of JSON, and numbers end to end."""
    start = 8 + int.from_bytes(content[:8], "little")
    header, types = json.loads(content[8:start]), {"I32": "<i4", "I64": "<i8", "F32": "<f4"}
    return {
        name: np.ndarray(array["shape"], types[array["dtype"]], content, start + array["data_offsets"][0])
        for name, array in header.items()
        if name != "__metadata__"
    }


if __name__ == "__main__":
    from recolib import DatasetPure, DeepFM, datasets

    data, info = DatasetPure.build_trainset(datasets.make_movies(n_users=200, n_items=100, n_ratings=5000))
    model = DeepFM("ranking", info, n_epochs=2, hidden_units=(32, 16)).fit(data, neg_sampling=True, verbose=0)
    print(Server(model.export_onnx(tempfile.mkdtemp())).recommend(info.id2user[1], n_rec=5))
