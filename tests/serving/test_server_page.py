"""The page at ``/``: how it is served, and what a person sees of it in a browser."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from starlette.testclient import TestClient

from recolib.algorithms import FM
from recolib.data import DatasetFeat
from recolib.recommender import Recommender
from recolib.serving import create_app, publish
from recolib.serving.page import FILE
from tests.servers import shop, shop_model

pytestmark = pytest.mark.filterwarnings("ignore::recolib.exceptions.RecolibWarning")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
AXE = os.environ.get("RECOLIB_AXE", "")
"""Where axe.min.js of the npm package axe-core lies."""
WAIT_S = 30
EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
LARGE = 2**63 - 1
MINUS = "\N{MINUS SIGN}"


def test_the_page_runs_its_own_script_alone(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["referrer-policy"] == "no-referrer"
    rules = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert rules["connect-src"] == "'self'"
    for kind in ("script", "style"):
        (text,) = re.findall(rf"<{kind}\b[^>]*>(.*?)</{kind}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"


def test_the_page_is_one_file_that_makes_no_markup_of_data() -> None:
    text = FILE.read_text("utf-8")
    assert not re.findall(r"\b(?:src|href)=\"(?!data:)", text)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|\son\w+=|\sstyle=", text)


def test_the_page_needs_no_token_and_holds_no_data(pointer: Path) -> None:
    with TestClient(create_app(pointer, token="secret")) as client:
        assert client.get("/").content == FILE.read_bytes()
        assert client.get("/v1/model").status_code == 401
        assert client.get("/v1/users").status_code == 401


def test_the_page_is_served_without_a_model(tmp_path: Path) -> None:
    with TestClient(create_app(tmp_path / "CURRENT")) as client:
        assert client.get("/").status_code == 200
        assert client.get("/v1/model").status_code == 503


class Page:
    """The page in a browser, by what a person does and sees."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str, width: int = 1280, scheme: str = "light") -> None:
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False,
        })  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def names(self, list_: int = 0) -> list[str]:
        """The titles of a list, as they stand there."""
        script = """return [...document.querySelectorAll(".rows")[arguments[0]].querySelectorAll(".name")]
                    .map((node) => node.textContent)"""
        return self.run(script, list_) if len(self.all(".rows")) > list_ else []

    def type(self, selector: str, *keys: str) -> None:
        self.one(selector).clear()
        self.one(selector).send_keys(*keys)

    def select(self, selector: str, text: str) -> None:
        from selenium.webdriver.support.ui import Select

        Select(self.one(selector)).select_by_visible_text(text)

    def pick(self, box: str, query: str, name: str) -> None:
        """Search, and choose what is called so."""
        self.type(f"#{box}-input", query)
        script = """const one = [...document.querySelectorAll(arguments[0])].find(
                      (node) => node.querySelector(".clip")?.textContent === arguments[1]);
                    one?.click(); return Boolean(one)"""
        self.until(lambda: self.run(script, f"#{box}-found li", name))

    def is_as_wide_as_the_window(self) -> bool:
        return self.run("const root = document.documentElement; return root.scrollWidth <= root.clientWidth")

    def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end, self.run("return document.body.innerText")
            time.sleep(0.02)

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="there is no selenium: pip install selenium")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("there is no Chromium with its driver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--lang=en"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(WAIT_S)
    yield Page(driver)
    driver.quit()


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """The address of an application that answers in a thread."""
    uvicorn = pytest.importorskip("uvicorn", reason="there is no uvicorn: pip install uvicorn")
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        end = time.monotonic() + WAIT_S
        while not server.started:
            assert time.monotonic() < end
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def other(frame: pd.DataFrame) -> Recommender:
    return shop_model(frame, seed=7)


@pytest.fixture(scope="module")
def url(pointer: Path, other: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of m1, and m2 beside it."""
    folder = tmp_path_factory.mktemp("beside")
    with listening(create_app(pointer, beside=publish(folder / "CANDIDATE", other.save(folder, "m2")))) as url:
        yield url


@pytest.fixture
def page(browser: Page, url: str) -> Iterator[Page]:
    """The page with its first list; whatever a test does with it, the browser has nothing to complain of."""
    browser.open(url)
    browser.until(lambda: len(browser.names()) == 10)
    yield browser
    assert browser.complaints() == []


def titles(model: Recommender, items: Any) -> list[str]:
    of_item = model.data_info.item_frame().set_index("item")["title"]
    return [of_item[item] for item in items]


def choose(page: Page, user: str) -> None:
    page.pick("user", user, user)
    page.until(lambda: page.text("#for-whom") == f"User {user}")


def test_a_known_user_is_chosen_and_gets_the_models_list(page: Page, model: Recommender) -> None:
    assert page.driver.title == "recolib: recommendations of m1"
    for shown, user in (("Zoë", "Zoë"), ('"7"', "7"), ("7", 7)):
        page.pick("user", shown.strip('"'), shown)
        expected = model.recommend_user(user, 10, return_scores=True)[user]
        page.until(lambda: page.names() == titles(model, expected[0]))  # noqa: B023
        scores = [float(one.text) for one in page.all(".score > :first-child")]
        assert scores == pytest.approx(expected[1].tolist(), abs=6e-4)
        assert page.text(".panel [role=status]") == "10 items by m1"


def test_filters_hold(page: Page, model: Recommender) -> None:
    choose(page, "Zoë")
    page.type("#length", "12")
    page.select("#filter-column", "genre")
    page.select("#filter label:last-child select", "war")
    frame = model.data_info.item_frame()
    for column, value in (("genre", "war"), ("price", 30)):
        if column == "price":
            page.select("#filter-column", "price")
            page.type("#filter input", "30")
        op = "==" if column == "genre" else ">="
        passes = frame["item"][frame[column] == value if op == "==" else frame[column] >= value].tolist()
        expected = model.recommend_user("Zoë", 12, candidates=passes)["Zoë"]
        page.until(lambda: page.names() == titles(model, expected))  # noqa: B023
    page.type("#filter input", "1000")
    page.until(lambda: page.text(".rows") == "No item passes. Widen the filter.")
    page.select("#filter-column", "any column")
    page.type("#group-most", "2")
    expected = model.recommend_user("Zoë", 12, max_per_group={"genre": 2})["Zoë"]
    page.until(lambda: page.names() == titles(model, expected))


def test_a_new_user_is_described_by_features_and_clicks(page: Page, model: Recommender) -> None:
    page.run("arguments[0].click()", page.one("[name=who][value=new]"))
    page.until(lambda: page.text("#for-whom") == "A new user, not described yet")
    page.type("#features input", "19")
    page.select("#context-fields select", "9")
    wishes: dict[str, Any] = {"user_feats": {"age": 19}, "context": {"hour": 9}}
    page.until(lambda: page.names() == titles(model, model.recommend_user("new", 10, **wishes)["new"]))
    page.pick("item", "cafe no. 5", "The Café No. 5")
    history = [105]
    page.until(lambda: page.names() == titles(model, model.recommend_user("new", 10, history=history, **wishes)["new"]))
    page.one(".row").click()
    page.until(lambda: page.all(".reasons button"))
    history.append(model.recommend_user("new", 10, history=history, **wishes)["new"][0])
    page.one(".reasons button").click()
    assert page.driver.switch_to.active_element.get_attribute("class") == "rows"
    page.until(lambda: page.names() == titles(model, model.recommend_user("new", 10, history=history, **wishes)["new"]))
    for chip in range(2):
        page.all("#history button")[-1].click()
        page.until(lambda: len(page.all("#history button")) == 1 - chip)  # noqa: B023
    page.until(lambda: page.names() == titles(model, model.recommend_user("new", 10, **wishes)["new"]))
    page.select(".panel label:last-child select", "by popularity")
    page.until(lambda: page.names() == titles(model, model.data_info.popular_items[:10]))


def test_two_lists_stand_side_by_side(page: Page, model: Recommender, other: Recommender) -> None:
    choose(page, "Zoë")
    page.one("#compare").click()
    lists = [one.recommend_user("Zoë", 10)["Zoë"].tolist() for one in (model, other)]
    page.until(lambda: [page.names(0), page.names(1)] == [titles(model, items) for items in lists])
    n_both = len(set(lists[0]) & set(lists[1]))
    page.until(lambda: f"by m2, {n_both} of them in A too" in page.text("#panels"))
    page.run("arguments[0].click()", page.one("[name=who][value=new]"))
    page.select(".panel:last-child label:first-child select", "m1")
    page.select(".panel:last-child label:last-child select", "by popularity")
    lists = [model.recommend_user("new", 10)["new"].tolist(), model.data_info.popular_items[:10]]
    page.until(lambda: [page.names(0), page.names(1)] == [titles(model, items) for items in lists])


def test_a_row_opens_reasons_that_add_up(page: Page, model: Recommender) -> None:
    choose(page, "Zoë")
    item = model.recommend_user("Zoë", 10)["Zoë"][0]
    page.until(lambda: page.names()[:1] == titles(model, [item]))
    page.one(".row").click()
    page.until(lambda: page.all(".reasons table"))
    amounts = [float(one.text.replace(MINUS, "-")) for one in page.all(".reasons td.amount")]
    assert amounts[-1] == pytest.approx(model.explain("Zoë", item).attrs["logit"], abs=0.006)
    assert sum(amounts[:-1]) == pytest.approx(amounts[-1], abs=0.005 * len(amounts))
    assert page.one(".row").get_attribute("aria-expanded") == "true"
    page.one(".row").click()
    assert not page.one(".reasons").is_displayed()


def test_the_keyboard_is_enough(page: Page, model: Recommender) -> None:
    from selenium.webdriver.common.keys import Keys

    def press(*keys: str) -> None:
        page.driver.switch_to.active_element.send_keys(*keys)

    page.one("body").send_keys(Keys.TAB, Keys.TAB)
    assert page.driver.switch_to.active_element.get_attribute("id") == "user-input"
    press("zoe")
    page.until(lambda: page.text("#user-found li .clip") == "Zoë")
    press(Keys.ARROW_DOWN)
    assert page.one("#user-input").get_attribute("aria-activedescendant") == page.one("#user-found li").get_attribute(
        "id"
    )
    press(Keys.ENTER)
    page.until(lambda: page.names() == titles(model, model.recommend_user("Zoë", 10)["Zoë"]))
    assert not page.one("#user-found").is_displayed()
    for _ in range(30):
        press(Keys.TAB)
        if "row" in page.driver.switch_to.active_element.get_attribute("class").split():
            break
    press(Keys.ENTER)
    page.until(lambda: page.all(".reasons table"))
    press(Keys.ESCAPE)


def test_hostile_ids_and_titles_stay_text(browser: Page, tmp_path: Path) -> None:
    frame = shop()
    users = {3: LARGE, 4: EVIL, 5: "\u202egnirts", 6: ""}
    users = frame["user"].map(lambda one: users.get(one, one)).astype(object)
    items = frame["item"].map(lambda one: LARGE if one == 104 else EVIL if one == 105 else one).astype(object)
    frame = frame.assign(user=users, item=items, genre=frame["genre"] + EVIL)
    frame["title"] = frame["title"].where(frame["item"] == 110, EVIL + "W" * 300)
    data, info = DatasetFeat.build_trainset(frame, item_col=["genre"], sparse_col=["genre"], display_col=["title"])
    model = FM("ranking", info, n_epochs=1, embed_size=4).fit(data, neg_sampling=True, verbose=0)
    app = create_app(publish(tmp_path / "CURRENT", model.save(tmp_path, "m")))
    with listening(app) as url:
        browser.open(url, width=320)
        browser.until(lambda: len(browser.names()) == 10)
        for user in (LARGE, EVIL):
            browser.pick("user", str(user), str(user))
            browser.until(lambda: browser.text("#for-whom") == f"User {user}")  # noqa: B023
            expected = titles(model, model.recommend_user(user, 10)[user])
            browser.until(lambda: browser.names() == expected)  # noqa: B023
        browser.run("document.querySelector('.row').click()")
        browser.until(lambda: browser.all(".reasons table"))
        assert browser.driver.title == "recolib: recommendations of m"
        assert browser.all("img, main script") == []
        assert EVIL in browser.names()[0] or EVIL in browser.text(".rows")
        assert browser.is_as_wide_as_the_window()
        assert browser.complaints() == []


def test_errors_are_said_and_can_be_tried_again(browser: Page, pointer: Path, tmp_path: Path) -> None:
    app = create_app(tmp_path / "CURRENT")
    with listening(app) as url:
        browser.open(url)
        browser.until(lambda: "No model is served: see /readyz." in browser.text("#trouble"))
        shutil.copy(pointer.parent / "m1.safetensors", tmp_path)
        publish(tmp_path / "CURRENT", "m1.safetensors")
        browser.until(lambda: TestClient(app).get("/readyz").status_code == 200)
        browser.one("#trouble button").click()
        browser.until(lambda: len(browser.names()) == 10)
        (tmp_path / "CURRENT").write_text("")
    browser.type("#length", "5")
    browser.until(lambda: browser.text(".panel [role=alert] span") == "The server does not answer.")
    assert browser.names() == []
    browser.complaints()  # of what did not load


def test_refusals_of_the_server_are_shown(page: Page) -> None:
    page.select("#context-fields select", "9")
    page.run("about.context_columns[0].name; context[0].name = 'none'")
    page.select("#context-fields select", "10")
    page.until(lambda: page.text(".panel [role=alert] span").startswith("context: it may name the columns ['hour']"))
    assert all("422" in one for one in page.complaints())


def test_a_token_is_asked_for_and_kept_out_of_addresses(browser: Page, pointer: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    with listening(create_app(pointer, token="sécret ✓")) as url:
        browser.open(url)
        browser.until(lambda: browser.one("#token").is_displayed())
        browser.type("#token-input", "wrong", Keys.ENTER)
        browser.until(lambda: browser.text("#subtitle") == "The token was not accepted.")
        browser.type("#token-input", "sécret ✓", Keys.ENTER)
        browser.until(lambda: len(browser.names()) == 10)
        assert browser.driver.current_url == url
        asked = browser.run("return performance.getEntriesByType('resource').map((one) => one.name)")
        assert asked
        assert not any("cret" in one for one in asked)
        browser.complaints()  # of the 401


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 320)])
def test_axe_finds_nothing(browser: Page, url: str, scheme: str, width: int) -> None:
    if not AXE:
        pytest.skip("RECOLIB_AXE does not name axe.min.js of the npm package axe-core")
    browser.open(url, width, scheme)
    browser.until(lambda: len(browser.names()) == 10)
    browser.run("document.getElementById('compare').click(); document.querySelector('[name=who][value=new]').click()")
    browser.until(lambda: len(browser.names(1)) == 10)
    browser.run("document.querySelector('.row').click()")
    browser.until(lambda: browser.all(".reasons table"))
    assert browser.is_as_wide_as_the_window()
    browser.run(Path(AXE).read_text("utf-8"))
    found = browser.driver.execute_async_script(
        "const done = arguments[0]; axe.run().then(({violations}) => done(violations.map("
        "({id, impact, nodes}) => [id, impact, nodes.map(({target, failureSummary}) => [target, failureSummary])])))"
    )
    assert found == []
