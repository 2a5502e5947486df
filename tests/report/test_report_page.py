"""What stands in the page of a result: the numbers of its table, nothing from elsewhere, nobody's markup."""

import base64
import hashlib
import json
import re
import shlex

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_results import made_up
from markup import parse

from vidfer.output.labels import COLOURS
from vidfer.output.parquet import TableWriter
from vidfer.pipeline.summary import summarize_table
from vidfer.report.build import make_report
from vidfer.schema import tracks_schema
from vidfer.types import EMOTIONS

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&.mp4"


def report(table, **options):
    """The page as text and as elements."""
    path = table.with_suffix(".html")
    make_report(table, path, **{"thumbnails": False, **options})
    html = path.read_text(encoding="utf-8")
    return html, parse(html)


def data_of(page):
    return json.loads(page.find("script", id="data")[0].text)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    table = made_up(folder, presence=[(0, 100), (20, 80), (90, 91)], frames=120)
    return table, *report(table)


def test_the_numbers_are_those_of_the_tables(made):
    table, _, page = made
    rows = pd.read_parquet(table)
    tracks = pd.read_parquet(table.with_name("made.tracks.parquet"))
    said = {
        row.find("th")[0].text: [cell.whole_text for cell in row.find("td")] for row in page.find("tr", class_=None)
    }
    for track in tracks.itertuples():
        cells = said[str(track.face_id)]
        assert cells[2:4] == [str(track.frames), track.emotion]
        for cell, name in ((cells[4], "valence"), (cells[5], "arousal")):
            mean, spread = (float(text.replace("−", "-")) for text in cell.split(" ± "))
            face = rows[rows.face_id == track.face_id][name]
            assert mean == pytest.approx(face.mean(), abs=0.0051)
            assert spread == pytest.approx(face.std(ddof=0), abs=0.0051)
    shares = [one.whole_text for one in page.find("ul", class_="shares")]
    assert len(shares) == 3
    for text, track in zip(shares, tracks.itertuples(), strict=True):
        for name in EMOTIONS:
            mean = getattr(track, f"emotion_{name}_mean")
            assert f"{name} {'< 1' if mean < 0.01 else round(mean * 100)} %" in text
    assert [one.text for one in page.find("dd")[:4]] == ["0:04.8", "120", "3", "83\u202f%"]


def test_the_statistics_are_those_of_summary(made):
    table, _, page = made
    summary = summarize_table(table)
    rows = {row.find("th")[0].text: row for row in page.find("table", class_="shown")[0].find("tr")[1:]}
    assert len(rows) == len(summary.faces) == 3
    for face in summary.faces:
        row = rows[str(face.face_id)]
        cells = [cell.whole_text for cell in row.find("td")]
        assert cells[0] == f"{face.measured_s:.1f} s"
        shares = face.smooth.share
        assert cells[2:10] == [
            f"{share * 100:.0f} %" if share >= 0.01 else "< 1 %" if share else "–" for share in shares
        ]
        assert cells[10] == f"{face.smooth.expressivity:.2f}"
        widths = {bar.attributes["class"]: int(bar.attributes["width"]) for bar in row.find("rect")}
        for name, share in zip(EMOTIONS, shares, strict=True):
            assert widths.get(f"e-{name}", 0) == pytest.approx(share * 1000, abs=1)
        said = page.find("article", id=f"face-{face.face_id}")[0].find("p")[0].text
        assert said.startswith(f"{face.measured_s:.1f} s on screen between")


def test_faces_that_are_together_for_long_are_compared(tmp_path):
    table = made_up(tmp_path, presence=[(0, 500), (0, 500)], frames=500)
    pairs = summarize_table(table).synchrony
    _, page = report(table)
    rows = page.find("table", class_="pairs")[0].find("tr")[1:]
    assert len(rows) == len(pairs) > 0
    said = {row.find("td")[0].text: [cell.text for cell in row.find("td")] for row in rows}
    for pair in pairs:
        assert said[pair.signal][2] == f"{pair.correlation:.2f}".replace("-", "−")


def test_people_who_are_known_again_are_said(tmp_path):
    table = made_up(tmp_path, presence=[(0, 40), (60, 100)])
    tracks = table.with_name("made.tracks.parquet")
    about = json.loads(pq.read_metadata(tracks).metadata[b"vidfer"])
    rows = pd.read_parquet(tracks).assign(identity=7)
    with TableWriter(tracks, tracks_schema(identity=True)) as writer:
        writer.write(pa.Table.from_pandas(rows, schema=tracks_schema(identity=True), preserve_index=False))
        writer.set_metadata(about)
    _, page = report(table)
    cards = page.find("ul", class_="cards")[0].find("span", class_="what")
    assert [card.text[:8] for card in cards] == ["person 7"] * 2


