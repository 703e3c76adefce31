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
        self.users = {user: code for code, user in enumerate(self.about["vocabularies"]["user"], start=1)}
        self.catalogue = self.encode("item", slice(1, None))

    def recommend(self, user, n_rec):
        """The best new items for a user, and their predictions; of the mean user for an unknown one, of code 0."""
        code = self.users.get(user, 0)
        logits = self.run("score", self.encode("user", slice(code, code + 1)) | self.catalogue)["logits"][0]
        start, end = self.arrays["consumed_starts"][code : code + 2]
        logits[self.arrays["consumed_items"][start:end] - 1] = -np.inf  # the first item has code 1
        best = [at for at in np.argsort(-logits, kind="stable")[:n_rec] if logits[at] > -np.inf]
        how = self.about["prediction"]
        finish = {"sigmoid": lambda x: 1 / (1 + np.exp(-x)), "clip": lambda x: np.clip(x, how["low"], how["high"])}
        return [self.about["vocabularies"]["item"][at] for at in best], finish[how["function"]](logits[best])

    def encode(self, side, rows):
        return self.run(f"encode_{side}", {name: self.arrays[f"{side}_{name}"][rows] for name in ("codes", "dense")})

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
