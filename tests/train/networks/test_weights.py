"""Weights of ImageNet from a user's file: they fit by torchvision's names, or are refused in one line."""

from __future__ import annotations

import logging
import pickle
import random
from collections import OrderedDict

import pytest

torch = pytest.importorskip("torch", reason="WEIGHTS OF NETWORKS ARE NOT TESTED: no torch")

from safetensors.torch import save_file  # noqa: E402

from vidfer.errors import ModelError, UsageError  # noqa: E402
from vidfer.train.networks.registry import Heads, NetworkOptions, build  # noqa: E402
from vidfer.train.networks.weights import read_tensors  # noqa: E402

HEADS = Heads(valence_arousal=True)


def bn(name, width):
    numbers = {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
    return numbers | {f"{name}.num_batches_tracked": ()}


def resnet18():
    """torchvision's resnet18: names and shapes of its state dict, written down from its layout."""
    shapes = {"conv1.weight": (64, 3, 7, 7), **bn("bn1", 64)}
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            at, inputs = f"layer{stage}.{block}", before if block == 0 else width
            shapes |= {f"{at}.conv1.weight": (width, inputs, 3, 3), **bn(f"{at}.bn1", width)}
            shapes |= {f"{at}.conv2.weight": (width, width, 3, 3), **bn(f"{at}.bn2", width)}
            if block == 0 and stage > 1:
                shapes |= {f"{at}.downsample.0.weight": (width, inputs, 1, 1), **bn(f"{at}.downsample.1", width)}
        before = width
    return shapes | {"fc.weight": (1000, 512), "fc.bias": (1000,)}


def mobilenet_v2():
    """torchvision's mobilenet_v2, likewise."""
    shapes = {"features.0.0.weight": (32, 3, 3, 3), **bn("features.0.1", 32)}
    at, width = 1, 32
    for expansion, outputs, blocks in (
        (1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1),
    ):  # fmt: skip
        for _ in range(blocks):
            here, wide = f"features.{at}.conv", width * expansion
            if expansion > 1:
                shapes |= {f"{here}.0.0.weight": (wide, width, 1, 1), **bn(f"{here}.0.1", wide)}
            n = int(expansion > 1)
            shapes |= {f"{here}.{n}.0.weight": (wide, 1, 3, 3), **bn(f"{here}.{n}.1", wide)}
            shapes |= {f"{here}.{n + 1}.weight": (outputs, wide, 1, 1), **bn(f"{here}.{n + 2}", outputs)}
            at, width = at + 1, outputs
    shapes |= {"features.18.0.weight": (1280, 320, 1, 1), **bn("features.18.1", 1280)}
    return shapes | {"classifier.1.weight": (1000, 1280), "classifier.1.bias": (1000,)}


STORED = {"resnet18": (resnet18, 11_689_512), "mobilenet_v2": (mobilenet_v2, 3_504_872)}


def drawn(name):
    generator = torch.Generator().manual_seed(0)
    made = {}
    for key, shape in STORED[name][0]().items():
        whole = key.endswith("num_batches_tracked")
        made[key] = torch.tensor(7) if whole else torch.rand(shape, generator=generator) * 0.1
    return made


@pytest.mark.parametrize("name", STORED)
def test_the_list_of_layers_is_as_large_as_torchvisions(name):
    shapes, parameters = STORED[name]
    counted = [s for key, s in shapes().items() if not key.endswith(("running_mean", "running_var", "tracked"))]
    assert sum(torch.Size(shape).numel() for shape in counted) == parameters


def store(tensors, path, kind):
    if kind == "safetensors":
        save_file(tensors, path)
    else:  # torchvision's older files are not zipped
        torch.save(OrderedDict(tensors), path, _use_new_zipfile_serialization=kind == "zipped")


@pytest.mark.parametrize(
    ("name", "kind"), [("resnet18", "safetensors"), ("resnet18", "zipped"), ("mobilenet_v2", "not zipped")]
)
def test_a_file_is_taken_over_and_its_classifier_left_out(tmp_path, caplog, name, kind):
    path, tensors = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pth"), drawn(name)
    store(tensors, path, kind)
    with caplog.at_level(logging.WARNING):
        net = build(NetworkOptions(name=name, input_px=64, weights=path), HEADS)
    own = net.trunk.state_dict()
    assert all(torch.equal(own[key], value) for key, value in tensors.items() if key in own)
    left = {key for key in tensors if key not in own}
    assert left
    assert all(key.split(".")[0] in ("fc", "classifier") for key in left)
    assert all(key in caplog.text for key in left)
    assert net.pixels.mean.tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert net.pixels.std.tolist() == pytest.approx([58.395, 57.12, 57.375])


@pytest.mark.parametrize("name", STORED)
def test_grey_networks_with_attention_take_a_file_of_colours(tmp_path, name):
    """Added up over colours: on a grey picture the first layer gives what it gave for three equal colours."""
    path, tensors = tmp_path / "weights.safetensors", drawn(name)
    tensors = {key: value for key, value in tensors.items() if not key.endswith("tracked")}  # as in files of 2018
    save_file(tensors, path)
    options = NetworkOptions(name=name, input_px=64, weights=path, grey=True, channel_attention=True)
    own = build(options, HEADS).trunk.state_dict()
    first = next(iter(tensors))
    torch.testing.assert_close(own[first], tensors[first].sum(1, keepdim=True))
    second = list(tensors)[5]
    assert torch.equal(own[second], tensors[second])


def test_a_trained_network_knows_its_normalisation_without_the_file(tmp_path):
    save_file(drawn("resnet18"), tmp_path / "weights.safetensors")
    trained = build(NetworkOptions(name="resnet18", input_px=64, weights=tmp_path / "weights.safetensors"), HEADS)
    again = build(NetworkOptions(name="resnet18", input_px=64), HEADS)
    again.load_state_dict(trained.state_dict())
    picture = torch.full((1, 64, 64, 3), 90, dtype=torch.uint8)
    with torch.no_grad():
        found, expected = again.eval()(picture), trained.eval()(picture)
    assert torch.equal(found["valence_arousal"], expected["valence_arousal"])


def test_what_does_not_fit_names_the_first_tensors(tmp_path):
    tensors = drawn("resnet18")
    tensors["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    del tensors["layer1.0.bn2.bias"]
    tensors |= {"layer5.weight": torch.zeros(2), "layer6.weight": torch.zeros(2)}
    torch.save(tensors, tmp_path / "w.pt")
    with pytest.raises(ModelError) as caught:
        build(NetworkOptions(name="resnet18", weights=tmp_path / "w.pt"), HEADS)
    assert str(caught.value).endswith(
        "w.pt does not fit resnet18: conv1.weight is 64x3x3x3, needed is 64x3x7x7; "
        "layer1.0.bn2.bias is missing; layer5.weight is not known and 1 more"
    )


class _Evil:
    def __reduce__(self):
        return print, ("a pickle was carried out",)


def test_files_that_hold_no_weights_are_refused(tmp_path, capsys):
    def refused(name, error=ModelError):
        with pytest.raises(error) as caught:
            build(NetworkOptions(name="resnet18", weights=tmp_path / name), HEADS)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "cannot read" in refused("missing.pth")
    (tmp_path / "noise.safetensors").write_bytes(b"noise" * 99)
    assert "cannot read" in refused("noise.safetensors")
    (tmp_path / "noise.pth").write_bytes(b"noise" * 99)
    assert "cannot read" in refused("noise.pth")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(_Evil(), protocol=2))
    assert "cannot read" in refused("evil.pth")
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    assert "holds no weights" in refused("list.pt")
    torch.save({0: torch.zeros(2)}, tmp_path / "numbers.pt")
    assert "holds no weights" in refused("numbers.pt")
    assert ".safetensors, .pth or .pt" in refused("weights.h5", UsageError)
    assert "carried out" not in capsys.readouterr().out


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.filterwarnings("error")
def test_damaged_files_are_one_line_whatever_torch_raises(tmp_path, zipped):
    path, rng = tmp_path / "weights.pth", random.Random(0)
    torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=zipped)
    whole, said = path.read_bytes(), []
    for _ in range(100):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 5)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            read_tensors(path)
        except ModelError as error:
            said.append(str(error))
    assert len(said) > 15
    assert not any("\n" in line for line in said)
