"""The live page in a browser."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette", reason="THE LIVE PAGE IS NOT TESTED: pip install 'vidfer[serve]'")
pytest.importorskip("playwright", reason="THE LIVE PAGE IS NOT TESTED IN A BROWSER: no playwright")

from contrast import CONTRASTS
from fake_cameras import FakeCamera, playing
from patience import PATIENCE_S, until
from ports import free_port

from vidfer.pipeline.board import Board
from vidfer.serve import pictures as pictures_module
from vidfer.serve.server import serve

TOKEN = "correct-horse-battery"


@pytest.fixture
def open_page(browser):
    """Opens a page; whatever it complains about, or asks of anybody else than its server, fails the test."""
    contexts, troubles = [], []

    def start(url, *, complains=(), **options):
        complains = (*complains, "ERR_CONNECTION_", "ERR_EMPTY_RESPONSE")  # when its server has ended
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        context.set_default_timeout(1e3 * PATIENCE_S)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "console",
            lambda told: None if any(word in told.text for word in complains) else troubles.append(told.text),
        )
        server = url.split("#")[0]
        page.on(
            "request", lambda asked: None if asked.url.startswith((server, "blob:")) else troubles.append(asked.url)
        )
        page.goto(url)
        return page

    yield start
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture
def cameras(board, clip):
    return [FakeCamera(board, name, clip, fps=10) for name in ("front door", "lobby")]


FRAMES = "() => document.querySelectorAll('.camera')[0]?.querySelector('[data-of=faces]').textContent === '2'"
SHOWN = """([camera, x, y]) => {
  const seen = document.querySelectorAll('.camera')[camera].querySelector('.picture canvas');
  const copy = new OffscreenCanvas(seen.width, seen.height).getContext('2d');
  copy.drawImage(seen, 0, 0);
  return [...copy.getImageData(x * seen.width, y * seen.height, 1, 1).data].slice(0, 3);
}"""


def test_the_page_shows_what_the_cameras_see(serving, cameras, open_page, clip):
    cameras[1].say(dropped=14, reconnects=2)
    with serving() as (server, _), playing(*cameras):
        page = open_page(server.url)
        page.wait_for_function(FRAMES)
        names = [page.locator(".camera h2").nth(i).inner_text() for i in range(2)]
        assert names == ["front door", "lobby"]
        page.wait_for_function("() => document.getElementById('summary').textContent === '2 of 2 cameras live'")
        lobby = page.locator(".camera").nth(1)
        said = {
            name: lobby.locator(f"[data-of={name}]").inner_text()
            for name in ("fps", "latency", "dropped", "reconnects")
        }
        assert said == {"fps": "10.0", "latency": "21 · 38 ms", "dropped": "14", "reconnects": "2"}
        assert lobby.locator(".state").inner_text() == "live"
        # The picture is there: the colour of the background at a place where nothing is drawn.
        colours = np.array([image[8, 8] for image, _ in clip]).astype(int)
        shown = np.array(page.evaluate(SHOWN, [0, 8 / 854, 8 / 480]))
        assert np.abs(colours - shown).max(axis=1).min() < 12
        # Bars of eight emotions for each face, whose sum is one.
        for face in range(2):
            bars = page.locator(".camera").first.locator(".face").nth(face).locator(".bars li")
            assert bars.count() == 8
            assert sum(int(text.strip("%")) for text in bars.locator("output").all_inner_texts()) in range(96, 105)
        # The trail grows in the plane.
        page.wait_for_function(f"() => ({INK})() > 1000")


def test_the_keys(serving, cameras, open_page, tmp_path):
    board = cameras[0].board
    with serving() as (server, _), playing(*cameras):
        page = open_page(server.url, accept_downloads=True)
        page.wait_for_function(FRAMES)
        page.keyboard.press("p")
        page.wait_for_function("() => document.getElementById('pause').innerText.startsWith('Go on')")
        assert board.paused("front door")
        assert board.paused("lobby")
        assert page.locator(".state").first.inner_text() == "paused"
        page.keyboard.press("p")
        page.wait_for_function("() => document.querySelector('.state').innerText === 'live'")
        assert not board.paused("lobby")

        plane = page.locator(".plane").first
        assert plane.is_visible()
        page.keyboard.press("v")
        assert not plane.is_visible()
        page.keyboard.press("V")
        assert plane.is_visible()

        page.locator(".camera").nth(1).focus()
        with page.expect_download() as coming:
            page.keyboard.press("s")
        assert coming.value.suggested_filename.startswith("lobby-")
        coming.value.save_as(tmp_path / "shot.jpg")
        assert cv2.imread(str(tmp_path / "shot.jpg")).shape == (480, 854, 3)

        page.keyboard.press("q")
        page.get_by_role("button", name="Go on", exact=True).last.click()
        assert not board.stop_requested.is_set()
        page.keyboard.press("q")
        page.locator("#really-quit").click()
        page.wait_for_function("() => document.getElementById('summary').textContent === 'Stopped'")
    assert board.stop_requested.is_set()


def test_keys_can_be_switched_off_and_never_disturb_others(serving, cameras, open_page):
    board = cameras[0].board
    with serving() as (server, _), playing(*cameras):
        page = open_page(server.url)
        page.wait_for_function(FRAMES)
        page.keyboard.press("Control+p")
        page.locator("#keys").uncheck()
        for key in "pqvs":
            page.keyboard.press(key)
        assert page.locator("dialog[open]").count() == 0
        assert page.locator(".plane").first.is_visible()
        page.reload()
        page.wait_for_function(FRAMES)
        assert not page.locator("#keys").is_checked()
    assert not board.paused("lobby")


def test_one_camera_is_paused_by_its_button(serving, cameras, open_page):
    board = cameras[0].board
    with serving() as (server, _), playing(*cameras):
        page = open_page(server.url)
        page.wait_for_function(FRAMES)
        page.get_by_role("button", name="Pause lobby").click()
        page.wait_for_function("() => document.querySelectorAll('.state')[1].innerText === 'paused'")
        assert (board.paused("front door"), board.paused("lobby")) == (False, True)
        assert page.locator("#summary").inner_text() == "1 of 2 cameras live"


def test_a_lost_camera_says_why_and_names_are_never_markup(serving, board, clip, open_page):
    evil = "<img src=x onerror=alert(1)>"
    camera = FakeCamera(board, evil, clip)
    camera.say(state="waiting", last_error="connection refused <b>", writing="paused: disk full")
    with serving() as (server, _):
        page = open_page(server.url)
        page.wait_for_function("() => document.querySelector('.trouble')?.textContent")
        assert page.locator(".camera h2").inner_text() == evil
        assert page.locator(".camera img, .camera b").count() == 0
        assert page.locator(".trouble").inner_text() == "connection refused <b> · Nothing is written: disk full"
        assert page.locator("figcaption").inner_text() == "lost, trying again"
        camera.say(state="failed")
        page.wait_for_function("() => document.getElementById('news').textContent.endsWith('given up')")


def test_nobody_sees_the_page_and_nothing_is_asked_for(serving, cameras, open_page, monkeypatch):
    monkeypatch.setattr(pictures_module, "LEASE_S", 0.2)
    board = cameras[0].board
    hide = """(hidden) => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
                            document.dispatchEvent(new Event('visibilitychange')); }"""
    with serving() as (server, _), playing(*cameras):
        page = open_page(server.url)
        page.wait_for_function(FRAMES)
        page.evaluate(hide, True)
        # On a busy machine the lease may run out while a question of the page is still on its way: it is asked again.
        pictures = [-2, -1]

        def nothing_more():
            pictures.append(cameras[0].pictures)
            return pictures[-2] == pictures[-1] and not any(board.wanted(camera.name) for camera in cameras)

        until(nothing_more, step_s=0.5)
        page.evaluate(hide, False)
        until(lambda: cameras[0].pictures > pictures[-1])


def test_the_token_is_asked_for_and_then_remembered(serving, cameras, open_page):
    with serving(token=TOKEN) as (server, _), playing(*cameras):
        page = open_page(server.url, complains=("401",))
        page.get_by_role("textbox").fill("not-the-token-at-all")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.getElementById('token-error').textContent === 'the token is wrong'")
        page.get_by_role("textbox").fill(TOKEN)
        page.get_by_role("button", name="Open").click()
        page.wait_for_function(FRAMES)
        page.reload()
        page.wait_for_function(FRAMES)
        assert page.locator("dialog[open]").count() == 0


def test_the_link_with_the_token_opens_the_page_and_forgets_it(serving, cameras, open_page):
    with serving(token=TOKEN) as (server, _), playing(*cameras):
        page = open_page(server.link)
        page.wait_for_function(FRAMES)
        assert TOKEN not in page.url
        assert TOKEN not in json.dumps(page.evaluate("() => [{...localStorage}, document.cookie]"))


def test_the_page_says_that_vidfer_is_gone_and_goes_on_when_it_is_back(clip, open_page):
    board = Board()
    camera = FakeCamera(board, "front", clip, fps=10)
    port = free_port()
    with serve(board, "127.0.0.1", port) as server, playing(camera):
        page = open_page(server.url)
        page.wait_for_function(FRAMES)
    page.wait_for_function("() => document.getElementById('notice').textContent.startsWith('No connection')")
    again = FakeCamera(Board(), "front", clip, fps=10)  # whose frames are counted from 0 again
    with serve(again.board, "127.0.0.1", port), playing(again):
        page.wait_for_function("() => document.getElementById('notice').hidden")
        until(lambda: again.pictures)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_text_can_be_read_and_everything_has_a_name(serving, cameras, open_page, scheme):
    """WCAG: 4.5:1 for text, 3:1 for bars; and names for what has no text."""
    cameras[1].say(state="waiting", last_error="refused")
    with serving() as (server, _), playing(cameras[0]):
        page = open_page(server.url, color_scheme=scheme)
        page.wait_for_function(FRAMES)
        pairs = page.evaluate(CONTRASTS, [".level i", ".camera"])
        assert len(pairs) > 20
        assert [pair for pair in pairs if pair["ratio"] < pair["least"]] == []
        assert page.evaluate(UNNAMED) == []


INK = """() => {
  const plane = document.querySelector('.plane canvas');
  const pixels = plane.getContext('2d').getImageData(0, 0, plane.width, plane.height).data;
  return pixels.filter((value, i) => i % 4 === 3 && value).length;
}"""
UNNAMED = """() => [...document.querySelectorAll('button, canvas, input:not([hidden]), article')]
  .filter((one) => !(one.innerText?.trim() || one.getAttribute('aria-label') || one.labels?.length))
  .map((one) => one.outerHTML)"""
