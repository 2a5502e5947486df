"""Labels by MediaPipe (a made one, behind our real worker) and by ONNX teachers made for the purpose."""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from vidfer.errors import DataError, ModelError, UsageError
from vidfer.train.datasets.rows import Face, Labels
from vidfer.train.datasets.table import read_table, write_table
from vidfer.train.labelling.label import label_table
from vidfer.train.labelling.meshes import MediaPipe
from vidfer.train.labelling.teacher import Teacher, TeacherOptions
from vidfer.types import EMOTIONS
from vidfer.vision.pose import mean_mesh
from vidfer.vision.session import model_path

# It finds a face where there is green, as wide as that is, with the points of the mean mesh; noise on stdout is no
# message of the worker's.
FAKE = """
import sys, types
import numpy as np
__version__ = {version!r}
print("words that would break the messages")
MESH = np.load({mesh!r})
class Point:
    def __init__(self, x, y, z): self.x, self.y, self.z = x, y, z
def look(image):
    if (image == 7).all(): sys.exit("the fake fell over")
    green = (image[..., 1] > 150) & (image[..., 0] < 100)
    if not green.any(): return []
    h, w = green.shape
    ys, xs = np.nonzero(green)
    x0, x1, y0, y1 = xs.min(), xs.max() + 1, ys.min(), ys.max() + 1
    return [Point((x0 + x * (x1 - x0)) / w, (y0 + y * (y1 - y0)) / h, z * (x1 - x0) / w) for x, y, z in MESH]
class FaceMesh:
    def __init__(self, **options): assert options["refine_landmarks"] and options["static_image_mode"]
    def process(self, image):
        points = look(image)
        return types.SimpleNamespace(multi_face_landmarks=[types.SimpleNamespace(landmark=points)] if points else None)
{solutions}
ImageFormat = types.SimpleNamespace(SRGB=1)
def Image(kind, image): return image
"""
SOLUTIONS = "solutions = types.SimpleNamespace(face_mesh=types.SimpleNamespace(FaceMesh=FaceMesh))"
TASKS = """
import types
from mediapipe import look
class BaseOptions:
    def __init__(self, model_asset_buffer): assert model_asset_buffer == b"the model"
class FaceLandmarkerOptions:
    def __init__(self, **options): assert options["num_faces"] == 1
class FaceLandmarker:
    @classmethod
    def create_from_options(cls, options): return cls()
    def detect(self, image):
        points = look(image)
        return types.SimpleNamespace(face_landmarks=[points] if points else [])
vision = types.SimpleNamespace(FaceLandmarkerOptions=FaceLandmarkerOptions, FaceLandmarker=FaceLandmarker)
"""


def unit_mesh() -> np.ndarray:
    """The mean mesh within the unit square."""
    mesh = mean_mesh()[0]
    low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
    return np.concatenate([(mesh[:, :2] - low) / (high - low), mesh[:, 2:]], 1)


def python_with(folder: Path, code: str) -> Path:
    """A Python that has a made MediaPipe; what is set for this one's packages is not for it."""
    package = folder / "site" / "mediapipe"
    (package / "tasks" / "python").mkdir(parents=True)
    (package / "__init__.py").write_text(code)
    (package / "tasks" / "__init__.py").touch()
    (package / "tasks" / "python" / "__init__.py").write_text(TASKS)
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{package.parent}" exec "{sys.executable}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    return program


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mediapipe")
    np.save(folder / "mesh.npy", unit_mesh())
    return python_with(folder, FAKE.format(version="0.10.21", mesh=str(folder / "mesh.npy"), solutions=SOLUTIONS))


def picture(box=None, size=(60, 80), fill=30):
    """A dark picture uint8[H,W,3], with a green face at x0, y0, x1, y1."""
    image = np.full((*size, 3), fill, np.uint8)
    if box is not None:
        x0, y0, x1, y1 = box
        image[y0:y1, x0:x1] = (20, 220, 40)
    return image


def table_of(path, rows):
    faces = []
    for i, (image, labels) in enumerate(rows):
        data = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
        size = (image.shape[1], image.shape[0])
        faces.append(Face(image=data, size=size, set_name="made", split="train", group=str(i), labels=labels))
    write_table(path, faces)
    return path