def test_the_frames_are_accounted_for_as_in_the_report_of_the_run(tmp_path):
    table = made_up(tmp_path)
    run = table.with_name("made.run.json")
    report_of_run = json.loads(run.read_text())
    counts = dict(packets=5130, decoded=5111, corrupt=7, undecodable=13, discarded=6, dropped=4, not_sampled=3000)
    footer_counts = {**report_of_run["counts"], **counts, "analysed": 2107}
    table = made_up(tmp_path, counts=footer_counts)
    run.write_text(json.dumps({**report_of_run, "counts": footer_counts, "warnings": ["it is <cut> off"]}))
    _, page = report(table)
    account = page.find("table", class_="account")[0]
    said = {row.find("th")[0].text.strip(): row.find("td")[0].text for row in account.find("tr")}
    assert said == {
        "packets": "5\u202f130", "undecodable": "13", "discarded": "6", "decoded": "5\u202f111",
        "not sampled": "3\u202f000", "dropped": "4", "analysed": "2\u202f107", "corrupt": "7",
    }  # fmt: skip
    warned = [one.text for one in page.find("section", class_="warnings")[0].find("li")]
    assert warned == ["it is <cut> off", "4 frames were dropped: they are not in the table"]


def test_what_the_cursor_says_is_what_the_table_says(made):
    table, _, page = made
    rows = pd.read_parquet(table)
    data = data_of(page)
    assert data["emotions"] == list(EMOTIONS)
    for face in data["faces"]:
        of_face = rows[rows.face_id == face["id"]]
        times = face["start"] + np.cumsum(face["t"]) / 1000
        assert times == pytest.approx(of_face.timestamp.to_numpy(), abs=1e-6)
        for name, values in [*zip((f"emotion_{n}" for n in EMOTIONS), face["e"], strict=True), ("valence", face["v"])]:
            assert np.array(values) / 1000 == pytest.approx(of_face[f"{name}_smooth"].to_numpy(), abs=0.00051)


def points(path):
    """The pieces of a path in whole numbers, as lists of points."""
    pieces = []
    for start, steps in re.findall(r"M(-?\d+ -?\d+)(?:l([-\d ]*))?", path):
        x, y = map(int, start.split())
        found = [(x, y)]
        numbers = [int(number) for number in re.findall(r"-?\d+", steps)]
        for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
            x, y = x + dx, y + dy
            found.append((x, y))
        pieces.append(found)
    return pieces


def test_the_curves_are_drawn_where_the_values_are(made):
    table, _, page = made
    face = pd.read_parquet(table).query("face_id == 0")
    article = page.find("article", id="face-0")[0]
    smooth = article.find("path", class_="smooth")[0]
    (line,) = points(smooth.attributes["d"])
    drawn = np.array(line[1:-1])  # half a step is added at both ends
    assert drawn[:, 1] == pytest.approx((1 - face.valence_smooth.to_numpy()) * 200, abs=0.51)
    assert drawn[:, 0] == pytest.approx(face.timestamp.to_numpy() / 4.8 * 4000, abs=0.51)
    areas = {one.attributes["class"].split("-")[1]: one for one in article.find("path", class_="area")}
    assert list(areas) == list(EMOTIONS)[::-1]  # painted from the top to the floor
    line = re.search(r"V(-?\d+)l([-\d ]*)V", areas["neutral"].attributes["d"])
    heights = 400 - (int(line[1]) + np.cumsum([int(n) for n in re.findall(r"-?\d+", line[2])][1::2]))
    assert heights[:-1] == pytest.approx(face.emotion_neutral_smooth.to_numpy() * 400, abs=0.51)


def test_long_tracks_are_thinned_out_and_no_peak_is_lost(tmp_path):
    """An hour of five faces stays light, and the page says what was left out."""
    frames = 18_000
    table = made_up(tmp_path, presence=[(0, frames)] * 4 + [(4000, 9000)], frames=frames, rate=5.0)
    html, page = report(table)
    assert len(html.encode()) < 1_000_000
    assert "Of long tracks fewer points are drawn than there are frames: each stands for up to 4.5 s" in html
    face = pd.read_parquet(table).query("face_id == 0")
    raw = points(page.find("article", id="face-0")[0].find("path", class_="raw")[0].attributes["d"])
    heights = [y for piece in raw for _, y in piece]
    assert min(heights) == round((1 - face.valence.max()) * 200)
    assert max(heights) == round((1 - face.valence.min()) * 200)
    of_face = data_of(page)["faces"][0]
    assert len(of_face["t"]) == 800
    assert np.mean(of_face["v"]) / 1000 == pytest.approx(face.valence_smooth.mean(), abs=0.002)
    assert np.sum(of_face["e"], axis=0) == pytest.approx(np.full(800, 1000), abs=4)


def test_a_crowd_has_charts_for_those_who_stay_longest(tmp_path):
    presence = [(10 * number, 10 * number + 12 + number % 7) for number in range(150)]
    html, page = report(made_up(tmp_path, presence=presence, frames=1600))
    assert len(page.find("article")) == 24
    assert len(page.find("ul", class_="cards")[0].find("li")) == 96
    assert "54 more faces are on screen for a shorter time" in html
    assert len(page.find("table", class_="wide")[0].find("tr")) == 151
    lanes = page.find("figure", class_="lanes")[0]
    assert len(lanes.find("path", class_="present")) == 150
    assert 24 < len(lanes.find("svg", class_="lane")) < 40
    assert len(html.encode()) < 3_000_000


