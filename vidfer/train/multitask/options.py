"""What a recipe says about losses, augmentation and data; every key is described in docs/training.md."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from vidfer.train.multitask.tables import above, within
from vidfer.vision.geometry import CROP_SCALE


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionLoss:
    """Of the logits.

    Attributes:
        kind: Cross-entropy, or focal loss (Lin et al., 2017).
        weight: Of this part in the sum.
        label_smoothing: Share of the target that is spread over all classes.
        class_weights: "balanced" lets every class count the same in sum, however rare it is.
        focal_gamma: How much less rows count that are right already; 0 is cross-entropy.
        votes: Learn the distribution of people's votes where a row has one, not the one class.
    """

    kind: Literal["cross_entropy", "focal"] = "cross_entropy"
    weight: float = 1.0
    label_smoothing: float = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    focal_gamma: float = 2.0
    votes: bool = True

    def __post_init__(self) -> None:
        within("weight", self.weight, 0)
        within("label_smoothing", self.label_smoothing, 0, 0.99)
        within("focal_gamma", self.focal_gamma, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValenceArousalLoss:
    """Of valence and arousal, in their own unit.

    Attributes:
        kind: A distance, or 1 - mean concordance of the batch (CCC) plus the mean squared error.
        weight: Of this part in the sum.
        threshold: Error at which smooth_l1 and huber turn from a square to a line.
    """

    kind: Literal["mse", "smooth_l1", "huber", "ccc_mse"] = "ccc_mse"
    weight: float = 0.5
    threshold: float = 0.1

    def __post_init__(self) -> None:
        within("weight", self.weight, 0)
        above("threshold", self.threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class LandmarksLoss:
    """Of points, in shares of the crop's side: 0.01 is 1.12 px of a crop of 112 px.

    Attributes:
        kind: A distance, or the wing loss (Feng et al., 2018).
        weight: Of this part in the sum.
        threshold: Error at which smooth_l1 and huber turn from a square to a line.
        wing_width: Error at which the wing loss turns from a logarithm to a line.
        wing_curvature: The smaller, the more small errors count.
    """

    kind: Literal["mse", "smooth_l1", "huber", "wing"] = "smooth_l1"
    weight: float = 5.0
    threshold: float = 0.01
    wing_width: float = 0.04
    wing_curvature: float = 0.008

    def __post_init__(self) -> None:
        within("weight", self.weight, 0)
        for name in ("threshold", "wing_width", "wing_curvature"):
            above(name, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxLoss:
    """Of the four sides of the box, in shares of the crop's side.

    Attributes:
        kind: A distance.
        weight: Of this part in the sum.
        threshold: Error at which smooth_l1 and huber turn from a square to a line.
    """

    kind: Literal["mse", "smooth_l1", "huber"] = "smooth_l1"
    weight: float = 4.0
    threshold: float = 0.02

    def __post_init__(self) -> None:
        within("weight", self.weight, 0)
        above("threshold", self.threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationLoss:
    """Of what the network says against what a teacher says (Hinton et al., 2015); off unless a weight is given.

    Attributes:
        weight: Of the emotions' part in the sum.
        temperature: Both distributions are softened by it, and the part is multiplied by its square.
        valence_arousal_weight: Of the mean squared error to the teacher's valence and arousal.
    """

    weight: float = 0.0
    temperature: float = 2.0
    valence_arousal_weight: float = 0.0

    def __post_init__(self) -> None:
        within("weight", self.weight, 0)
        within("valence_arousal_weight", self.valence_arousal_weight, 0)
        above("temperature", self.temperature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """One table for each head, and one for a teacher."""

    emotion: EmotionLoss = field(default_factory=EmotionLoss)
    valence_arousal: ValenceArousalLoss = field(default_factory=ValenceArousalLoss)
    landmarks: LandmarksLoss = field(default_factory=LandmarksLoss)
    box: BoxLoss = field(default_factory=BoxLoss)
    distillation: DistillationLoss = field(default_factory=DistillationLoss)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augment:
    """How training crops are changed, and their labels with them; 0 leaves a change out.

    Amounts of the crop: `jitter`, `offset`, `scale`, `rotation`, `shear`. Everything else is the share of the crops
    that get it.

    Attributes:
        flip: Mirrored; left and right points change places.
        jitter: Corners of the crop move by up to this share of its side, as boxes of detectors are off.
        offset: Standard deviation of the crop's middle, as a share of its side.
        scale: Standard deviation of the logarithm of the crop's size.
        rotation: Turns of up to so many degrees.
        shear: Top and bottom move sideways against each other by up to this share of the crop's side.
        colour: Exposure, contrast, gamma and colour cast.
        grey: No colour.
        blur: Out of focus or moved.
        low_resolution: Enlarged from a seventh to four sevenths of its px.
        jpeg: Compressed with a quality of 15 to 70.
        clahe: Contrast equalised place by place.
        erase: A rectangle of one colour or of noise hides a part (Zhong et al., 2020).
        mixup: Mixed with another crop of the batch (Zhang et al., 2018).
        mixup_alpha: Of the Beta distribution that the mixing shares are drawn from.
        cutmix: A rectangle is another crop's (Yun et al., 2019).
        cutmix_alpha: Of the Beta distribution that the rectangles' areas are drawn from.
    """

    flip: float = 0.5
    jitter: float = 0.0
    offset: float = 0.03
    scale: float = 0.08
    rotation: float = 10.0
    shear: float = 0.0
    colour: float = 0.4
    grey: float = 0.1
    blur: float = 0.1
    low_resolution: float = 0.15
    jpeg: float = 0.2
    clahe: float = 0.0
    erase: float = 0.15
    mixup: float = 0.0
    mixup_alpha: float = 0.2
    cutmix: float = 0.0
    cutmix_alpha: float = 1.0

    def __post_init__(self) -> None:
        highest = {"jitter": 0.5, "offset": 0.5, "scale": 0.5, "shear": 0.5, "rotation": 180.0}
        for name in (f.name for f in fields(self)):
            if name.endswith("_alpha"):
                above(name, getattr(self, name))
            else:
                within(name, getattr(self, name), 0, highest.get(name, 1.0))
        within("the sum of mixup and cutmix", self.mixup + self.cutmix, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """Which part of a picture the network sees, and how rows are drawn.

    Attributes:
        crop: "box" cuts a square around the face's box; a row without one, and all with "none", is seen whole,
            its border repeated to make it square.
        margin: Side of the crop / longer side of the box.
        batch_size: Rows of a step.
        sampling: "balanced" draws every class as often; "uniform" shows each row once an epoch.
        held_out: Share of the groups (persons, clips, pictures) of each set that choose the best weights.
        memory_mb: Decoded pictures are kept up to this size; further ones are decoded whenever they are drawn.
    """

    crop: Literal["box", "none"] = "box"
    margin: float = CROP_SCALE
    batch_size: int = 64
    sampling: Literal["uniform", "balanced"] = "uniform"
    held_out: float = 0.1
    memory_mb: int = 2048

    def __post_init__(self) -> None:
        within("margin", self.margin, 0.5, 4)
        within("batch_size", self.batch_size, 2)  # norms of a batch need two rows
        within("held_out", self.held_out, 0.001, 0.9)
        within("memory_mb", self.memory_mb, 0)
