"""The report in a real browser: no error, no request, sorting, filter, toggles, keyboard, phone."""

import base64
import fcntl
import json
import os
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
TIMEOUT_S = 60


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
    browser.open(report)
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
    browser.open(report)
    index = index_of(browser, "target")
    browser.value(f"document.querySelector('#table-grid th:nth-child({index + 1}) button').focus()")
    browser.press("Enter", 13, "\r")
    values = column(browser, index)
    assert values == sorted(values)
    browser.press("Enter", 13, "\r")
    assert column(browser, index) == sorted(values, reverse=True)


def test_every_control_is_reached_by_tab(browser: Browser, report: Path) -> None:
    browser.open(report)
    reached = set()
    browser.value("document.querySelector('.toggles input').focus()")
    controls = "[...document.querySelectorAll('#grid th button, #filter-grid, .toggles input')]"
    hidden = "document.querySelectorAll('#grid details:not([open]) button').length"
    total = browser.value(f"{controls}.length") - browser.value(hidden)
    for _ in range(total + 40):
        reached.add(browser.value(f"{controls}.indexOf(document.activeElement)"))
        browser.press("Tab", 9)
    assert len(reached - {-1}) == total


def test_the_filter_keeps_rows_that_match_every_word(browser: Browser, report: Path) -> None:
    browser.open(report)
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
    browser.open(report)
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
    browser.open(report)
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


def test_a_phone_scrolls_tables_not_the_page(browser: Browser, report: Path) -> None:
    browser.open(report, width=390, height=844)
    assert browser.value("document.documentElement.scrollWidth") <= 390
    browser.value("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert browser.value("document.documentElement.scrollWidth") <= 390


def test_printing_shows_every_section_and_no_controls(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.click("#show-series-on")
    browser.call("Emulation.setEmulatedMedia", media="print")
    document = browser.call("Page.printToPDF")["data"]
    assert base64.b64decode(document).startswith(b"%PDF")
    folded = "[...document.querySelectorAll('details')].filter(d => !d.open).length"
    assert browser.value(folded) == 0
    assert num_visible(browser, "nav, .toggles, .tools") == 0
    assert num_visible(browser, "main > section > h2") == 14
    assert num_visible(browser, "#table-grid tr.series-on") > 0  # paper shows everything
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