def test_a_mesh_arrives_in_px_of_the_picture(python):
    with MediaPipe(python) as finder:
        assert finder.version == "0.10.21"
        mesh = finder.find(picture((20, 10, 50, 40)))
        assert finder.find(picture()) is None
    truth = unit_mesh()
    np.testing.assert_allclose(mesh[:, :2], truth[:, :2] * 30 + (19.5, 9.5), atol=1e-3)
    np.testing.assert_allclose(mesh[:, 2], truth[:, 2] * 30, atol=1e-3)


def test_faces_that_are_not_found_are_kept_flagged_and_counted(python, tmp_path):
    by_hand = Labels(emotion="fear", box=(1.0, 2.0, 10.0, 11.0))
    rows = [(picture((20, 10, 50, 40)), Labels(emotion="anger")), (picture(), by_hand)]
    table = table_of(tmp_path / "in.parquet", rows)
    with MediaPipe(python) as finder:
        summary = label_table(table, tmp_path / "out.parquet", landmarks=finder, points=(4, 15))
    assert summary["splits"]["train"]["face_not_found"] == 1
    out = read_table([tmp_path / "out.parquet"], "train")
    assert out.face_found.tolist() == [1, 0]
    assert [EMOTIONS[i] for i in out.emotion] == ["anger", "fear"]
    np.testing.assert_allclose(out.box_px, [[20, 10, 50, 40], [1, 2, 11, 13]], atol=0.6)
    np.testing.assert_allclose(out.points[4][0], out.points[478][0][[468, 473, 61, 291], :2], atol=1e-4)
    assert np.isnan(out.points[478][1]).all()
    assert list(out.images) == list(read_table([table], "train").images)


def test_the_face_in_the_box_is_looked_at_and_no_other(python, tmp_path):
    image = picture((5, 5, 25, 25), size=(100, 200))
    image[60:90, 150:180] = (20, 220, 40)
    rows = [(image, Labels(box=(150.0, 60.0, 30.0, 30.0))), (image, Labels(box=(80.0, 40.0, 12.0, 12.0)))]
    with MediaPipe(python) as finder:
        label_table(table_of(tmp_path / "in.parquet", rows), tmp_path / "out.parquet", landmarks=finder)
    out = read_table([tmp_path / "out.parquet"], "train")
    assert out.face_found.tolist() == [1, 0]
    np.testing.assert_allclose(out.box_px[0], [150, 60, 180, 90], atol=0.6)


def test_the_tasks_api_gives_the_same(python, tmp_path):
    (tmp_path / "face_landmarker.task").write_bytes(b"the model")
    image = picture((20, 10, 50, 40))
    with MediaPipe(python) as one, MediaPipe(python, tmp_path / "face_landmarker.task") as other:
        np.testing.assert_array_equal(one.find(image), other.find(image))


def test_a_worker_that_dies_is_one_line(python):
    with MediaPipe(python) as finder, pytest.raises(DataError, match=r"worker ended \(the fake fell over\)"):
        finder.find(picture(fill=7))


def test_what_cannot_be_used_says_what_to_do(tmp_path):
    with pytest.raises(UsageError, match=r"No such file .*give a Python that has it"):
        MediaPipe(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="there is no file"):
        MediaPipe(None, tmp_path / "nowhere.task")
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\necho not me >&2\n")
    silent.chmod(0o755)
    with pytest.raises(UsageError, match=r"worker ended \(not me\)"):
        MediaPipe(silent)
    (tmp_path / "new").mkdir()
    np.save(tmp_path / "mesh.npy", unit_mesh())
    new = python_with(tmp_path / "new", FAKE.format(version="1.2", mesh=str(tmp_path / "mesh.npy"), solutions=""))
    with pytest.raises(UsageError, match=r"MediaPipe 1\.2 has no face mesh of its own: take 0\.10\.21, or"):
        MediaPipe(new)


@pytest.mark.slow
def test_the_real_mediapipe_finds_a_real_face():
    python = os.environ.get("VIDFER_MEDIAPIPE_PYTHON")
    if python is None:
        pytest.skip("THE REAL MEDIAPIPE IS NOT TESTED: name a Python that has it in VIDFER_MEDIAPIPE_PYTHON")
    clip = cv2.VideoCapture(str(Path(__file__).parents[2] / "examples" / "two_faces.mp4"))
    frame = cv2.cvtColor(clip.read()[1], cv2.COLOR_BGR2RGB)
    clip.release()
    with MediaPipe(Path(python)) as finder:
        mesh = finder.find(frame)
    assert mesh.shape == (478, 3)
    assert mesh[468, 0] < mesh[473, 0]
    assert ((mesh[:, :2] > 0) & (mesh[:, :2] < frame.shape[1::-1])).all()


