"""The HTML page in a real browser: sorted, shown, readable, and alone."""

import json
import re
import shutil
from itertools import groupby

import pytest
from factories import MODELS, SANDWICHED, damaged_suite, full_suite

from benchmark.report import write_report
from benchmark.suite import PublishedEntry

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

DATASETS = ("ring", "digits")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
ROWS = """
return Array.from(arguments[0].tBodies).map(body => Array.from(body.rows)
  .filter(row => !row.classList.contains("group"))
  .map(row => row.cells[arguments[1]].dataset.value ?? null));
"""
FAINT_TEXTS = """
const channels = text => text.match(/[\\d.]+/g).map(Number);
const luminance = text => {
  const [r, g, b] = channels(text).map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const backOf = node => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (channels(colour)[3] !== 0) return colour;
  }
};
return Array.from(document.body.querySelectorAll("*")).filter(node => {
  const text = Array.from(node.childNodes).some(c => c.nodeType === 3 && c.data.trim());
  if (!text || ["SCRIPT", "STYLE"].includes(node.tagName)) return false;
  const [a, b] = [getComputedStyle(node).color, backOf(node)].map(luminance);
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
}).map(node => node.outerHTML.slice(0, 80));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    chromium = webdriver.Chrome(options=options, service=service)
    yield chromium
    chromium.quit()


def printed(model, value):
    protocol = "AIS with 16 chains of 10,000 temperatures on 1,000 test examples."
    return PublishedEntry(
        source="Doe et al. 2020, Table 3",
        protocol=protocol,
        dataset="digits",
        model=model,
        metric="ais",
        value=value,
        error=1.2,
    )


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_report(
        folder,
        title="Suite",
        cells=full_suite(DATASETS),
        models=MODELS,
        datasets=DATASETS,
        published=[printed("vae", -112.4), printed("gan", -131.0), printed("draw", -101.5)],
    )
    return (folder / "index.html").as_uri()


@pytest.fixture
def page(browser, address):
    """The page, opened anew on a desktop in light mode."""
    show(browser, width=1280, scheme="light")
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what the page before has left there
    browser.get("about:blank")  # else the same page counts as loaded before it is
    browser.get(address)
    return browser


def show(browser, width, scheme):
    size = {"width": width, "height": 850, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def tables(page):
    return page.find_elements("css selector", "table")


def is_sorted(values, direction):
    numbers = [float(value) for value in values if value is not None]
    dashes_last = all(value is None for value in values[len(numbers) :])
    return dashes_last and numbers == sorted(numbers, reverse=direction == "descending")


def test_every_table_is_there(page):
    headings = [
        e.get_attribute("aria-labelledby") for e in page.find_elements("css selector", ".scroll")
    ]
    assert [name for name in headings if name] == [
        *("likelihood_ring", "bounds_ring", "ais_diagnostics_ring"),
        *("sample_quality_ring", "distances_ring", "two_sample_tests_ring"),
        *("memorisation_ring", "mode_coverage_ring", "cost_ring"),
        *("likelihood_digits", "bounds_digits", "published_digits", "ais_diagnostics_digits"),
        *("sample_quality_digits", "distances_digits", "two_sample_tests_digits"),
        *("memorisation_digits", "cost_digits"),
    ]
    for name in (name for name in headings if name):
        table = page.find_element("css selector", f"[aria-labelledby={name}] table")
        models = [v for rows in page.execute_script(ROWS, table, 0) for v in rows]
        if name.startswith("published"):
            assert sorted(models) == ["draw", "gan", "vae"]
        else:
            decoders = name.startswith("ais_diagnostics")
            assert sorted(models) == sorted(SANDWICHED if decoders else MODELS)


def test_every_column_of_every_table_sorts_both_ways_with_dashes_last(page):
    for table in tables(page):
        heads = table.find_elements("css selector", "thead th")
        for index, head in list(enumerate(heads))[1:]:
            seen = set()
            for _ in range(2):
                head.find_element("css selector", "button").click()
                direction = head.get_attribute("aria-sort")
                seen.add(direction)
                for rows in page.execute_script(ROWS, table, index):
                    assert is_sorted(rows, direction), (head.text, direction)
            assert seen == {"ascending", "descending"}
            others = [h.get_attribute("aria-sort") for h in heads if h != head]
            assert set(others) == {"none"}


def test_sorting_moves_rows_and_the_first_click_puts_the_best_first(page):
    table = page.find_element("css selector", "[aria-labelledby=sample_quality_digits] table")
    before = page.execute_script(ROWS, table, 0)
    heads = [head.text.split()[0] for head in table.find_elements("css selector", "thead th")]
    lower, higher = heads.index("FID"), heads.index("IS")
    buttons = table.find_elements("css selector", "thead button")
    buttons[lower].click()
    by_fid = page.execute_script(ROWS, table, 0)
    assert by_fid != before
    assert [sorted(rows) for rows in by_fid] == [sorted(rows) for rows in before]
    assert (
        table.find_elements("css selector", "th")[lower].get_attribute("aria-sort") == "ascending"
    )
    buttons[higher].click()
    sorts = [head.get_attribute("aria-sort") for head in table.find_elements("css selector", "th")]
    assert sorts[higher] == "descending"


def test_the_keyboard_sorts_too(page):
    button = tables(page)[1].find_elements("css selector", "thead button")[1]
    button.send_keys("\ue007")  # Enter
    head = tables(page)[1].find_elements("css selector", "thead th")[1]
    assert head.get_attribute("aria-sort") in ("ascending", "descending")


def test_names_sort_by_the_alphabet(page):
    table = tables(page)[0]
    table.find_element("css selector", "thead button").click()
    assert all(rows == sorted(rows) for rows in page.execute_script(ROWS, table, 0))


def test_every_figure_shows_and_is_described(page):
    figures = page.find_elements("css selector", "figure img")
    assert len(figures) == 3 * len(DATASETS) + 2  # spectra and neighbours, of images
    for figure in figures:
        width, height = page.execute_script(
            "return [arguments[0].naturalWidth, arguments[0].naturalHeight]", figure
        )
        assert min(width, height) > 100
        assert len(figure.get_attribute("alt")) > 20


def test_the_console_is_silent(page):
    tables(page)[0].find_element("css selector", "thead button").click()
    assert page.get_log("browser") == []


def test_no_request_leaves_the_machine(page, address):
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    requests = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert address in requests
    assert {url for url in requests if not url.startswith("data:")} == {address}


def test_the_page_names_no_remote_address(page):
    source = re.sub(r"data:[^\"]+", "", page.page_source)
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//[^\"]*", source) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone_shows_it_without_scrolling_sideways(page, scheme):
    show(page, width=390, scheme=scheme)
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390
    assert page.execute_script("return window.innerWidth") == 390
    size = page.execute_script(
        "return parseFloat(getComputedStyle(document.querySelector('td')).fontSize)"
    )
    assert size >= 14


def test_on_a_telephone_the_names_stay_while_a_table_scrolls(page):
    show(page, width=390, scheme="light")
    box = page.find_element("css selector", "[aria-labelledby=sample_quality_digits]")
    page.execute_script("arguments[0].scrollLeft = 300", box)
    left = (
        "return arguments[0].querySelector('tbody tr:not(.group) th').getBoundingClientRect().left"
    )
    assert page.execute_script("return arguments[0].scrollLeft", box) == 300
    assert 0 <= page.execute_script(left, box) < 30


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_colours_follow_the_scheme_and_text_stands_out(page, scheme, dark):
    show(page, width=1280, scheme=scheme)
    colour = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", colour)[:3])) / 3
    assert (brightness < 60) == dark
    assert page.execute_script(FAINT_TEXTS) == []


def test_every_link_inside_the_page_leads_somewhere(page):
    links = page.find_elements("css selector", "a[href^='#']")
    targets = {link.get_dom_attribute("href")[1:] for link in links}
    assert len(targets) > 5
    missing = "return arguments[0].filter(id => !document.getElementById(decodeURIComponent(id)))"
    assert page.execute_script(missing, sorted(targets)) == []


# The pages beside it


@pytest.fixture(scope="module")
def articles(tmp_path_factory):
    """{name: address} of a report that has both."""
    folder = tmp_path_factory.mktemp("articles")
    kinds = {"blur": (1.0, 4.0, 9.0), "collapse_within_class": (0.0, -4.0, -9.0)}
    cells = [*full_suite(("digits",), seeds=(0, 1)), *damaged_suite(kinds, ("fid", "recall"))]
    write_report(folder, title="Suite", cells=cells, models=MODELS, datasets=("digits",))
    return {name: (folder / f"{name}.html").as_uri() for name in ("agreement", "sensitivity")}


@pytest.fixture(params=["agreement", "sensitivity"])
def article(request, browser, articles):
    show(browser, width=1280, scheme="light")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(articles[request.param])
    return browser


def test_a_page_beside_it_is_as_readable(article):
    for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light")):
        show(article, width=width, scheme=scheme)
        assert article.execute_script("return document.documentElement.scrollWidth") <= width
        assert article.execute_script(FAINT_TEXTS) == []
    for figure in article.find_elements("css selector", "figure img"):
        assert article.execute_script("return arguments[0].naturalWidth", figure) > 100
    assert article.get_log("browser") == []


def test_a_page_beside_it_loads_nothing_and_leads_back(article):
    messages = [
        json.loads(entry["message"])["message"] for entry in article.get_log("performance")
    ]
    requests = {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in requests if not url.startswith("data:")} == {article.current_url}
    links = article.find_elements("css selector", "a")
    missing = "return document.getElementById(arguments[0]) === null"
    inside = [a.get_dom_attribute("href") for a in links]
    inside = [target[1:] for target in inside if target.startswith("#")]
    assert not [target for target in inside if article.execute_script(missing, target)]
    links[0].click()
    assert article.current_url.endswith("index.html")


def test_the_keyboard_unfolds_and_sorts_the_table_of_a_page_beside_it(article):
    for summary in article.find_elements("css selector", "summary"):
        summary.send_keys("\ue007")  # Enter
    (table,) = tables(article)
    assert table.is_displayed()
    for index, head in list(enumerate(table.find_elements("css selector", "thead th")))[1:]:
        head.find_element("css selector", "button").send_keys("\ue007")
        direction = head.get_attribute("aria-sort")
        for values in article.execute_script(ROWS, table, index):
            if values[0] is None or re.fullmatch(r"[-\d.e]+", values[0]):
                assert is_sorted(values, direction), head.text
            else:
                assert len(list(groupby(values))) == len(set(values)) > 1  # like beside like


def test_the_first_page_leads_to_the_pages_beside_it(browser, articles):
    browser.get(articles["agreement"].replace("agreement", "index"))
    links = [a.get_dom_attribute("href") for a in browser.find_elements("css selector", "nav a")]
    assert {"agreement.html", "sensitivity.html"} < set(links)
