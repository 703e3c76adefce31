from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import pytest

from recolib.data import DatasetFeat
from recolib.datasets import fetch_movielens, movielens
from recolib.datasets.movielens import FLAGS, PUBLICATIONS

NAMES = list(PUBLICATIONS)
FLAG_ROWS = {
    name: "|".join(str(int(genre in of_movie)) for genre in ["unknown", *FLAGS])
    for name, of_movie in {
        "miserables": ["Drama", "Musical"],
        "alien": ["Action", "Horror", "Sci-Fi"],
        "unknown": ["unknown"],
    }.items()
}
PUBLISHED = {
    "1m": {
        "ml-1m/ratings.dat": "2::1320::5::978300760\n1::73::3::978302109\n2::73::4::978301968\n",
        "ml-1m/users.dat": "1::F::1::10::48067\n2::M::56::16::70072-1234\n",
        "ml-1m/movies.dat": (
            '73::Misérables, Les (1995)::Drama|Musical\n1320::"Alien³" (1992)::Action|Horror|Sci-Fi\n'
            "9::Nobody's (1980)::Action|Comedy|Crime|Drama\n"
        ),
        "ml-1m/README": "terms",
    },
    "100k": {
        "ml-100k/u.data": "2\t1320\t5\t978300760\n1\t73\t3\t978302109\n2\t267\t4\t978301968\n",
        "ml-100k/u.user": "1|24|M|technician|85711\n2|53|F|none|V3N4P\n",
        "ml-100k/u.item": (
            f"73|Misérables, Les (1995)|4-Feb-1996||http://x|{FLAG_ROWS['miserables']}\n"
            f"267|unknown||||{FLAG_ROWS['unknown']}\n"
            f"1320|Alien³ (1992)|01-Jan-1992||http://y|{FLAG_ROWS['alien']}\n"
        ),
    },
    "latest-small": {
        "ml-latest-small/ratings.csv": (
            "userId,movieId,rating,timestamp\r\n2,1320,0.5,978300760\r\n1,73,3.0,978302109\r\n2,9,4.5,978301968\r\n"
            "2,8,4.0,978301969\r\n"
        ),
        "ml-latest-small/movies.csv": (
            'movieId,title,genres\r\n73,"Misérables, Les (1995) ",Drama|Musical\r\n'
            '1320,"""Alien""³ (2006\u20132007)",Action|Horror|Sci-Fi\r\n9,None,(no genres listed)\r\n'
            "8,Blade Runner 2049,Sci-Fi\r\n"
        ),
    },
}


def zipped(name: str, file: str = "", text: str = "", compression: int = zipfile.ZIP_STORED) -> bytes:
    """The zip of a data set, with another text in one of its files."""
    publication = PUBLICATIONS[name]
    texts = PUBLISHED[name] | ({f"{publication.folder}/{file}": text} if file else {})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in texts.items():
            of_2003 = zipfile.ZipInfo(member, (2003, 2, 28, 0, 0, 0))  # not now: the md5 must stay
            of_2003.external_attr = 0o644 << 16
            archive.writestr(of_2003, content.encode(publication.encoding), compression)
    return buffer.getvalue()


def file_of(name: str) -> str:
    return f"{PUBLICATIONS[name].folder}.zip"


def put_zip(home: Path, name: str, file: str = "", text: str = "") -> Path:
    path = home / file_of(name)
    path.write_bytes(zipped(name, file, text))
    return path


def put_folder(home: Path, name: str) -> Path:
    with zipfile.ZipFile(io.BytesIO(zipped(name))) as archive:
        archive.extractall(home)
    return home / PUBLICATIONS[name].folder


class Publisher:
    """A server on this machine that has the three zips, and can have a bad day."""

    def __init__(self) -> None:
        self.files = {f"/{file_of(name)}": zipped(name) for name in NAMES}
        self.requests: list[str] = []
        self.share = 1.0
        self.tells_length = True
        self.answers = threading.Event()
        self.answers.set()
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.requests.append(self.path)
                if not publisher.answers.wait(5):
                    return
                content = publisher.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                if publisher.tells_length:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: int(len(content) * publisher.share)])

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # a client that has given up is no news
        self.address = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})


