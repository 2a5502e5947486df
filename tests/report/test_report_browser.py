"""The page of a result in a real browser."""

import re
from functools import partial

import pandas as pd
import pytest
from contrast import CONTRASTS
from made_results import made_up

from vidfer.report.build import make_report

NOW = "[data-now='0']"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    table = made_up(folder, presence=[(0, 250), (50, 200), (240, 250)], frames=250, values={1: {"confidence": 0.5}})
    make_report(table, folder / "made.html", thumbnails=False)
    return table, folder / "made.html"


@pytest.fixture
def opened(open_file, made):
    """Opens the page."""
    return partial(open_file, made[1])


def told(face, at):
    """What the page has to say of a face at one of its rows."""
    row = face.iloc[at]
    signed = [f"{'−' if row[name] < 0 else '+'}{abs(row[name]):.2f}" for name in ("valence_smooth", "arousal_smooth")]
    return [f"valence {signed[0]}", f"arousal {signed[1]}"]


def test_the_cursor_says_the_values_of_the_table_in_all_charts(made, opened):
    face = pd.read_parquet(made[0]).query("face_id == 0")
    page = opened()
    plot = page.locator("#face-0 svg.plot").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 20)
    assert page.locator("#clock").inner_text().startswith("0:04.")
    index = round(float(page.locator("#clock").inner_text()[2:]) * 25)
    said = page.locator(NOW).inner_text()
    assert any(all(part in said for part in told(face, at)) for at in (index - 1, index, index + 1)), said
    shown = page.locator("svg.plot line.cursor").evaluate_all("all => all.map((one) => one.style.display)").count("")
    assert shown >= 9  # three lanes, and three plots of each face that has the time of all
    assert page.locator("[data-now='2']").inner_text() == "not on screen here"


def test_the_keyboard_moves_the_cursor_and_chooses_faces(made, opened):
    face = pd.read_parquet(made[0]).query("face_id == 0")
    page = opened()
    page.locator("#time").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert page.locator("#clock").inner_text() == "0:00.20"
    assert page.locator("#time").get_attribute("aria-valuetext") == "0:00.20"
    assert all(part in page.locator(NOW).inner_text() for part in told(face, 5))
    page.keyboard.press("End")
    assert page.locator("#clock").inner_text() == "0:10.00"
    # On from there by Tab: a face of the strip.
    page.locator(".cards [data-pick='1']").focus()
    page.keyboard.press("Enter")
    assert page.locator(".cards [data-pick='1']").get_attribute("aria-pressed") == "true"
    assert page.locator("article.chosen").count() == 1
    assert page.locator("#face-1.chosen").count() == 1
    page.wait_for_function("getComputedStyle(document.getElementById('face-0')).opacity < 1")  # it fades
    page.keyboard.press("Escape")
    assert page.locator(".chosen").count() == 0
    handles = page.locator("button:enabled, summary, input, .scroll")
    assert set(handles.evaluate_all("all => all.map((one) => one.tabIndex)")) == {0}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(opened, scheme):
    """WCAG: 4.5:1."""
    page = opened(color_scheme=scheme)
    page.locator("details").first.evaluate("one => { one.open = true; }")
    pairs = page.evaluate(CONTRASTS, [None, None])
    assert len(pairs) > 150
    assert [pair for pair in pairs if pair["ratio"] < pair["least"]] == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == (scheme == "dark")


def test_axe_finds_nothing(opened, axe_finds):
    assert axe_finds(opened()) == []


@pytest.mark.parametrize("width", [320, 390, 820])
def test_nothing_runs_out_of_narrow_screens(opened, width):
    page = opened(width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_prints_and_says_the_same_without_scripts(opened):
    page = opened(color_scheme="dark", java_script_enabled=False)
    assert page.locator("article").count() == 3
    assert not page.locator("#bar").is_visible()
    pdf = page.pdf(prefer_css_page_size=True)
    assert pdf.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 6
    page.emulate_media(media="print")
    assert page.locator("svg.plot").first.is_visible()
    assert page.locator("body").evaluate("one => getComputedStyle(one).backgroundColor") == "rgb(255, 255, 255)"
