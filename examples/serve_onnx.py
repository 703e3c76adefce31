"""Serving with onnxruntime and numpy alone: lists for users from the folder that ``export_onnx`` wrote."""

import json
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime


class Server:
    def __init__(self, folder):
        self.about = json.loads(Path(folder, "vocabularies.json").read_text())
        self.arrays = read_arrays(Path(folder, "rows.safetensors").read_bytes())
        self.graphs = {
            name: onnxruntime.InferenceSession(Path(folder, f"{name}.onnx")) for name in self.about["graphs"]
        }
        self.users, self.items = (
            {value: code for code, value in enumerate(self.about["vocabularies"][side], start=1)}
            for side in ("user", "item")
        )
        self.catalogue = self.run("encode_item", self.rows("item", slice(1, None)))

    def recommend(self, user, n_rec, history=()):
        """The best new items for a user, and their predictions; of the mean user for an unknown one, of code 0.

        ``history`` has items that the user consumed after training, in order, for a model that reads histories.
        """
        code = self.users.get(user, 0)
        row = self.rows("user", slice(code, code + 1))
        later = [self.items[item] for item in history if item in self.items]
        if len(history):
            row["history"] = self.with_items(row.get("history"), later)
        logits = self.run("score", self.run("encode_user", row) | self.catalogue)["logits"][0]
        start, end = self.arrays["consumed_starts"][code : code + 2]
        for consumed in (self.arrays["consumed_items"][start:end], np.array(later, int)):
            logits[consumed - 1] = -np.inf  # the first item has code 1
        best = [at for at in np.argsort(-logits, kind="stable")[:n_rec] if logits[at] > -np.inf]
        how = self.about["prediction"]
        finish = {"sigmoid": lambda x: 1 / (1 + np.exp(-x)), "clip": lambda x: np.clip(x, how["low"], how["high"])}
        return [self.about["vocabularies"]["item"][at] for at in best], finish[how["function"]](logits[best])

    def with_items(self, past, later):
        """A user's past (1, L), the earliest item first and zeros behind, with later items; the latest L count."""
        if past is None:
            raise ValueError(
                f"history is for models that read it, such as EASE, and this {self.about['algorithm']} does not"
            )
        latest = [*past[past > 0], *later][-past.shape[1] :]
        return np.array([latest + [0] * (past.shape[1] - len(latest))])

    def rows(self, side, codes):
        inputs = self.about["graphs"][f"encode_{side}"]["inputs"]  # codes, dense if there are numbers, perhaps history
        return {name: self.arrays[f"{side}_{name}"][codes] for name in inputs}

    def run(self, name, inputs):
        graph = self.about["graphs"][name]
        outputs = self.graphs[name].run(None, {name: inputs[name] for name in graph["inputs"]})
        return dict(zip(graph["outputs"], outputs, strict=True))


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
    import recolib
    from recolib.datasets import make_movies

    data, info = recolib.DatasetPure.build_trainset(make_movies(n_users=200, n_items=100, n_ratings=5000))
    model = recolib.DeepFM("ranking", info, n_epochs=2, hidden_units=(32, 16)).fit(data, neg_sampling=True, verbose=0)
    server = Server(model.export_onnx(tempfile.mkdtemp()))
    print(server.recommend(info.id2user[1], n_rec=5), model.recommend_user(info.id2user[1], 5, return_scores=True))