def test_nothing_comes_from_elsewhere_and_the_policy_says_so(made):
    _, html, page = made
    policy = page.find("meta", http_equiv="Content-Security-Policy")[0].attributes["content"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
        "style-src": f"'sha256-{sha256(page.find('style')[0].text)}'",
        "script-src": f"'sha256-{sha256(page.find('script')[-1].text)}'",
    }  # fmt: skip
    assert len(page.find("style")) == 1
    assert len(page.find("script")) == 2  # one of them is data
    assert not page.find("link")
    for one in page.all():
        assert not {"style", "srcset", "background"} & one.attributes.keys()
        assert not [name for name in one.attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "action", "data"):
            assert (one.attributes.get(name) or "#").startswith(("#", "data:image/jpeg;base64,"))
    assert not re.search(r"https?:|//[a-z]|url\(|@import|@font-face", html)


def sha256(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_names_are_never_markup(tmp_path):
    table = made_up(tmp_path, "made.mp4", presence=[(0, 10)], frames=10)
    about = json.loads(pq.read_metadata(table).metadata[b"vidfer"])
    models = [{key: f"{value}{EVIL}" for key, value in model.items()} for model in about["models"]]
    source = {**about["source"], "name": EVIL, "codec": EVIL, "container": EVIL, "sha256": EVIL}
    changes = {"source": source, "models": models, "decoder": EVIL, "vidfer_version": EVIL}
    made_up(tmp_path, "made.mp4", presence=[(0, 10)], frames=10, **changes)
    run = table.with_name("made.run.json")
    run.write_text(json.dumps({**json.loads(run.read_text()), "warnings": [EVIL], "state": EVIL}))
    html, page = report(table)
    assert page.find("h1")[0].text == EVIL
    assert len(page.find("script")) == 2
    assert not page.find("img")
    assert "<script>alert" not in html
    assert "onerror=alert(2)>" not in html
    install, command = page.find("pre")[0].find("code")[0].text.splitlines()
    assert shlex.split(command)[2] == EVIL  # safe in a shell, too
    assert shlex.split(install) == ["pip", "install", f"vidfer=={EVIL}"]


def test_the_markup_nests_and_everything_has_a_name(made):
    _, _, page = made
    ids = [one.attributes["id"] for one in page.all() if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    for one in page.all():
        for name in ("aria-labelledby", "for"):
            assert one.attributes.get(name) in (None, *ids)
    assert page.find("html")[0].attributes["lang"] == "en"
    levels = [int(one.name[1]) for one in page.all() if re.fullmatch("h[1-6]", one.name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1
    for picture in page.find("svg"):
        assert picture.attributes.get("aria-hidden") == "true" or picture.attributes.get("aria-label")
    assert all("alt" in picture.attributes for picture in page.find("img"))
    # Each chart is there in numbers, too.
    assert len(page.find("details")) == len(page.find("article")) == 3


def test_a_table_without_faces_or_without_times_makes_a_page(tmp_path):
    html, page = report(made_up(tmp_path, presence=[], frames=30))
    assert page.find("p", class_="nothing")[0].text == "No face was found."
    assert not page.find("article")
    html, page = report(made_up(tmp_path, presence=[], frames=0))  # `--start` behind the end of what can be read
    assert page.find("p", class_="nothing")[0].text == "No face was found."
    assert page.find("dd")[0].text == "–"
    html, page = report(made_up(tmp_path, times=[None] * 100))
    assert not page.find("svg", class_="plot")
    assert not page.find("input")
    assert len(page.find("ul", class_="cards")[0].find("li")) == 2
    assert "100 frames have no time and are in no chart." in html


def test_poor_faces_are_warned_of(tmp_path):
    poor = {"face_w": 20.0, "face_h": 24.0, "quality": 0.1, "yaw": 60.0, "confidence": 0.6}
    table = made_up(tmp_path, values={1: poor})
    _, page = report(table)
    warned = [one.text for one in page.find("section", class_="warnings")[0].find("li")]
    assert [text.split(":")[0] for text in warned] == ["Small", "Profile", "Unsure"]  # sharp for its size and turn
    assert all("face 1 (100\u202f% of its frames)" in text for text in warned)
    line = page.find("tr", data_face="1")[-1]
    assert [cell.text for cell in line.find("td", class_="bad")] == ["100\u202f%"] * 3


def luminance(rgb):
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (channel / 255 for channel in rgb)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_names_on_areas_can_be_read():
    ink = luminance((0x14, 0x17, 0x1C))
    for name, colour in COLOURS.items():
        assert (luminance(colour) + 0.05) / (ink + 0.05) >= 4.5, name
