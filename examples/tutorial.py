"""LibRecommender's tutorial, with `libreco` replaced by `recolib` and nothing else changed.

The data is a sample of MovieLens 1M, `ml1m_sample_merged.csv` in the folder that RECOLIB_DATA_HOME names.
"""

import os
from pathlib import Path

import pandas as pd

from recolib.algorithms import DeepFM
from recolib.data import DatasetFeat, split_by_ratio_chrono

data = pd.read_csv(Path(os.environ["RECOLIB_DATA_HOME"]) / "ml1m_sample_merged.csv")
train, test = split_by_ratio_chrono(data, test_size=0.2)

sparse_col = ["sex", "occupation", "genre1", "genre2", "genre3"]
dense_col = ["age"]
user_col = ["sex", "age", "occupation"]
item_col = ["genre1", "genre2", "genre3"]
train_data, data_info = DatasetFeat.build_trainset(train, user_col, item_col, sparse_col, dense_col)
test_data = DatasetFeat.build_testset(test)
print(data_info)

deepfm = DeepFM(
    task="ranking",
    data_info=data_info,
    embed_size=64,
    n_epochs=10,
    lr=1e-4,
    batch_size=512,
    use_bn=True,
    hidden_units=(128, 64, 32),
)
deepfm.fit(train_data, neg_sampling=True, verbose=2, shuffle=True, eval_data=test_data, metrics=["loss"])
print(f"best evaluation log loss: {deepfm.history_['eval_loss'].min():.4f}")

print(deepfm.predict(user=2211, item=110))
print(deepfm.recommend_user(user=2211, n_rec=7))
print(deepfm.predict(user="ccc", item="not item", cold_start="average"))
print(deepfm.recommend_user(user="are we good?", n_rec=7, cold_start="popular"))