@pytest.fixture
def publisher(monkeypatch):
    publisher = Publisher()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(movielens, "SOURCE", publisher.address)
    for name, publication in PUBLICATIONS.items():
        if publication.md5:
            md5 = hashlib.md5(zipped(name)).hexdigest()
            monkeypatch.setitem(PUBLICATIONS, name, replace(publication, md5=md5))
    publisher.thread.start()
    yield publisher
    publisher.server.shutdown()
    publisher.thread.join()
    publisher.server.server_close()


# What a frame holds


def test_frame_of_1m_has_every_rating_with_its_user_and_movie(tmp_path):
    put_zip(tmp_path, "1m")
    expected = pd.DataFrame(
        {
            "user": [2, 1, 2],
            "item": [1320, 73, 73],
            "label": [5, 3, 4],
            "time": [978300760, 978302109, 978301968],
            "sex": ["M", "F", "M"],
            "age": [56, 1, 56],
            "occupation": [16, 10, 16],
            "genre1": ["Action", "Drama", "Drama"],
            "genre2": ["Horror", "Musical", "Musical"],
            "genre3": ["Sci-Fi", "missing", "missing"],
            "genre4": ["missing", "missing", "missing"],
            "year": [1992.0, 1995.0, 1995.0],
            "title": ['"Alien³" (1992)', "Misérables, Les (1995)", "Misérables, Les (1995)"],
        }
    )
    pd.testing.assert_frame_equal(fetch_movielens("1m", home=tmp_path), expected)


def test_frame_of_100k_has_occupations_in_words_and_no_year_where_no_date_is_known(tmp_path):
    put_zip(tmp_path, "100k")
    expected = pd.DataFrame(
        {
            "user": [2, 1, 2],
            "item": [1320, 73, 267],
            "label": [5, 3, 4],
            "time": [978300760, 978302109, 978301968],
            "sex": ["F", "M", "F"],
            "age": [53, 24, 53],
            "occupation": ["none", "technician", "none"],
            "genre1": ["Action", "Drama", "missing"],
            "genre2": ["Horror", "Musical", "missing"],
            "genre3": ["Sci-Fi", "missing", "missing"],
            "year": [1992.0, 1996.0, np.nan],
            "title": ["Alien³ (1992)", "Misérables, Les (1995)", "unknown"],
        }
    )
    pd.testing.assert_frame_equal(fetch_movielens("100k", home=tmp_path), expected)


def test_frame_of_latest_small_has_half_stars_and_no_users(tmp_path):
    put_zip(tmp_path, "latest-small")
    expected = pd.DataFrame(
        {
            "user": [2, 1, 2, 2],
            "item": [1320, 73, 9, 8],
            "label": [0.5, 3.0, 4.5, 4.0],
            "time": [978300760, 978302109, 978301968, 978301969],
            "genre1": ["Action", "Drama", "missing", "Sci-Fi"],
            "genre2": ["Horror", "Musical", "missing", "missing"],
            "genre3": ["Sci-Fi", "missing", "missing", "missing"],
            "year": [2006.0, 1995.0, np.nan, np.nan],
            "title": ['"Alien"³ (2006\u20132007)', "Misérables, Les (1995) ", "None", "Blade Runner 2049"],
        }
    )
    pd.testing.assert_frame_equal(fetch_movielens("latest-small", home=tmp_path), expected)


def test_column_that_comes_to_be_published_is_left_out(tmp_path):
    put_zip(tmp_path, "latest-small")
    frame = fetch_movielens("latest-small", home=tmp_path)
    lines = PUBLISHED["latest-small"]["ml-latest-small/ratings.csv"].splitlines()
    put_zip(tmp_path, "latest-small", "ratings.csv", "\n".join(f"{line},new" for line in lines))
    with pytest.warns(pd.errors.ParserWarning):
        found = fetch_movielens("latest-small", home=tmp_path)
    pd.testing.assert_frame_equal(found, frame)


@pytest.mark.parametrize("name", NAMES)
def test_unpacked_folder_gives_what_the_zip_gives(name, tmp_path):
    (tmp_path / "zip").mkdir()
    put_zip(tmp_path / "zip", name)
    put_folder(tmp_path, name)
    of_folder = fetch_movielens(name, home=tmp_path)
    pd.testing.assert_frame_equal(of_folder, fetch_movielens(name, home=str(tmp_path / "zip")))


