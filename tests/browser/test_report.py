"""The report in a real browser: no error, no request, sorting, filter, toggles, keyboard, phone."""

import base64
import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest
from helpers.demo_context import demo_context
from helpers.demo_study import demo_study

from ptl_sweep.report import write_report
from ptl_sweep.report.comparison.page import Compared, write_comparison
from ptl_sweep.study.claims.between import Values

CHROMIUM = shutil.which("chromium")
IS_REQUIRED = os.environ.get("PTL_REQUIRE_BROWSER") == "1"  # then its absence is a failure
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None and not IS_REQUIRED, reason="no chromium on PATH"),
]
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe",
)  # fmt: skip
TIMEOUT_S = 120


class Browser:
    """One page of a headless Chromium, driven by the DevTools protocol over a pipe."""

    def __init__(self, profile: Path) -> None:
        to_child, self._write = os.pipe()
        self._read, from_child = os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (to_child, from_child)]

        def connect() -> None:  # Chromium reads commands from 3 and answers on 4
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={profile}"],
            preexec_fn=connect,  # noqa: PLW1509 - the test has no threads
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (to_child, from_child, *high):
            os.close(end)
        os.set_blocking(self._read, False)
        self._buffer, self._next_id, self._session = b"", 0, None
        self.events: list[dict] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict:
        self._next_id += 1
        message = {"id": self._next_id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        answer = self._wait(lambda m: m.get("id") == message["id"])
        assert "error" not in answer, answer
        return answer["result"]

    def _wait(self, wanted) -> dict:
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            while b"\0" in self._buffer:
                raw, self._buffer = self._buffer.split(b"\0", 1)
                message = json.loads(raw)
                self.events.append(message)
                if wanted(message):
                    return message
            try:
                self._buffer += os.read(self._read, 1 << 20)
            except BlockingIOError:
                time.sleep(0.01)
        raise TimeoutError("chromium did not answer")

    def open(self, path: Path, width: int = 1280, height: int = 900) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        if not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self._wait(lambda message: message.get("method") == "Page.loadEventFired")

    def open_unfolded(self, path: Path, width: int = 1280, height: int = 900) -> None:
        self.open(path, width, height)
        self.value("document.querySelectorAll('details').forEach(d => { d.open = true; })")

    def prefer(self, scheme: str) -> None:
        """Light or dark, until the next call."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", media="", features=[feature])

    def value(self, expression: str):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """A real mouse click in the middle of the element."""
        x, y = self.value(
            f"(() => {{ const e = document.querySelector({selector!r});"
            "e.scrollIntoView({block: 'center', inline: 'center'});"
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]"
            "})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, code: int, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text,
            )  # fmt: skip

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def methods(self, name: str) -> list[dict]:
        return [event["params"] for event in self.events if event.get("method") == name]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(TIMEOUT_S)
        os.close(self._write)
        os.close(self._read)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    context = demo_context(folder, num_seeds=2, counts=(20, 50))
    return write_report(folder, context)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def column(browser: Browser, index: int) -> list[str]:
    """Sort keys of the visible rows of the grid."""
    return browser.value(
        "[...document.querySelectorAll('#table-grid tbody tr')].filter(r => !r.hidden)"
        f".map(r => r.cells[{index}].dataset.sort)"
    )


def index_of(browser: Browser, header: str) -> int:
    names = "[...document.querySelectorAll('#table-grid th .name')].map(n => n.textContent)"
    return browser.value(names).index(header)


def test_the_page_asks_for_nothing_but_itself_and_logs_no_error(
    browser: Browser, report: Path
) -> None:
    browser.open(report)
    time.sleep(0.5)
    browser.value("0")
    addresses = [one["request"]["url"] for one in browser.methods("Network.requestWillBeSent")]
    others = {url for url in addresses if not url.startswith("data:")}
    assert others == {report.as_uri()}
    entries = browser.methods("Log.entryAdded")
    assert [one["entry"]["text"] for one in entries if one["entry"]["level"] == "error"] == []
    assert browser.methods("Runtime.exceptionThrown") == []
    assert browser.methods("Runtime.consoleAPICalled") == []


def test_the_content_security_policy_stops_a_request_of_the_page(
    browser: Browser, report: Path
) -> None:
    browser.open(report)
    browser.value("void (new Image().src = 'https://example.invalid/x.png')")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        browser.value("0")
        blocked = [one["entry"]["text"] for one in browser.methods("Log.entryAdded")]
        if any("Content Security Policy" in text for text in blocked):
            return
        time.sleep(0.1)
    pytest.fail("the image was not blocked by the policy")


def test_every_picture_is_drawn(browser: Browser, report: Path) -> None:
    browser.open(report)
    images = "[...document.images].map(i => i.complete && i.naturalWidth > 0 && i.alt.length > 9)"
    drawn = browser.value(images)
    assert len(drawn) >= 20  # six samples, before and after, and eight crops
    assert all(drawn)


def test_a_click_on_a_header_sorts_and_a_second_click_turns_it_round(
    browser: Browser, report: Path
) -> None:
    browser.open_unfolded(report)
    index = index_of(browser, "AP50")
    button = f"#table-grid th:nth-child({index + 1}) button"
    state = f"document.querySelector('#table-grid th:nth-child({index + 1})').ariaSort"
    original = [float(value) for value in column(browser, index) if value]
    for direction, name in ((1, "ascending"), (-1, "descending")):
        browser.click(button)
        assert browser.value(state) == name
        values = column(browser, index)
        assert values[-2:] == ["", ""]  # the failed and the missing cell
        assert [float(value) for value in values[:-2]] == sorted(original)[::direction]


def test_the_keyboard_sorts_too(browser: Browser, report: Path) -> None:
    browser.open_unfolded(report)
    index = index_of(browser, "target")
    browser.value(f"document.querySelector('#table-grid th:nth-child({index + 1}) button').focus()")
    browser.press("Enter", 13, "\r")
    values = column(browser, index)
    assert values == sorted(values)
    browser.press("Enter", 13, "\r")
    assert column(browser, index) == sorted(values, reverse=True)


def test_every_control_is_reached_by_tab_and_every_header_by_arrows(
    browser: Browser, report: Path
) -> None:
    browser.open_unfolded(report)
    place = "{}.indexOf(document.activeElement)"
    controls = "[...document.querySelectorAll('.toggles input, #table-summary th button')]"
    browser.value("document.querySelector('.toggles input').focus()")
    reached = set()
    for _ in range(30):
        reached.add(browser.value(place.format(controls)))
        browser.press("Tab", 9)
    num_toggles = browser.value("document.querySelectorAll('.toggles input').length")
    assert reached - {-1} == set(range(num_toggles + 1))  # of the headers the first one
    headers = "[...document.querySelectorAll('#table-grid th button')]"
    browser.value(f"{headers}[0].focus()")
    walked = [browser.value(place.format(headers))]
    for _ in range(browser.value(f"{headers}.length") - 1):
        browser.press("ArrowRight", 39)
        walked.append(browser.value(place.format(headers)))
    assert walked == list(range(len(walked)))
    assert len(walked) > 10
    browser.press("ArrowLeft", 37)
    assert browser.value(place.format(headers)) == len(walked) - 2


STOPS = """[...document.querySelectorAll('a[href], button, input, summary, [tabindex]')]
  .filter(e => e.tabIndex >= 0 && e.getClientRects().length && e.checkVisibility())"""
MAX_STOPS = 120


def test_the_first_stop_skips_to_the_answer_and_stops_are_few(
    browser: Browser, report: Path
) -> None:
    browser.open(report)
    browser.press("Tab", 9)
    assert browser.value("document.activeElement.className") == "skip"
    assert browser.value("document.activeElement.getBoundingClientRect().left") >= 0  # it is seen
    browser.press("Tab", 9)
    assert browser.value("document.activeElement.closest('nav') !== null")
    browser.value("document.querySelector('.skip').focus()")
    browser.press("Enter", 13, "\r")
    assert browser.value("document.activeElement.id") == "main"
    browser.press("Tab", 9)
    assert browser.value("document.activeElement.closest('#answer') !== null")
    order = browser.value(f"{STOPS}.map(e => e.tabIndex)")
    assert set(order) == {0}  # the order is that of the page
    assert 30 < len(order) <= MAX_STOPS


def test_the_filter_keeps_rows_that_match_every_word(browser: Browser, report: Path) -> None:
    browser.open_unfolded(report)
    browser.click("#filter-grid")
    browser.type("karst on 20")
    assert shown(browser) == "2 of 36 rows"
    assert set(column(browser, index_of(browser, "target"))) == {"karst"}
    assert set(column(browser, index_of(browser, "synthetic"))) == {"on"}


def shown(browser: Browser) -> str:
    """What stands beside the filter of the grid."""
    return browser.value("document.querySelector('[data-count=table-grid]').textContent")


def num_visible(browser: Browser, selector: str) -> int:
    """Elements that take up space."""
    boxes = f"[...document.querySelectorAll({selector!r})].map(e => e.getClientRects().length)"
    return sum(count > 0 for count in browser.value(boxes))


def test_a_toggle_hides_the_series_in_figures_and_its_rows_in_tables(
    browser: Browser, report: Path
) -> None:
    browser.open_unfolded(report)
    kinds = ("svg .series-{}", "#table-grid tr.series-{}", "#table-summary tr.series-{}")
    before = {
        name: [num_visible(browser, kind.format(name)) for kind in kinds]
        for name in ("off", "on", "random")
    }
    assert all(all(counts) for counts in before.values())
    browser.click("#show-series-random")
    assert [num_visible(browser, kind.format("random")) for kind in kinds] == [0, 0, 0]
    for name in ("off", "on"):
        assert [num_visible(browser, kind.format(name)) for kind in kinds] == before[name]
    assert shown(browser) == "24 of 36 rows"
    browser.click("#show-series-random")
    assert [num_visible(browser, kind.format("random")) for kind in kinds] == before["random"]
    assert shown(browser) == "36 of 36 rows"


def test_the_space_bar_toggles_and_the_filter_counts_what_is_left(
    browser: Browser, report: Path
) -> None:
    browser.open_unfolded(report)
    browser.value("document.querySelector('#show-series-on').focus()")
    browser.press(" ", 32, " ")
    assert num_visible(browser, "#table-grid tr.series-on") == 0
    browser.click("#filter-grid")
    browser.type("karst 20")
    assert shown(browser) == "4 of 36 rows"


def test_the_toggles_stay_in_view(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.value("window.scrollTo(0, document.body.scrollHeight)")
    assert browser.value("document.querySelector('.toggles').getBoundingClientRect().top") == 0


def test_a_focused_control_is_outlined(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.press("Tab", 9)
    width = "parseFloat(getComputedStyle(document.activeElement).outlineWidth)"
    assert browser.value("document.activeElement.tagName") == "A"
    assert browser.value(width) >= 2


def test_a_link_into_a_folded_part_unfolds_it(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.value("document.querySelector('#grid a[href=\"#definitions\"]').click()")
    deadline = time.monotonic() + 10
    while not browser.value("document.querySelector('#definitions').open"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_contents_stay_beside_a_wide_page(browser: Browser, report: Path) -> None:
    browser.open(report, width=1920, height=1000)
    browser.value("window.scrollTo(0, 3000)")
    nav, main = browser.value(
        "['nav', 'main'].map(name => {"
        "const box = document.querySelector(name).getBoundingClientRect();"
        "return {left: box.left, right: box.right, top: box.top}})"
    )
    assert 0 <= nav["top"] < 40
    assert nav["right"] <= main["left"]
    assert main["right"] - main["left"] > 0.8 * 1920


def test_a_picture_is_enlarged_and_arrows_turn_the_pages(browser: Browser, report: Path) -> None:
    browser.open(report)
    shown = "document.querySelector('#viewer .stage figcaption').textContent"
    browser.click("#selected [data-gallery] figure:nth-child(2) img")
    assert browser.value("document.querySelector('#viewer').open")
    captions = browser.value(
        "[...document.querySelectorAll('#selected [data-gallery] figcaption')]"
        ".map(e => e.textContent)"
    )
    assert browser.value(shown) == captions[1]
    browser.press("ArrowRight", 39)
    assert browser.value(shown) == captions[2]
    for _ in range(3):
        browser.press("ArrowLeft", 37)
    assert browser.value(shown) == captions[-1]
    width = "document.querySelector('{} img').getBoundingClientRect().width"
    enlarged, small = (browser.value(width.format(one)) for one in ("#viewer", "#selected"))
    assert enlarged > 2 * small
    browser.press("Escape", 27)
    assert not browser.value("document.querySelector('#viewer').open")


def test_a_table_is_copied_as_it_is_seen(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.value("navigator.clipboard.writeText = async (text) => { window.copied = text; }; 0")
    browser.click("#show-series-random")
    row = "document.querySelector('#table-summary tbody tr:nth-child(2)').cells[3].textContent"
    level = browser.value(row)
    browser.click("[data-of=table-summary][data-copy=markdown]")
    head, rule, *lines = browser.value("window.copied").splitlines()
    assert head.startswith("| real, images | synthetic | seeds | AP50, % [over seeds] |")
    assert rule.startswith("| ---: | --- | ---: |")
    assert len(lines) == 6  # off and on at 20, at 50, and over both
    assert level in lines[1]
    assert "cannot reach 0.05 with 2 seeds" in lines[1]  # a note in words
    assert browser.value("document.querySelector('#grid .copy [role=status]').textContent")
    browser.click("[data-of=table-summary][data-copy=latex]")
    first, *_, last = browser.value("window.copied").splitlines()
    assert (first, last) == ("\\begin{tabular}{rlrrrrrrrl}", "\\end{tabular}")
    assert "AP50, \\% [over seeds]" in browser.value("window.copied")


CONTRAST = """((selector) => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (let one = e; one; one = one.parentElement) {
      const found = numbers(getComputedStyle(one).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll(selector)].filter(e => e.getClientRects().length).map(e => {
    const pair = [numbers(getComputedStyle(e).color), ground(e)].map(light).sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
  });
})"""
READ = (
    "p", "li", "td", "tr.gap td", "th", "th .unit", "caption", "figcaption", ".note", ".lead",
    ".warning", ".warning a", ".strip dt", ".strip dd", ".badge", "nav a", "summary", "a", "code",
    ".notes li", "button", ".toggles span", "dt", "dd", "header p",
)  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_that_is_read_has_contrast(scheme: str, browser: Browser, report: Path) -> None:
    browser.prefer(scheme)
    browser.open_unfolded(report)
    for selector in READ:
        ratios = browser.value(f"{CONTRAST}({selector!r})")
        assert ratios, selector
        assert min(ratios) >= 4.5, selector
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    is_inverted = browser.value("getComputedStyle(document.querySelector('.plot svg')).filter")
    assert (ground == "rgb(255, 255, 255)", is_inverted == "none") == (scheme == "light",) * 2
    browser.prefer("")


def test_points_of_a_figure_have_a_hover_text_with_their_number(
    browser: Browser, report: Path
) -> None:
    browser.open(report)
    tips = browser.value(
        "[...document.querySelectorAll('#grid svg .series-on title')].map(t => t.textContent)"
    )
    assert any("20 real" in tip and "%" in tip for tip in tips)


def test_ids_of_all_figures_are_unique_and_every_reference_resolves(
    browser: Browser, report: Path
) -> None:
    browser.open(report)
    ids = browser.value("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    used = browser.value(
        "[...document.querySelectorAll('use')].map(e => e.getAttribute('xlink:href').slice(1))"
    )
    assert used
    assert set(used) <= set(ids)


WIDER = """[...document.querySelectorAll('body *')].filter(e => {
  const box = e.getBoundingClientRect();
  const fits = box.left >= -1 && box.right <= innerWidth + 1;
  if (!box.width || fits || e.matches('.skip')) return false;
  for (let one = e.parentElement; one; one = one.parentElement)
    if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(one).overflowX)) return false;
  return true;
}).map(e => e.outerHTML.slice(0, 80))"""


def test_a_phone_scrolls_tables_not_the_page(browser: Browser, report: Path) -> None:
    for opened in (browser.open, browser.open_unfolded):
        opened(report, width=390, height=844)
        assert browser.value("document.documentElement.scrollWidth") <= 390
        assert browser.value(WIDER) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_a_row_is_one_line_high(width: int, browser: Browser, report: Path) -> None:
    browser.open_unfolded(report, width=width)
    tables = ["grid", "summary", "effects", "contrasts", "gaussians", "spreads"]
    for table in [*tables, *(["health"] if width < 400 else [])]:
        heights = browser.value(
            f"[...document.querySelectorAll('#table-{table} tbody tr')].map(r => r.offsetHeight)"
        )
        assert heights
        assert max(heights) <= 34, table


MAX_PAGES = 8


def test_paper_shows_what_is_unfolded_on_few_pages_and_no_controls(
    browser: Browser, report: Path
) -> None:
    browser.open(report)
    browser.click("#show-series-on")
    browser.call("Emulation.setEmulatedMedia", media="print")
    document = base64.b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert document.startswith(b"%PDF")
    assert 2 < len(re.findall(rb"/Type\s*/Page\b", document)) <= MAX_PAGES
    assert num_visible(browser, "nav, .toggles, .tools, .copy, button.quiet, .skip") == 0
    assert num_visible(browser, "main > section > h2") == 14
    assert num_visible(browser, "#table-summary tr.series-on") > 0  # paper shows every series
    assert num_visible(browser, "#table-grid tr") == 0  # it is folded
    browser.value("document.querySelector('#table-grid').closest('details').open = true")
    assert num_visible(browser, "#table-grid tr") == 37
    cut = (
        "[...document.querySelectorAll('.scroll')].filter(e => e.scrollHeight > e.clientHeight + 2)"
    )
    assert browser.value(f"{cut}.length") == 0
    browser.call("Emulation.setEmulatedMedia", media="")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    other = demo_study(num_seeds=2, counts=(20, 50), synthetics=("off", "on"))
    own = demo_study(num_seeds=2, counts=(20, 100))
    keys = [pl.format("{}-own", name).alias(name) for name in ("train_key", "evaluate_key")]
    sweeps = [
        Compared(name, rows, own.score_thresholds, {"train.lr": rate},
                 {key: {"train.lr": rate} for key in rows["evaluate_key"]})
        for name, rows, rate in (
            ("own", own.rows.with_columns(keys), "0.02"), ("other", other.rows, "0.01")
        )
    ]  # fmt: skip
    values = [Values("off", "off"), Values("on", "on")]
    folder = tmp_path_factory.mktemp("comparison")
    return write_comparison(folder, "with-other", *sweeps, values).page


def test_the_comparison_sorts_toggles_and_fits_a_phone(browser: Browser, comparison: Path) -> None:
    browser.open(comparison)
    browser.click("#table-cells th:nth-child(6) button")
    order = browser.value(
        "[...document.querySelectorAll('#table-cells tbody tr')].map(r => +r.cells[5].dataset.sort)"
    )
    assert order == sorted(order)
    assert num_visible(browser, "svg .series-on") > 0
    browser.click("#show-series-on")
    assert num_visible(browser, ".series-on") == 0
    browser.open(comparison, width=390, height=844)
    assert browser.value("document.documentElement.scrollWidth") <= 390
    assert browser.methods("Runtime.exceptionThrown") == []
