"""The page in a browser, from a file, without a network; skipped where there is no Chromium."""

import json
import re
import shutil

import pytest

import explorer_corpus
from explorer_corpus import EVIL, HOSTILE
from sae_kedro.interpretation.explain import explain
from sae_kedro.interpretation.interpret import interpret

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
VIEWS = [
    "#o",
    "#s/",
    "#s/qubit",
    "#f/0",
    "#f/3",
    "#t/0",
    "#t/6",
    "#t/0~1",
    "#g",
    "#c/0~1",
    "#p",
    "#h",
    "#f/99",
    "#t/999",
    "#t/x",
    "#zz",
]
URL = "http://127.0.0.1:9/"


@pytest.fixture(scope="module")
def small():
    return explorer_corpus.small()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    place = tmp_path_factory.mktemp("explorer") / "explorer.html"
    place.write_text(explorer_corpus.small_page())
    return place


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Tab:
    """A page of the browser that remembers what went wrong."""

    def __init__(self, browser, width=1200, scheme="light", offline=True):
        size = {"width": width, "height": 900}
        self.context = browser.new_context(viewport=size, color_scheme=scheme, offline=offline)
        self.page = self.context.new_page()
        self.problems = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def open(self, url):
        self.page.goto(str(url))
        self.page.wait_for_selector("html[data-ready]", state="attached")
        return self

    def go(self, view):
        self.page.evaluate("view => { location.hash = view }", view)
        self.page.wait_for_function("view => location.hash === view", arg=view)
        self.page.wait_for_timeout(60)  # what is drawn a frame later
        return self.page.inner_text("main")


@pytest.fixture
def tab(browser, file):
    tab = Tab(browser).open(file.as_uri())
    yield tab
    assert tab.problems == []
    assert tab.page.evaluate("window.canary") is None
    tab.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1200, "light"), (2000, "dark")])
def test_every_view_is_whole_and_nothing_of_a_text_runs(browser, file, width, scheme):
    tab = Tab(browser, width, scheme).open(file.as_uri())
    for view in VIEWS:
        text = tab.go(view)
        assert text.strip() and "undefined" not in text and "NaN" not in text and "[object" not in text, view
        assert not tab.page.evaluate("document.documentElement.scrollWidth > innerWidth"), view
    assert tab.problems == []
    assert tab.page.evaluate("window.canary") is None
    assert tab.page.evaluate("document.querySelectorAll('main script, main img').length") == 0
    tab.context.close()


def test_a_text_that_is_markup_is_shown_as_text(tab):
    assert HOSTILE[0] in tab.go("#t/0")
    assert EVIL in tab.go("#f/3")
    assert tab.page.inner_text("h1") == EVIL
    assert tab.page.get_attribute("main .reading .text, main .text", "dir") == "auto"


def test_a_long_text_is_cut_with_more(tab):
    text = tab.go("#t/6")
    assert "The first 2,000 of 10,200,000 characters" in text
    before = len(tab.page.inner_text(".reading"))
    tab.page.click(".reading .more")
    assert len(tab.page.inner_text(".reading")) > before > 1000


def test_shares_of_the_page_are_those_of_the_library(tab, small):
    tab.go("#t/20~21")
    tab.page.wait_for_selector(".total b")
    exact = explain(small.sae, small.vectors[20], small.vectors[21])
    error = json.loads(tab.page.text_content("#index"))["error"]
    assert float(tab.page.inner_text(".total b")) == pytest.approx(exact.value, abs=error["cosine"] + 0.001)
    rows = tab.page.query_selector_all(".bar-row:has(a)")
    links = [row.query_selector("a").get_attribute("href") for row in rows]
    numbers = [row.query_selector("b").inner_text() for row in rows]
    found = {int(link[3:]): float(share) for link, share in zip(links, numbers, strict=True)}
    shares = {term.latent: term.value for term in exact.terms if term.latent is not None}
    assert found == pytest.approx({latent: shares[latent] for latent in found}, abs=error["share"] + 0.001)
    assert len(found) == len(shares)


def test_rows_without_texts_have_numbers(browser, small, tmp_path):
    features = interpret(small.sae, small.codes, None, small.vectors)
    changes = {"texts": None, "features": features, "metrics": None, "contrast": None}
    (tmp_path / "rows.html").write_text(small.explorer(**changes).page())
    tab = Tab(browser).open((tmp_path / "rows.html").as_uri())
    assert "No latent has a label" in tab.go("#o")
    assert "latent 1" in tab.go("#s/")
    assert "row 20" in tab.go("#t/20")
    assert "No groups" in tab.go("#g")
    assert tab.problems == []
    tab.context.close()


def test_the_way_back_leads_to_where_it_was(tab):
    tab.go("#s/")
    tab.page.set_viewport_size({"width": 400, "height": 300})
    tab.page.evaluate("scrollTo(0, 200)")
    tab.page.click(".keys li:nth-child(5) a")
    tab.page.wait_for_function("() => location.hash.startsWith('#f/')")
    before = tab.page.evaluate("scrollY")
    tab.page.go_back()
    tab.page.wait_for_function("() => location.hash === '#s/' && scrollY > 0")
    assert before == 0