def test_changing_a_frame_does_not_change_the_next(tmp_path):
    put_zip(tmp_path, "1m")
    first = fetch_movielens("1m", home=tmp_path)
    kept = first.copy(deep=True)
    first.loc[:, "label"] = 0
    del first["title"]
    pd.testing.assert_frame_equal(fetch_movielens("1m", home=tmp_path), kept)


# Where it is looked for


def test_folder_comes_before_the_zip(tmp_path):
    put_zip(tmp_path, "1m", "ratings.dat", "1::73::1::1\n")
    put_folder(tmp_path, "1m")
    assert len(fetch_movielens("1m", home=tmp_path)) == 3


def test_zip_that_was_packed_anew_is_taken_and_nothing_is_unpacked(publisher, tmp_path):
    put_zip(tmp_path, "1m", "README", "packed anew, so another md5")
    assert len(fetch_movielens("1m", home=tmp_path)) == 3
    assert publisher.requests == []
    assert os.listdir(tmp_path) == ["ml-1m.zip"]


def test_home_comes_before_the_environment_and_that_before_the_cache(publisher, tmp_path, monkeypatch):
    argument, environment, cache = (tmp_path / name for name in ("argument", "environment", "cache"))
    monkeypatch.setenv("RECOLIB_DATA_HOME", str(environment))
    monkeypatch.setattr(pooch, "os_cache", lambda project: cache / project)
    for folder, n_ratings in ((argument, 1), (environment, 2), (cache / "recolib", 3)):
        folder.mkdir(parents=True)
        put_zip(folder, "1m", "ratings.dat", "1::73::1::1\n" * n_ratings)
    assert len(fetch_movielens("1m", home=argument)) == 1
    assert len(fetch_movielens("1m")) == 2
    monkeypatch.delenv("RECOLIB_DATA_HOME")
    assert len(fetch_movielens("1m")) == 3
    monkeypatch.setenv("RECOLIB_DATA_HOME", "")
    assert len(fetch_movielens("1m")) == 3
    assert publisher.requests == []


def test_tilde_is_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "data").mkdir()
    put_zip(tmp_path / "data", "1m")
    assert len(fetch_movielens("1m", home="~/data")) == 3


def test_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"name must be one of \['1m', '100k', 'latest-small'\], got '20m'"):
        fetch_movielens("20m")


# The download


@pytest.mark.parametrize("name", NAMES)
def test_what_is_absent_is_downloaded_once_with_a_progress_bar(name, publisher, tmp_path, capsys):
    home = tmp_path / "not" / "yet"
    first = fetch_movielens(name, home=home)
    shown = capsys.readouterr()
    assert "100%|" in shown.err
    assert not shown.out
    assert publisher.requests == [f"/{file_of(name)}"]
    assert os.listdir(home) == [file_of(name)]
    assert (home / file_of(name)).read_bytes() == zipped(name)

    pd.testing.assert_frame_equal(fetch_movielens(name, home=home), first)
    assert publisher.requests == [f"/{file_of(name)}"]
    assert not capsys.readouterr().err


def test_download_can_be_read_by_whom_the_folder_is_for(publisher, tmp_path):
    fetch_movielens("1m", home=tmp_path)
    (tmp_path / "another").touch()
    assert (tmp_path / "ml-1m.zip").stat().st_mode == (tmp_path / "another").stat().st_mode


def refuse_then_accept(name: str, publisher: Publisher, home: Path, reason: str) -> None:
    """A download fails and leaves nothing; once the publisher is well again, it succeeds."""
    with pytest.raises(ConnectionError, match=reason):
        fetch_movielens(name, home=home)
    assert os.listdir(home) == []
    publisher.files = {f"/{file_of(name)}": zipped(name) for name in NAMES}
    publisher.share = 1.0
    assert len(fetch_movielens(name, home=home)) >= 3


@pytest.mark.parametrize("name", ["1m", "100k"])
def test_download_with_another_checksum_is_refused(name, publisher, tmp_path):
    publisher.files[f"/{file_of(name)}"] = zipped(name, "README", "a whole zip, but not the publisher's")
    refuse_then_accept(name, publisher, tmp_path, "(?i)md5 hash")


def test_download_of_latest_small_with_a_flipped_byte_is_refused(publisher, tmp_path):
    publisher.files["/ml-latest-small.zip"] = zipped("latest-small").replace(b"1320,0.5", b"1320,1.5", 1)
    refuse_then_accept("latest-small", publisher, tmp_path, "ratings.csv")


