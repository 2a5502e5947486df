"""`vidfer train evaluate` on tables, from rows to what is printed: figures that are known by hand."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from made_networks import COLOURS, POINTS5, SIDE, face, save_network, save_table, usual_faces

pytest.importorskip("onnx", reason="EVALUATION IS NOT TESTED: no onnx")

from vidfer.cli import app as cli
from vidfer.errors import DataError
from vidfer.train.datasets.table import read_table
from vidfer.train.evaluation import evaluate, network, predict
from vidfer.types import EMOTIONS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    save_network(folder / "right.onnx")
    save_network(folder / "wrong.onnx", right=False)
    save_table(folder / "faces.parquet")
    return folder


def run(capfd, *line):
    code = cli.run(["train", "evaluate", *map(str, line)])
    out, err = capfd.readouterr()
    return code, out, err


def printed(capfd, *line):
    code, out, err = run(capfd, *line)
    assert code == 0
    assert all(" rows with " in line for line in err.splitlines()), err
    return json.loads(out)


def test_the_main_figures_are_told_in_words_too(made, capfd):
    _, out, err = run(capfd, made / "right.onnx", "--data", made / "faces.parquet")
    accuracy = json.loads(out)["networks"][0]["tasks"]["emotion"]["figures"]["accuracy"]
    words = "right.onnx, 24 rows with emotion: accuracy {value:.3f} [{low:.3f}, {high:.3f}], macro_f1 0."
    assert err.startswith(words.format(**accuracy))
    firsts = [line.split(": ")[1].split()[0] for line in err.splitlines()]
    assert firsts == ["accuracy", "ccc_valence", "nme", "iou"]


def values(task):
    return {name: figure["value"] for name, figure in task["figures"].items()}


def refused(capfd, code, what, *line):
    got, out, err = run(capfd, *line)
    assert (got, out) == (code, "")
    assert err.count("\n") == 1
    assert what in err, err


def test_figures_are_those_worked_out_by_hand(made, capfd):
    found = printed(capfd, made / "right.onnx", "--data", made / "faces.parquet")
    assert found["data"] == {
        "split": "val", "rows": 24, "unreadable": 0, "groups": 24, "sets": {"made": 12, "wild": 12},
    }  # fmt: skip
    (one,) = found["networks"]
    assert one["label"] == "right.onnx"
    assert one["crop"] == "none"
    emotion = one["tasks"]["emotion"]
    got = values(emotion)
    assert got["accuracy"] == pytest.approx(20 / 24, abs=1e-4)  # 4 of 24 are called what they do not show
    assert got["recall_sadness"] == 0.5
    assert got["precision_happiness"] == pytest.approx(8 / 12, abs=1e-4)
    assert emotion["classes"] == ["neutral", "happiness", "sadness"]
    assert emotion["confusion"] == [[8, 0, 0], [0, 8, 0], [0, 4, 4]]
    assert emotion["never_there"] == ["surprise", "fear", "disgust", "anger", "contempt"]
    assert values(emotion["sets"]["made"])["accuracy"] == 1  # the sixth of six is of the other set
    assert values(emotion["sets"]["wild"])["accuracy"] == pytest.approx(8 / 12, abs=1e-4)
    assert emotion["figures"]["f1_neutral"]["low"] is None  # no resample changes it
    for figure in emotion["figures"].values():
        assert figure["low"] is None or figure["low"] <= figure["value"] <= figure["high"]
    assert values(one["tasks"]["valence_arousal"])["ccc_valence"] > 0.9
    truth = np.stack([row.labels.points[5] for row in usual_faces()])
    nme = np.linalg.norm(truth - POINTS5, axis=2).mean(1) / np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)
    assert values(one["tasks"]["points5"])["nme"] == pytest.approx(nme.mean(), rel=1e-3)
    assert one["tasks"]["points5"]["eye_distance"] == "eye centres"
    assert values(one["tasks"]["box"])["iou"] == pytest.approx(1, abs=1e-3)


def test_compared_networks_differ_by_what_they_differ(made, capfd):
    found = printed(capfd, "--compare", made / "right.onnx", made / "wrong.onnx", "--data", made / "faces.parquet")
    assert [one["label"] for one in found["networks"]] == ["right.onnx", "wrong.onnx"]
    (difference,) = found["differences"]
    assert (difference["network"], difference["minus"]) == ("wrong.onnx", "right.onnx")
    accuracy = difference["tasks"]["emotion"]["accuracy"]
    # Of twelve that show happiness, eight are called so: wrong.onnx is wrong there and right about the other four.
    assert accuracy["value"] == pytest.approx((4 - 8) / 24, abs=1e-4)
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert difference["tasks"]["points5"]["nme"] == {"value": 0, "low": 0, "high": 0, "n": 24}


def test_networks_with_other_classes_are_compared_on_those_of_both(made, capfd, tmp_path):
    few = save_network(tmp_path / "few.onnx", labels=("sadness", "happiness", "neutral"), heads=("emotion",))
    table = save_table(tmp_path / "t.parquet", [*usual_faces(12), face("neutral", label="fear", group="x")])
    found = printed(capfd, few, "--compare", made / "right.onnx", "--data", table)
    for one in found["networks"]:
        assert one["tasks"]["emotion"]["classes"] == ["neutral", "happiness", "sadness"]
        assert one["tasks"]["emotion"]["left_out"] == {"fear": 1}
    assert list(found["differences"][0]["tasks"]) == ["emotion"]
    assert found["differences"][0]["tasks"]["emotion"]["accuracy"]["value"] == 0
    alone = printed(capfd, made / "right.onnx", "--data", table)["networks"][0]["tasks"]["emotion"]
    assert alone["left_out"] == {}
    assert values(alone)["recall_fear"] == 0


def test_pictures_that_cannot_be_decoded_are_left_out_and_counted(made, capfd, tmp_path):
    broken = [face("neutral", group="b1", image=b"\x89PNG no more"), face("sadness", group="b2", image=b"x")]
    table = save_table(tmp_path / "t.parquet", [broken[0], *usual_faces(12), broken[1]])
    found = printed(capfd, made / "right.onnx", "--data", table)
    assert (found["data"]["rows"], found["data"]["unreadable"]) == (12, 2)
    assert values(found["networks"][0]["tasks"]["emotion"])["accuracy"] == pytest.approx(10 / 12, abs=1e-4)
    save_table(tmp_path / "none.parquet", broken)
    refused(capfd, 3, "none of 2 pictures can be decoded", made / "right.onnx", "--data", tmp_path / "none.parquet")


def test_several_tables_are_judged_together(made, capfd, tmp_path):
    more = save_table(tmp_path / "more.parquet", [face("neutral", group="m", set_name="third")])
    found = printed(capfd, made / "right.onnx", "--data", made / "faces.parquet", "--data", more)
    assert found["data"]["sets"] == {"made": 12, "third": 1, "wild": 12}


def test_what_is_no_network_is_one_line(made, capfd, tmp_path):
    data = ("--data", made / "faces.parquet")
    refused(capfd, 3, "there is no network at", tmp_path / "none.onnx", *data)
    (tmp_path / "text.onnx").write_text("hello")
    refused(capfd, 3, "ONNX Runtime cannot load the network text.onnx", tmp_path / "text.onnx", *data)
    foreign = save_network(tmp_path / "foreign.onnx", card={"licence": None, "heads": [{"name": "age", "labels": []}]})
    refused(capfd, 3, "foreign.onnx tells age: what can be judged is one of", foreign, *data)


@pytest.mark.parametrize(
    ("card", "what"),
    [
        ({"heads": None}, "the card of odd.onnx does not tell of a network for faces"),
        ({"input": {"shape": 5}}, "the card of odd.onnx does not tell of a network for faces"),
        ({"recipe": {"data": {"margin": "wide"}}}, "the card of odd.onnx does not tell of a network for faces"),
        ({"input": {"shape": ["B", 32, 48, 3]}}, "takes pictures ['B', 32, 48, 3]: a face network takes squares"),
        ({"input": {"shape": [None, 48, 48, 3]}}, "odd.onnx does not take pictures uint8 [2, 48, 48, 3]"),
        ({"heads": [{"name": "landmarks68"}]}, "odd.onnx gives nothing as landmarks68 where its card says [2, 68, 2]"),
        ({"heads": [{"name": "emotion", "labels": ["fear"]}]}, "gives [2, 8] as emotion where its card says [2, 1]"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_its_card_says_is_refused(made, capfd, tmp_path, card, what):
    odd = save_network(tmp_path / "odd.onnx", card=card)
    refused(capfd, 3, what, odd, "--data", made / "faces.parquet")


def test_what_cannot_be_judged_is_one_line(made, capfd, tmp_path):
    model = made / "right.onnx"
    refused(capfd, 3, "no rows of split test; there are rows of val", model, "--data", made / "faces.parquet",
            "--split", "test")  # fmt: skip
    refused(capfd, 3, "no training table at", model, "--data", tmp_path / "none.parquet")
    points = save_network(tmp_path / "points.onnx", heads=("landmarks5",))
    table = save_table(tmp_path / "t.parquet", [face("neutral"), face("sadness")])
    refused(capfd, 3, "nothing to judge points.onnx by: it tells landmarks5, the rows have emotion (neutral, sadness)",
            points, "--data", table)  # fmt: skip
    table = save_table(tmp_path / "one.parquet", [face("neutral")])
    two = "the rows have emotion (neutral); of emotions, two or more must be known to both"
    refused(capfd, 3, two, save_network(tmp_path / "faces.onnx", heads=("emotion",)), "--data", table)


def test_misuse_is_one_line(made, capfd, tmp_path):
    model, data = made / "right.onnx", ("--data", made / "faces.parquet")
    refused(capfd, 2, "--compare needs two or more networks", model, "--compare", *data)
    refused(capfd, 2, "two or more networks need --compare", model, model, *data)
    refused(capfd, 2, "face_detector is measured alone, on the folder of its training data", "face_detector", *data)
    refused(capfd, 2, "is a folder: measure", model, "--data", made)
    refused(capfd, 2, "--model and --precision are of face_detector and face_analyzer", model, "--model", model, *data)
    refused(capfd, 2, "only face_detector or face_analyzer alone", model, model, "--compare", "--data", made)


def test_a_network_that_gives_no_numbers_is_refused(made, tmp_path):
    rows = read_table([made / "faces.parquet"], "val")
    (one,) = network.open_networks([made / "right.onnx"])
    one.run = lambda crops: {name: np.full((len(crops), 4), np.nan, np.float32) for name in one.about.heads}
    with pytest.raises(DataError, match=r"right\.onnx: emotion is no number for 24 of 24 faces"):
        predict.predict([one], rows)


def test_networks_of_one_name_are_told_apart(made, tmp_path):
    (tmp_path / "other").mkdir()
    save_network(tmp_path / "other" / "right.onnx")
    found = network.open_networks([made / "right.onnx", tmp_path / "other" / "right.onnx"])
    assert [one.about.label for one in found] == [f"{made.name}/right.onnx", "other/right.onnx"]


def test_a_face_is_cut_out_where_its_network_wants_that(tmp_path):
    """A face of one colour in a picture of another: what the network says tells what it saw."""
    image = np.empty((100, 200, 3), np.uint8)
    image[:] = COLOURS["sadness"]
    image[20:80, 60:140] = COLOURS["happiness"]
    import cv2

    png = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    boxed = face("happiness", image=png, size=(200, 100), box=(85, 35, 30, 30))
    unknown = face("sadness", image=png, size=(200, 100), group="h")
    rows = read_table([save_table(tmp_path / "t.parquet", [boxed, unknown])], "val")
    saw, middle = {}, (SIDE - 1) / 2
    for crop, sides in (("box", (36, 200)), ("none", (200, 200))):
        (one,) = network.open_networks([save_network(tmp_path / f"{crop}.onnx", crop=crop)])
        (said,), _ = predict.predict([one], rows)
        saw[crop] = [EMOTIONS[k] for k in said.heads["emotion"].argmax(1)]
        # Points come back in px of the picture; a box is moved by up to 8 % of its side.
        for points, side in zip(said.points[5], sides, strict=True):
            expected = (POINTS5 - middle) * side / SIDE + (99.5, 49.5)
            assert points == pytest.approx(expected, abs=7 if side == 36 else 0.01)
    assert saw == {"box": ["happiness", "sadness"], "none": ["sadness", "sadness"]}
    assert predict.reference_sides(rows).tolist() == [36, 200]


def test_what_a_network_sees_of_a_face_depends_on_no_other_face(tmp_path):
    faces = [face(name, group=name, size=(60, 50), box=(10, 10, 30, 30)) for name in COLOURS]
    (one,) = network.open_networks([save_network(tmp_path / "box.onnx", crop="box")])
    rows = read_table([save_table(tmp_path / "t.parquet", faces)], "val")
    together = predict.transforms(rows, one.about)
    for k in range(len(faces)):
        assert np.array_equal(predict.transforms(rows.take(np.array([k])), one.about)[0], together[k])
    assert len(np.unique(together, axis=0)) == 3
    # Run time would see this much of a box of 30 px.
    assert np.hypot(*together[0, :, 0]) == pytest.approx(SIDE / (30 * 1.2), rel=0.17)


def test_fewer_points_are_parts_of_more(tmp_path):
    """A network with 5 points is judged on 4 where somebody set these, and not where nobody did."""
    path = save_network(tmp_path / "five.onnx", heads=("landmarks5",))
    four = POINTS5[[0, 1, 3, 4]]
    faces = [face("neutral", points={4: four}), face("neutral", group="b")]
    rows = read_table([save_table(tmp_path / "t.parquet", faces)], "val")
    found = evaluate.evaluate(network.open_networks([path]), rows)
    assert found.tasks == ["points4"]
    assert found.results[0]["points4"].figures["nme"].value == pytest.approx(0, abs=1e-5)
    assert found.results[0]["points4"].figures["nme"].n == 1
    five = read_table([save_table(tmp_path / "five.parquet", [face("neutral", points={5: POINTS5})])], "val")
    assert evaluate.evaluate(network.open_networks([path]), five).tasks == ["points5"]


def test_the_label_is_what_is_said_or_what_most_vote_for(tmp_path):
    votes = np.zeros((3, 8), np.float32)
    votes[0, [1, 2]] = 0.6, 0.4
    votes[1, [1, 2]] = 0.5, 0.5
    votes[2, 3] = 1
    faces = [face("neutral", emotion=None, votes=one) for one in votes[:2]]
    faces += [face("neutral", emotion="anger", votes=votes[2]), face("neutral", emotion=None)]
    rows = read_table([save_table(tmp_path / "t.parquet", faces)], "val")
    assert evaluate.labels(rows).tolist() == [1, -1, EMOTIONS.index("anger"), -1]


def test_persons_of_two_sets_are_two(tmp_path):
    faces = [face("neutral", group="1", set_name=name) for name in ("a", "a", "b")]
    assert evaluate.groups(read_table([save_table(tmp_path / "t.parquet", faces)], "val")).tolist() == [0, 0, 1]


def test_files_are_evaluated_without_torch(made, tmp_path):
    code = "import sys; sys.modules['torch'] = None; from vidfer.cli.app import run; sys.exit(run(sys.argv[1:]))"
    page = str(tmp_path / "page.html")
    line = ["train", "evaluate", str(made / "right.onnx"), "--data", str(made / "faces.parquet"), "--report", page]
    done = subprocess.run([sys.executable, "-c", code, *line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count(": ")) == (0, 4)
    assert json.loads(done.stdout)["networks"][0]["kind"] == "onnx"