def test_search_by_keyboard(tab):
    tab.page.keyboard.press("/")
    tab.page.keyboard.type("galaxy")
    tab.page.wait_for_function("() => location.hash === '#s/galaxy'")
    first = tab.page.inner_text(".keys li:first-child a")
    assert "galaxy" in first
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("ArrowUp")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_function("() => location.hash.startsWith('#f/')")
    assert tab.page.inner_text("h1") == first
    at = int(re.search(r"\d+", tab.page.evaluate("location.hash"))[0])
    tab.page.keyboard.press("ArrowRight")
    tab.page.wait_for_function("at => location.hash === `#f/${at}`", arg=(at + 1) % 12)
    tab.page.keyboard.press("Escape")
    tab.page.wait_for_function("() => location.hash === '#o'")


def test_pins_notes_and_own_labels_are_kept_and_saved(tab, small):
    tab.go("#f/1")
    tab.page.fill("#own-label", "my own <b>label</b>")
    tab.page.fill("#own-note", "because")
    tab.page.click("text=Keep")
    with tab.page.expect_download() as saved:
        tab.page.click("text=Download own_labels.jsonl")
    row = json.loads(saved.value.path().read_text())
    assert row | {"at": ""} == {
        "sae_sha256": small.features.digest, "latent": 1, "label": "my own <b>label</b>", "note": "because", "at": "",
    }  # fmt: skip
    tab.page.reload()
    tab.page.wait_for_selector("html[data-ready]", state="attached")
    assert tab.page.inner_text("h1") == "my own <b>label</b>"
    tab.page.keyboard.press("p")
    assert "my own <b>label</b>" in tab.go("#p")


def test_csv_has_no_formulas(tab):
    tab.go("#t/7")
    with tab.page.expect_download() as saved:
        tab.page.click(".head >> text=CSV")
    assert "'=HYPERLINK(1) protein" in saved.value.path().read_text()


def test_theme_is_chosen_and_kept(tab):
    dark = "getComputedStyle(document.body).backgroundColor"
    light = tab.page.evaluate(dark)
    tab.page.click(".theme")
    tab.page.click(".theme")
    assert tab.page.evaluate(dark) != light
    tab.page.reload()
    assert tab.page.evaluate(dark) != light


def test_groups_show_what_is_confirmed(tab):
    assert "50 in the group, 70 in the rest" in tab.go("#g")
    assert tab.page.locator(".grow-row").count() == 2
    tab.page.uncheck("#confirmed")
    tab.page.select_option("main select", "b")
    assert tab.page.locator(".grow-row").count() == 1


ANSWERS = {
    "encode": {"latents": [0, 3], "acts": [2.0, 1.0], "words": {"0": [["<b>own</b>", 1.0]]}, "cut": False},
    "neighbours": {"rows": [{"row": 1, "text": HOSTILE[1], "cosine": 0.5}]},
    "explain": {
        "cosine": 0.5, "sum": 0.5, "kinds": {}, "pairs": [],
        "terms": [
            {"kind": "both", "latent": 0, "label": "a", "value": 0.7, "first": 1, "second": 1},
            {"kind": "common", "latent": None, "label": "c", "value": -0.2, "first": None, "second": None},
        ],
    },
    "meaning": {"latents": [{"latent": 5, "score": 0.4}]},
    "steer": {
        "before": [{"row": 1, "text": HOSTILE[1], "score": 0.5}],
        "after": [
            {"row": 2, "text": HOSTILE[2], "score": 0.6, "rank_before": None, "terms": [{"latent": 0, "value": 0.3}]}
        ],
        "python": "print('steered')",
    },
    "label": {"error": "start it with --edit"},
}  # fmt: skip


def test_a_server_is_asked_with_its_token(browser, small):
    tab, asked, page = Tab(browser, offline=False), [], small.explorer().page("secret")

    def answer(route):
        request = route.request
        if request.method == "GET":
            return route.fulfill(body=page if request.url == URL else "", content_type="text/html")
        name = request.url.rpartition("/")[2]
        asked.append((name, request.post_data_json, request.headers["x-sae-kedro"]))
        return route.fulfill(json=ANSWERS[name], status=403 if name == "label" else 200)

    tab.context.route("**/*", answer)
    tab.open(URL).go("#x/my%20own%20text")
    tab.page.click("summary:has-text('why')")
    tab.page.wait_for_selector("text=Cosine 0.500")
    assert "<script>window.canary = 2" in tab.page.inner_text("main")
    tab.page.hover(".bar-row")
    assert tab.page.inner_text(".heat >> nth=0") == "<b>own</b>"
    tab.go("#s/galaxy")
    tab.page.wait_for_selector("text=By meaning")
    tab.go("#q/money")
    tab.page.wait_for_selector(".slider input")
    tab.page.fill(".slider input >> nth=0", "3")
    tab.page.wait_for_selector(".moved")
    assert "1 text left the list" in tab.page.inner_text("main")
    tab.go("#f/2")
    tab.page.fill("#own-label", "mine")
    tab.page.click("text=Keep")
    tab.page.wait_for_selector("text=start it with --edit")
    assert {token for _, _, token in asked} == {"secret"}
    bodies = {name: body for name, body, _ in asked}
    assert bodies["encode"] == {"text": "money"} and bodies["neighbours"] == {"text": "my own text", "n": 10}
    assert bodies["explain"] == {"a": "my own text", "b": 1}
    assert bodies["meaning"] == {"query": "galaxy", "n": 10}
    assert bodies["steer"] == {"query": "money", "weights": {"0": 3}, "n": 20}
    assert bodies["label"] == {"latent": 2, "label": "mine", "note": None}
    assert tab.page.evaluate("window.canary") is None
    assert [problem for problem in tab.problems if "403" not in problem] == []
    tab.context.close()
