"""Every network of the registry with every head: shapes, what it may not depend on, costs of the papers."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch", reason="NETWORKS ARE NOT TESTED: no torch")

from vidfer.errors import UsageError  # noqa: E402
from vidfer.train.networks.registry import NETWORKS, Heads, NetworkOptions, build, describe  # noqa: E402
from vidfer.types import EMOTIONS  # noqa: E402

SEVEN = tuple(name for name in EMOTIONS if name != "contempt")
FIVE = ("neutral", "happiness", "sadness", "surprise", "anger")
EVERYTHING = Heads(emotion=EMOTIONS, valence_arousal=True, landmarks=478, box=True)
SIDE = {"fast": 48, "resnet18": 64, "resnet18_small": 48}


def small(name: str, heads: Heads = EVERYTHING, **options):
    torch.manual_seed(1)
    return build(NetworkOptions(name=name, input_px=SIDE[name], **options), heads)


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
    net = small(name, heads).eval()
    with torch.no_grad():
        found = net(pictures(3, net.input_px))
    assert {key: tuple(value.shape[1:]) for key, value in found.items()} == shapes
    assert tuple(found) == heads.names == tuple(shapes)
    assert all(len(value) == 3 and value.dtype == torch.float32 for value in found.values())
    if "valence_arousal" in found:
        assert float(found["valence_arousal"].abs().max()) < 1


@pytest.mark.parametrize("options", [{}, {"channel_attention": True, "grey": True}], ids=["plain", "attention, grey"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_picture_is_told_the_same_alone_and_among_others(name, options):
    net = small(name, **options).eval()
    batch = pictures(5, net.input_px)
    with torch.no_grad():
        together = net(batch)
        alone = [net(batch[i : i + 1]) for i in range(5)]
    for key, value in together.items():
        torch.testing.assert_close(torch.cat([one[key] for one in alone]), value, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_lower_every_loss(name):
    net = small(name, channel_attention=True).train()
    batch = pictures(8, net.input_px)
    wanted = {
        "emotion": torch.arange(8),
        "valence_arousal": torch.linspace(-0.8, 0.8, 16).reshape(8, 2),
        "landmarks": torch.rand(8, 478, 3, generator=torch.Generator().manual_seed(2)) * net.input_px,
        "box": torch.tensor([4.0, 5, 40, 44]).expand(8, 4),
    }
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    curve = []
    for _ in range(6):
        found = net(batch)
        parts = {
            key: torch.nn.functional.cross_entropy(found[key], wanted[key])
            if key == "emotion"
            else (found[key] - wanted[key]).abs().mean()
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
    net = small(name, Heads(landmarks=5)).eval()
    side = net.input_px
    here = torch.full((1, side, side, 3), 200, dtype=torch.uint8)
    there = here.clone()
    here[:, : side // 2, : side // 2], there[:, side // 2 :, side // 2 :] = 0, 0
    with torch.no_grad():
        assert float((net(here)["landmarks5"] - net(there)["landmarks5"]).abs().max()) > 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_new_points_and_boxes_start_around_the_middle_of_the_picture(name):
    net = small(name).eval()
    with torch.no_grad():
        found = net(pictures(2, net.input_px))
    middle = (net.input_px - 1) / 2
    assert float(found["landmarks"][..., :2].mean()) == pytest.approx(middle, abs=0.1 * net.input_px)
    assert float(found["landmarks"][..., 2].mean()) == pytest.approx(0, abs=0.1 * net.input_px)
    assert float(found["box"].mean()) == pytest.approx(middle, abs=0.2 * net.input_px)


@pytest.mark.parametrize("name", NETWORKS)
def test_grad_cam_gets_a_map_that_reaches_the_emotions(name):
    net = small(name).eval()
    kept = []
    handle = net.features_layer.register_forward_hook(lambda _, __, output: kept.append(output))
    found = net(pictures(2, net.input_px))
    handle.remove()
    (gradient,) = torch.autograd.grad(found["emotion"].sum(), kept[0])
    assert kept[0].shape[:2] == (2, net.trunk.channels[2])
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_grey_networks_see_no_colour(name):
    net = small(name, grey=True).eval()
    grey = pictures(2, net.input_px)[..., :1].expand(-1, -1, -1, 3)
    colours = grey.clone().float()
    colours[..., 0] += 0.587 * 20  # as much red as green is taken away: equal brightness
    colours[..., 1] -= 0.299 * 20
    with torch.no_grad():
        there, here = net(colours), net(grey)
    torch.testing.assert_close(there["emotion"], here["emotion"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_gives_points_in_full_precision(name):
    net = small(name).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = net(pictures(2, net.input_px))
    assert all(value.dtype == torch.float32 for value in found.values())


@pytest.mark.parametrize("options", [{}, {"channel_attention": True, "grey": True}], ids=["plain", "attention, grey"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_traced_with_any_batch(name, options):
    net = small(name, **options).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(net, pictures(2, net.input_px), strict=False)
    with torch.no_grad():
        for count in (1, 7):
            batch = pictures(count, net.input_px, seed=count)
            expected = net(batch)
            for key, value in traced(batch).items():
                torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-3)


def test_costs_are_those_of_the_papers():
    """He et al.: 1.8 GFLOP, as multiply-adds. torchvision: 11,689,512 parameters, 513,000 of them the classifier's."""
    net = build(NetworkOptions(name="resnet18"), Heads(valence_arousal=True))
    cost = describe(net)
    head = 512 * 2 + 2
    assert cost.parameters == 11_689_512 - 513_000 + head
    assert cost.gflop == pytest.approx(2 * 1.814, rel=0.001)
    assert net.training


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