@pytest.mark.parametrize("tells_length", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_download_that_breaks_off_is_refused(name, tells_length, publisher, tmp_path):
    publisher.share, publisher.tells_length = 0.5, tells_length
    refuse_then_accept(name, publisher, tmp_path, file_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_page_in_place_of_the_zip_is_refused(name, publisher, tmp_path):
    publisher.files[f"/{file_of(name)}"] = b"<html>please log in to the hotel's network</html>"
    refuse_then_accept(name, publisher, tmp_path, "not a zip file")


def test_absent_page_is_an_error_of_the_connection(publisher, tmp_path):
    publisher.files.clear()
    refuse_then_accept("1m", publisher, tmp_path, "404")


def test_server_that_does_not_answer_is_given_up(publisher, tmp_path, monkeypatch):
    monkeypatch.setattr(movielens, "TIMEOUT_S", 0.05)
    publisher.answers.clear()
    try:
        with pytest.raises(ConnectionError, match="timed out"):
            fetch_movielens("1m", home=tmp_path)
    finally:
        publisher.answers.set()
    assert os.listdir(tmp_path) == []


def test_interrupted_download_leaves_nothing(publisher, tmp_path, monkeypatch):
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "testzip", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch_movielens("1m", home=tmp_path)
    assert os.listdir(tmp_path) == []


def test_without_a_network_the_error_says_what_to_put_where(tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        source = f"http://127.0.0.1:{free.getsockname()[1]}/"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(movielens, "SOURCE", source)
    with pytest.raises(ConnectionError) as caught:
        fetch_movielens("100k", home=tmp_path)
    told = str(caught.value)
    assert told.startswith(
        f"{source}ml-100k.zip could not be downloaded: put ml-100k.zip or its unpacked folder ml-100k into "
        f"{tmp_path}, or set RECOLIB_DATA_HOME"
    )
    assert os.listdir(tmp_path) == []


def test_folder_that_cannot_be_written_to_is_no_matter_of_the_network(publisher, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as caught:
        fetch_movielens("1m", home=tmp_path / "file" / "home")
    assert not isinstance(caught.value, ConnectionError)
    assert publisher.requests == []


# Damage to what is there


def refused(path: Path, reason: str) -> None:
    told = rf"{path} is damaged or incomplete \(.*{reason}.*\): delete it, and the next call downloads it anew"
    with pytest.raises(ValueError, match=told):
        fetch_movielens("1m", home=path.parent)


def test_damaged_zip_is_named_and_kept(publisher, tmp_path):
    path = put_zip(tmp_path, "1m")
    half = zipped("1m")[:300]
    path.write_bytes(half)
    refused(path, "not a zip file")
    assert path.read_bytes() == half
    assert publisher.requests == []


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_is_right_or_refused_wherever_a_byte_is_flipped(compression, tmp_path):
    path = tmp_path / "ml-1m.zip"
    content = zipped("1m", compression=compression)
    path.write_bytes(content)
    frame = fetch_movielens("1m", home=tmp_path)
    n_refused = 0
    for at in range(0, len(content), 5):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            found = fetch_movielens("1m", home=tmp_path)
        except ValueError as error:
            assert str(error).startswith(f"{path} is damaged")  # noqa: PT017
            n_refused += 1
        else:
            pd.testing.assert_frame_equal(found, frame)
    assert n_refused > 50


def test_zip_without_a_file_is_refused(tmp_path):
    path = tmp_path / "ml-1m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ml-1m/ratings.dat", PUBLISHED["1m"]["ml-1m/ratings.dat"])
    refused(path, r"ml-1m/movies\.dat")


def test_folder_without_a_file_is_refused(tmp_path):
    path = put_folder(tmp_path, "1m")
    (path / "users.dat").unlink()
    refused(path, r"users\.dat")
    shutil.rmtree(path)
    path.touch()
    refused(path, "not a zip file")


def test_rating_of_what_is_not_described_is_refused(tmp_path):
    refused(put_zip(tmp_path, "1m", "users.dat", "1::F::1::10::48067\n"), "user 2")
    refused(put_zip(tmp_path, "1m", "movies.dat", "73::Misérables, Les (1995)::Drama\n"), "item 1320")


def test_text_that_is_no_table_is_refused(tmp_path):
    refused(put_zip(tmp_path, "1m", "ratings.dat", "1::one::5::3\n"), "one")


def test_file_that_breaks_off_within_a_line_is_refused(tmp_path):
    refused(put_zip(tmp_path, "1m", "ratings.dat", "1::73::5::3\n1::73::4"), "")


def test_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    def forbid(path: Path) -> bytes:
        raise PermissionError(f"{path} is not yours")

    put_folder(tmp_path, "1m")
    monkeypatch.setattr(Path, "read_bytes", forbid)
    with pytest.raises(PermissionError, match="not yours"):
        fetch_movielens("1m", home=tmp_path)


def test_user_described_twice_is_refused(tmp_path):
    refused(
        put_zip(tmp_path, "1m", "users.dat", "1::F::1::10::48067\n2::M::1::1::1\n2::F::1::1::1\n"),
        "one user has two lines",
    )


# The real data


def real(data_home: Path, name: str) -> pd.DataFrame:
    folder = PUBLICATIONS[name].folder
    if not (data_home / folder).exists() and not (data_home / f"{folder}.zip").exists():
        pytest.skip(f"{folder} is not in RECOLIB_DATA_HOME")
    return fetch_movielens(name, home=data_home)


def raw_line(data_home: Path, member: str, start: str) -> list[str]:
    """The fields of a line of MovieLens 1M."""
    packed = data_home / "ml-1m.zip"
    if packed.exists():
        with zipfile.ZipFile(packed) as archive:
            content = archive.read(f"ml-1m/{member}")
    else:
        content = (data_home / "ml-1m" / member).read_bytes()
    return next(line.split("::") for line in content.decode("latin-1").splitlines() if line.startswith(start))


@pytest.mark.parametrize(
    ("name", "n_ratings", "n_users", "n_items"), [("1m", 1_000_209, 6040, 3706), ("100k", 100_000, 943, 1682)]
)
def test_real_data_have_their_published_size_and_can_be_built(data_home, name, n_ratings, n_users, n_items):
    frame = real(data_home, name)
    assert len(frame) == n_ratings
    assert frame.index.equals(pd.RangeIndex(n_ratings))
    assert (frame[["user", "item", "label", "time"]].dtypes == np.int64).all()
    assert frame.drop(columns="year").notna().all(axis=None)
    assert frame["label"].isin(range(1, 6)).all()
    assert frame.loc[frame["title"] != "unknown", "year"].between(1919, 2000).all()

    genres = [f"genre{i}" for i in range(1, 7)]
    columns = ["user", "item", "label", "time", "sex", "age", "occupation", *genres, "year", "title"]
    assert frame.columns.tolist() == columns
    data, info = DatasetFeat.build_trainset(
        frame,
        user_col=["sex", "age", "occupation"],
        item_col=[*genres, "year"],
        sparse_col=["sex", "age", "occupation"],
        dense_col=["year"],
        multi_sparse_col=[genres],
        dense_scaling="none",
    )
    assert len(data) == n_ratings
    assert (info.n_users, info.n_items) == (n_users, n_items)
    assert len(info.vocabs["genre1"]) == 18
    assert len(info.vocabs["occupation"]) == 21


def test_real_rating_has_the_features_that_the_raw_files_say(data_home):
    frame = real(data_home, "1m")
    assert frame.iloc[0, :4].tolist() == [1, 1193, 5, 978300760]
    assert frame.iloc[-1, :4].tolist() == [6040, 1097, 4, 956715569]
    for user, item in [(1, 1193), (6040, 1097), (10, 1), (8, 73)]:
        (said,) = frame[(frame["user"] == user) & (frame["item"] == item)].to_dict("records")
        _, sex, age, occupation, _ = raw_line(data_home, "users.dat", f"{user}::")
        _, title, genres = raw_line(data_home, "movies.dat", f"{item}::")
        _, _, label, time = raw_line(data_home, "ratings.dat", f"{user}::{item}::")
        assert [said["sex"], said["age"], said["occupation"]] == [sex, int(age), int(occupation)]
        assert [said["label"], said["time"], said["title"]] == [int(label), int(time), title]
        assert said["year"] == int(title[-5:-1])
        names = genres.split("|")
        assert [said[f"genre{i}"] for i in range(1, 7)] == names + ["missing"] * (6 - len(names))