onnx = pytest.importorskip("onnx", reason="TEACHERS ARE NOT TESTED: no onnx")


def made_teacher(path, shape, outputs, kind=onnx.TensorProto.FLOAT):
    """A network whose values are the mean of each channel times fixed numbers: outputs name -> f[C,L]."""
    axes = [1, 2] if shape[3] in (1, 3) else [2, 3]
    nodes = [
        onnx.helper.make_node("Cast", ["image"], ["f"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("ReduceMean", ["f"], ["mean"], axes=axes, keepdims=0),
    ]
    weights, given = [], []
    for name, matrix in outputs.items():
        matrix = np.asarray(matrix, np.float32)
        weights.append(onnx.numpy_helper.from_array(matrix, f"w_{name}"))
        nodes.append(onnx.helper.make_node("MatMul", ["mean", f"w_{name}"], [name]))
        given.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, matrix.shape[1]]))
    taken = [onnx.helper.make_tensor_value_info("image", kind, shape)]
    graph = onnx.helper.make_graph(nodes, "teacher", taken, given, weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


NO_BOX = np.full((1, 4), np.nan, np.float32)
PLAIN = {"mean": (0.0,), "std": (1.0,)}
RED_BLUE = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("shape", "kind", "scale"),
    [
        (["n", 3, 32, 32], onnx.TensorProto.FLOAT, 1.0),
        (["n", 32, 32, 3], onnx.TensorProto.FLOAT16, 1.0),
        (["n", 32, 32, 3], onnx.TensorProto.UINT8, 1 / 255),
        ([1, 3, "h", "w"], onnx.TensorProto.FLOAT, 1.0),
    ],
)
def test_layout_and_type_are_read_from_the_network(tmp_path, shape, kind, scale):
    path = made_teacher(tmp_path / "t.onnx", shape, {"va": RED_BLUE * scale}, kind)
    teacher = Teacher(path, TeacherOptions(labels=("valence", "arousal"), **PLAIN))
    assert teacher.size == (224 if "h" in shape else 32)
    image = np.zeros((40, 50, 3), np.uint8)
    image[..., 0], image[..., 2] = 51, 204
    emotions, affect = teacher.label([image] * 3, np.repeat(NO_BOX, 3, 0))
    assert emotions is None
    np.testing.assert_allclose(affect, [[0.2, 0.8]] * 3, atol=2e-3)
    _, swapped = Teacher(path, TeacherOptions(labels=("valence", "arousal"), bgr=True, **PLAIN)).label([image], NO_BOX)
    np.testing.assert_allclose(swapped, [[0.8, 0.2]], atol=2e-3)


def test_labels_are_sorted_and_logits_become_probabilities(tmp_path):
    logits = np.array([[0.0, 2.0, -1.0, 9.0, 0.3, -0.4]] * 3) / 3
    path = made_teacher(tmp_path / "t.onnx", ["n", 3, 32, 32], {"all": logits})
    labels = ("Angry", "happy", "contempt", "-", "valence", "arousal")
    image = np.full((40, 40, 3), 255, np.uint8)
    emotions, affect = Teacher(path, TeacherOptions(labels=labels, **PLAIN)).label([image], NO_BOX)
    powers = np.exp([2.0, 0.0, -1.0])  # happiness, anger, contempt in the order of EMOTIONS
    np.testing.assert_allclose(emotions[0, [1, 6, 7]], powers / powers.sum(), atol=1e-5)
    assert emotions[0].sum() == pytest.approx(1)
    np.testing.assert_allclose(affect, [[0.3, -0.4]], atol=1e-5)


@pytest.mark.parametrize(("told", "as_they_are"), [([0.7, 0.2, 0.1], True), ([0.9, 0.8, 0.4], False)])
def test_what_sums_to_more_than_all_is_no_probability(tmp_path, told, as_they_are):
    path = made_teacher(tmp_path / "t.onnx", ["n", 3, 32, 32], {"all": np.array([told] * 3) / 3})
    options = TeacherOptions(labels=("neutral", "happy", "sad"), **PLAIN)
    emotions, _ = Teacher(path, options).label([np.full((40, 40, 3), 255, np.uint8)], NO_BOX)
    expected = np.array(told) if as_they_are else np.exp(told) / np.exp(told).sum()
    np.testing.assert_allclose(emotions[0, :3], expected, atol=1e-5)


