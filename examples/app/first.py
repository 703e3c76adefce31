"""The first version: made-up movies, their accounts, and a model of who watched what."""

from places import ARCHIVE, HOME, database
from versions import serve_version

from recolib.algorithms import FM
from recolib.data import DatasetFeat
from recolib.datasets import make_movies

FIRST_NEW_USER = 1_000_000


def first() -> str:
    """Make the cinema, and put its first model into service."""
    ARCHIVE.mkdir(parents=True)
    frame = make_movies(n_users=300, n_items=150, n_ratings=9000).assign(label=1)
    frame["title"] = frame["genre1"].str.capitalize() + " No. " + frame["item"].astype(str)
    with database() as tables:
        tables.execute(
            "CREATE TABLE users (user INTEGER PRIMARY KEY AUTOINCREMENT, sex TEXT, age INTEGER, session TEXT)"
        )
        tables.execute("CREATE TABLE searched (user INTEGER, item INTEGER, PRIMARY KEY (user, item))")
        frame[["user", "sex", "age"]].drop_duplicates("user").to_sql("users", tables, if_exists="append", index=False)
        tables.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'users'", (FIRST_NEW_USER - 1,))
        movies = frame[["item", "title", "genre1", "year"]].drop_duplicates("item")
        movies.to_sql("movies", tables, index=False)
    data, info = DatasetFeat.build_trainset(
        frame,
        user_col=["sex", "age"],
        item_col=["genre1", "year"],
        sparse_col=["sex", "age", "genre1"],
        dense_col=["year"],
        display_col=["title"],
    )
    # id_dropout lets the model speak of someone new from features alone
    model = FM("ranking", info, n_epochs=6, id_dropout=0.2).fit(data, neg_sampling=True, verbose=0)
    return serve_version(model, frame)


if __name__ == "__main__":
    print(f"{first()} is in service, in {HOME}")
