"""Every network of the registry with every head: shapes, what it may not depend on, costs of the papers."""

from __future__ import annotations

import copy
import functools
import warnings

import pytest

torch = pytest.importorskip("torch", reason="NETWORKS ARE NOT TESTED: no torch")

from vidfer.errors import UsageError  # noqa: E402
from vidfer.train.networks.registry import NETWORKS, Heads, MultiTaskNet, NetworkOptions, build, describe  # noqa: E402
from vidfer.train.networks.trunk import ChannelAttention  # noqa: E402
from vidfer.types import EMOTIONS  # noqa: E402

SEVEN = tuple(name for name in EMOTIONS if name != "contempt")
FIVE = ("neutral", "happiness", "sadness", "surprise", "anger")
EVERYTHING = Heads(emotion=EMOTIONS, valence_arousal=True, landmarks=478, box=True)
SIDE = {"fast": 48, "resnet18": 64, "resnet18_small": 32, "mobilenet_v2": 64, "separable": 48}


@functools.cache  # most of the time goes into drawing weights
def small(name: str, **options):
    torch.manual_seed(1)
    net = build(NetworkOptions(name=name, input_px=SIDE[name], **options), EVERYTHING)
    norms = [layer for layer in net.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # what they see now; with a new network's statistics nothing would come through
    net(pictures(16, net.input_px))
    for norm in norms:
        norm.momentum = 0.1
    return net.eval()


def with_heads(name: str, heads: Heads):
    trunk, side = small(name).trunk, SIDE[name]
    return MultiTaskNet(trunk, heads, input_px=side, grey=False, imagenet=False, dropout=0.2).eval()


def pictures(count: int, side: int, seed: int = 0):
    return torch.randint(
        0, 256, (count, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("heads", "shapes"),
    [
        (EVERYTHING, {"emotion": (8,), "valence_arousal": (2,), "landmarks": (478, 3), "box": (4,)}),
        (Heads(emotion=SEVEN, landmarks=68), {"emotion": (7,), "landmarks68": (68, 2)}),
        (Heads(emotion=FIVE, landmarks=15), {"emotion": (5,), "landmarks15": (15, 2)}),
        (Heads(landmarks=5, box=True), {"landmarks5": (5, 2), "box": (4,)}),
        (Heads(landmarks=4), {"landmarks4": (4, 2)}),
        (Heads(valence_arousal=True), {"valence_arousal": (2,)}),
        (Heads(box=True), {"box": (4,)}),
    ],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_heads_have_their_names_order_and_shapes(name, heads, shapes):
    net = with_heads(name, heads)
    with torch.no_grad():
        found = net(pictures(3, net.input_px))
    assert {key: tuple(value.shape[1:]) for key, value in found.items()} == shapes
    assert tuple(found) == heads.names == tuple(shapes)
    assert all(len(value) == 3 and value.dtype == torch.float32 for value in found.values())
    if "valence_arousal" in found:
        assert float(found["valence_arousal"].abs().max()) < 1


@pytest.mark.parametrize("name", NETWORKS)
def test_a_picture_is_told_the_same_alone_and_among_others(name):
    net = small(name, channel_attention=True, grey=True)
    batch = pictures(5, net.input_px)
    with torch.no_grad():
        together = net(batch)
        alone = [net(batch[i : i + 1]) for i in range(5)]
    for key, value in together.items():
        torch.testing.assert_close(torch.cat([one[key] for one in alone]), value, rtol=1e-3, atol=5e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_lower_every_loss(name):
    net = copy.deepcopy(small(name, channel_attention=True, grey=True)).train()
    batch = pictures(8, net.input_px)
    wanted = {
        "emotion": torch.arange(8),
        "valence_arousal": torch.linspace(-0.8, 0.8, 16).reshape(8, 2),
        "landmarks": torch.rand(8, 478, 3, generator=torch.Generator().manual_seed(2)) * net.input_px,
        "box": torch.tensor([2.0, 3, 29, 28]).expand(8, 4),
    }
    net.dropout.eval()  # its noise is not what is tested
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    curve = []
    for _ in range(6):
        found = net(batch)
        parts = {
            key: torch.nn.functional.cross_entropy(found[key], wanted[key])
            if key == "emotion"
            else (found[key] - wanted[key]).square().mean() / (1 if key == "valence_arousal" else net.input_px**2)
            for key in wanted
        }
        optimizer.zero_grad()
        sum(parts.values()).backward()
        optimizer.step()
        curve.append({key: float(part.detach()) for key, part in parts.items()})
    assert all(p.grad is not None for p in net.parameters())
    assert all(curve[-1][key] < curve[0][key] for key in wanted), (curve[0], curve[-1])


@pytest.mark.parametrize("name", NETWORKS)
def test_points_follow_what_moves_and_means_alone_could_not(name):
    """The same dark spot at two places: after the trunk, nothing but the place differs."""
    net = with_heads(name, Heads(landmarks=5))
    side = net.input_px
    here = torch.full((1, side, side, 3), 200, dtype=torch.uint8)
    there = here.clone()
    here[:, : side // 2, : side // 2], there[:, side // 2 :, side // 2 :] = 0, 0
    with torch.no_grad():
        assert float((net(here)["landmarks5"] - net(there)["landmarks5"]).abs().max()) > 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_new_points_start_around_the_middle_of_the_picture(name):
    net = small(name)
    with torch.no_grad():
        found = net(pictures(2, net.input_px))
    middle = (net.input_px - 1) / 2
    assert float(found["landmarks"][..., :2].mean()) == pytest.approx(middle, abs=0.15 * net.input_px)
    assert float(found["landmarks"][..., 2].mean()) == pytest.approx(0, abs=0.15 * net.input_px)


@pytest.mark.parametrize("name", NETWORKS)
def test_grad_cam_gets_a_map_that_reaches_the_emotions(name):
    net = small(name)
    kept = []
    handle = net.features_layer.register_forward_hook(lambda _, __, output: kept.append(output))
    found = net(pictures(2, net.input_px))
    handle.remove()
    (gradient,) = torch.autograd.grad(found["emotion"].sum(), kept[0])
    assert kept[0].shape[:2] == (2, net.trunk.channels[2])
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_grey_networks_see_no_colour(name):
    net = small(name, channel_attention=True, grey=True)
    grey = pictures(2, net.input_px)[..., :1].expand(-1, -1, -1, 3)
    colours = grey.clone().float()
    colours[..., 0] += 0.587 * 20  # as much red as green is taken away: equal brightness
    colours[..., 1] -= 0.299 * 20
    with torch.no_grad():
        there, here = net(colours), net(grey)
    torch.testing.assert_close(there["emotion"], here["emotion"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_gives_points_in_full_precision(name):
    net = small(name)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = net(pictures(2, net.input_px))
    assert all(value.dtype == torch.float32 for value in found.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_run_elsewhere_with_any_batch(name, tmp_path):
    """Traced by TorchScript, on which ONNX and all other exports rest."""
    runtime = pytest.importorskip("onnxruntime", reason="NETWORKS ARE NOT TESTED AS ONNX: no onnxruntime")
    net = small(name, channel_attention=True, grey=True)
    path, first = tmp_path / "net.onnx", pictures(2, net.input_px)
    axes = {key: {0: "faces"} for key in ("image", *net.heads.names)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (first,), path, opset_version=17, dynamo=False, input_names=["image"],
            output_names=list(net.heads.names), dynamic_axes=axes,
        )  # fmt: skip
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 5):
        batch = pictures(count, net.input_px, seed=count)
        with torch.no_grad():
            expected = net(batch)
        for key, value in zip(net.heads.names, session.run(None, {"image": batch.numpy()}), strict=True):
            torch.testing.assert_close(torch.from_numpy(value), expected[key], rtol=1e-3, atol=5e-3)


def test_a_traced_network_gives_the_same_by_name():
    net = small("fast")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(net, pictures(2, net.input_px), strict=False)
    batch = pictures(7, net.input_px)
    with torch.no_grad():
        found, expected = traced(batch), net(batch)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "parameters", "classifier", "multiply_adds"),
    [
        ("resnet18", 11_689_512, 513_000, 1.814e9),  # torchvision; He et al. say 1.8 billion
        ("mobilenet_v2", 3_504_872, 1_281_000, 0.3008e9),  # torchvision; Sandler et al. say 300 million
    ],
)
def test_costs_are_those_of_the_papers(name, parameters, classifier, multiply_adds):
    net = build(NetworkOptions(name=name), Heads(valence_arousal=True))
    cost = describe(net)
    head = 2 * (net.trunk.channels[2] + 1)
    assert cost.parameters == parameters - classifier + head
    assert cost.gflop == pytest.approx((2 * multiply_adds - 2 * classifier) / 1e9, rel=0.002)
    assert net.training


@pytest.mark.parametrize("name", NETWORKS)
def test_attention_weighs_channels_and_costs_little(name):
    without, attentive = small(name), small(name, channel_attention=True, grey=True)
    more = describe(attentive).parameters - describe(without).parameters
    assert 0 < more < 0.1 * describe(without).parameters
    layer = next(module for module in attentive.modules() if isinstance(module, ChannelAttention))
    shape = (2, layer.weigh[0].in_channels, 5, 5)
    x = 0.1 + torch.rand(shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        share = layer(x) / x
    assert torch.allclose(share.amax((2, 3)), share.amin((2, 3)), atol=1e-5)  # one number for a whole channel
    assert 0 < float(share.min()) < float(share.max()) < 1


def test_the_packaged_networks_trunk_is_fast():
    from vidfer.train.model import FaceNet

    packaged, own = FaceNet().state_dict(), small("fast").trunk.state_dict()
    assert own.keys() <= packaged.keys()
    assert all(packaged[key].shape == value.shape for key, value in own.items())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: NetworkOptions(name="resnet"), "did you mean 'resnet18'"),
        (lambda: NetworkOptions(dropout=1.0), "dropout must be"),
        (lambda: NetworkOptions(name="fast", weights="w.pth"), "starts from scratch"),
        (
            lambda: build(NetworkOptions(name="resnet18", input_px=100), EVERYTHING),
            "multiple of 32 from 64 to 512, got 100",
        ),
        (lambda: build(NetworkOptions(input_px=16), EVERYTHING), "multiple of 16 from 32"),
        (lambda: Heads(), "needs a head"),
        (lambda: Heads(landmarks=21), "one of 4, 5, 15, 68, 478, got 21"),
        (lambda: Heads(emotion=("joy", "anger")), "no emotion is called 'joy'"),
        (lambda: Heads(emotion=("anger", "anger")), "different"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, says):
    with pytest.raises(UsageError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)