def test_a_last_row_alone_is_told_as_those_before_it(tmp_path):
    path = made_teacher(tmp_path / "t.onnx", ["n", 3, 32, 32], {"all": [[0.6, -2, 0], [0.2, 0.1, 0.3], [0, 0.1, 0.1]]})
    teacher = Teacher(path, TeacherOptions(labels=("neutral", "happy", "sad"), **PLAIN))
    red, green = np.zeros((2, 40, 40, 3), np.uint8)
    red[..., 0] = green[..., 1] = 255
    together, _ = teacher.label([red, green], np.repeat(NO_BOX, 2, 0))
    alone, _ = teacher.label([green], NO_BOX)  # 0.2, 0.1, 0.3 might be probabilities
    np.testing.assert_allclose(alone[0], together[1], atol=1e-6)


def test_the_face_in_the_box_is_what_it_sees(tmp_path):
    path = made_teacher(tmp_path / "t.onnx", ["n", 3, 32, 32], {"va": RED_BLUE})
    image = np.zeros((100, 100, 3), np.uint8)
    image[20:60, 20:60, 0] = 255
    box = np.array([[30, 30, 50, 50]], np.float32)
    _, affect = Teacher(path, TeacherOptions(labels=("valence", "arousal"), **PLAIN)).label([image], box)
    np.testing.assert_allclose(affect, [[1, 0]], atol=1e-4)
    wide = TeacherOptions(labels=("valence", "arousal"), margin=4.0, **PLAIN)
    np.testing.assert_allclose(Teacher(path, wide).label([image], box)[1], [[0.25, 0]], atol=0.02)


def test_our_own_networks_need_no_more_words(tmp_path):
    table = table_of(tmp_path / "in.parquet", [(picture((20, 10, 50, 40)), Labels())] * 3)
    teacher = Teacher(model_path("face_analyzer"), TeacherOptions())
    label_table(table, tmp_path / "out.parquet", teacher=teacher)
    out = read_table([tmp_path / "out.parquet"], "train")
    np.testing.assert_allclose(out.teacher.sum(1), 1, atol=1e-4)
    assert np.isfinite(out.teacher_va).all()
    assert out.face_found.tolist() == [-1] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "say with --teacher-labels what the values of t.onnx are"),
        ({"labels": ("happy", "sad")}, r"names 2 values, t.onnx gives 5 \(emotion: 3, features: 2\)"),
        ({"labels": ("happy", "sad", "bored")}, "'bored' is no expression"),
        ({"labels": ("happy", "valence", "sad")}, "must name valence and arousal, or none"),
        ({"labels": ("-",) * 3}, "names neither an expression nor valence"),
        (
            {"labels": ("happy", "sad", "fear"), "outputs": ("logits",)},
            "has no output logits; it has emotion, features",
        ),
    ],
)
def test_what_does_not_fit_the_teacher_is_refused(tmp_path, options, message):
    path = made_teacher(
        tmp_path / "t.onnx", ["n", 3, 32, 32], {"emotion": np.ones((3, 3)), "features": np.ones((3, 2))}
    )
    with pytest.raises((UsageError, DataError), match=message):
        Teacher(path, TeacherOptions(**options)).label([picture()], NO_BOX)
    right = TeacherOptions(labels=("happy", "sad", "fear"), outputs=("emotion",))
    assert Teacher(path, right).label([picture()], NO_BOX)[0].shape == (1, 8)


def test_networks_that_take_no_pictures_are_refused(tmp_path):
    path = made_teacher(tmp_path / "t.onnx", ["n", 3, 32, 48], {"va": RED_BLUE})
    labels = TeacherOptions(labels=("valence", "arousal"))
    with pytest.raises(
        DataError, match=re.escape("takes no square pictures of 1 or 3 channels: its input is [None, 3")
    ):
        Teacher(path, labels)
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(ModelError, match=r"cannot load the network junk\.onnx"):
        Teacher(tmp_path / "junk.onnx", labels)
