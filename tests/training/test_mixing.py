from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vidcnn.training.mixing import Mixing, mix

MIXUP = Mixing(mixup_alpha=0.8)
CUTMIX = Mixing(cutmix_alpha=1.0)
BOTH = Mixing(mixup_alpha=0.8, cutmix_alpha=1.0)
EVERY_WAY = pytest.mark.parametrize("mixing", [MIXUP, CUTMIX, BOTH], ids=["mixup", "cutmix", "both"])


def batch(num_samples: int, size: tuple[int, int] = (9, 12)) -> tuple[Tensor, Tensor]:
    """Noise, and multi-hot targets."""
    generator = torch.Generator().manual_seed(0)
    clips = torch.rand((num_samples, 3, 4, *size), generator=generator)
    return clips, (torch.rand((num_samples, 5), generator=generator) < 0.4).float()


def flat(num_samples: int, size: tuple[int, int] = (9, 12)) -> tuple[Tensor, Tensor]:
    """Clips that are 0 or 1 throughout, in turn, and targets that tell the samples of a pair apart."""
    values = torch.arange(num_samples) % 2
    clips = values.float()[:, None, None, None, None].expand(-1, 3, 4, *size).contiguous()
    return clips, torch.nn.functional.one_hot(values, 2).float()


def test_mixup_blends_a_pair_by_one_share_and_its_mirror_image() -> None:
    clips, targets = flat(8)
    mixed, mixed_targets = mix(clips, targets, 0, 3, MIXUP)
    shares = mixed_targets[0::2, 0]
    assert torch.equal(mixed_targets[1::2, 1], shares)
    assert torch.allclose(mixed_targets.sum(dim=1), torch.ones(8))
    for pair, share in enumerate(shares):
        assert torch.allclose(mixed[2 * pair], 1 - share)
        assert torch.allclose(mixed[2 * pair + 1], share)
    assert len(set(shares.tolist())) == 4


def test_cutmix_exchanges_one_box_in_all_frames_and_counts_its_pixels() -> None:
    clips, targets = flat(40)
    mixed, mixed_targets = mix(clips, targets, 0, 3, CUTMIX)
    assert torch.equal(mixed[0::2] + mixed[1::2], torch.ones_like(mixed[0::2]))
    areas = set()
    for own, target in zip(mixed[0::2], mixed_targets[0::2], strict=True):
        taken = own[0, 0] == 1  # pixels of the partner, (H, W)
        assert torch.equal(own, taken.float().expand_as(own))
        rows, columns = taken.any(dim=1), taken.any(dim=0)
        assert torch.equal(taken, rows[:, None] & columns[None])
        for side in (rows, columns):
            assert side.int().diff().clamp(min=0).sum() + side[0] <= 1  # one stretch
        assert target[1] == pytest.approx(taken.float().mean().item(), abs=1e-6)
        assert target.sum() == pytest.approx(1)
        areas.add(int(taken.sum()))
    assert len(areas) > 5


@EVERY_WAY
def test_two_halves_of_a_batch_are_mixed_like_the_whole(mixing: Mixing) -> None:
    clips, targets = batch(12)
    whole = mix(clips, targets, 24, 7, mixing)
    first, second = mix(clips[:4], targets[:4], 24, 7, mixing), mix(clips[4:], targets[4:], 28, 7, mixing)
    assert torch.equal(whole[0], torch.cat([first[0], second[0]]))
    assert torch.equal(whole[1], torch.cat([first[1], second[1]]))


@EVERY_WAY
def test_seed_and_number_decide_and_the_global_random_state_does_not(mixing: Mixing) -> None:
    clips, targets = batch(8)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    once = mix(clips, targets, 0, 7, mixing)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = mix(clips, targets, 0, 7, mixing)
    assert torch.equal(once[0], again[0])
    assert torch.equal(once[1], again[1])
    assert not torch.equal(once[1], mix(clips, targets, 0, 8, mixing)[1])
    assert not torch.equal(once[1], mix(clips, targets, 8, 7, mixing)[1])


def test_with_both_on_each_method_gets_about_half_of_the_pairs() -> None:
    clips, targets = flat(400, (4, 4))
    mixed, _ = mix(clips, targets, 0, 0, BOTH)
    is_mixup = ((mixed > 0) & (mixed < 1)).flatten(1).any(dim=1)
    assert torch.equal(is_mixup[0::2], is_mixup[1::2])
    assert 0.4 < is_mixup.float().mean() < 0.6


def test_several_labels_are_blended_each_by_itself() -> None:
    clips, targets = batch(2)
    targets = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    _, (a, b) = mix(clips, targets, 0, 0, MIXUP)
    assert a[1] == b[1] == pytest.approx(1)
    assert a[0] == b[2]
    assert a[0] + b[0] == pytest.approx(1)


@EVERY_WAY
def test_arguments_are_left_as_they_are_and_the_memory_format_stays(mixing: Mixing) -> None:
    clips, targets = batch(4)
    clips = clips.to(memory_format=torch.channels_last_3d)
    before = clips.clone(), targets.clone()
    mixed, mixed_targets = mix(clips, targets, 0, 0, mixing)
    assert torch.equal(clips, before[0])
    assert torch.equal(targets, before[1])
    assert mixed.is_contiguous(memory_format=torch.channels_last_3d)
    assert (mixed.dtype, mixed_targets.dtype) == (clips.dtype, targets.dtype)


def test_without_mixing_the_batch_passes() -> None:
    clips, targets = batch(2)
    mixed, mixed_targets = mix(clips, targets, 0, 0, Mixing())
    assert mixed is clips
    assert mixed_targets is targets


@settings(deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 100), st.integers(1, 8), st.integers(1, 8), st.booleans())
def test_shares_lie_between_none_and_all_and_sum_to_one(
    seed: int, alpha: float, height: int, width: int, is_cutmix: bool
) -> None:
    clips, targets = flat(4, (height, width))
    mixing = Mixing(cutmix_alpha=alpha) if is_cutmix else Mixing(mixup_alpha=alpha)
    mixed, mixed_targets = mix(clips, targets, 2, seed, mixing)
    assert (mixed_targets >= 0).all()
    assert torch.allclose(mixed_targets.sum(dim=1), torch.ones(4))
    # A clip of ones in one of zeros: its mean is its share, whichever way it got in.
    assert torch.allclose(mixed.mean(dim=(1, 2, 3, 4)), mixed_targets[:, 1], atol=1e-5)


@pytest.mark.parametrize(("num_samples", "first_sample"), [(3, 0), (4, 1), (4, -2)])
def test_a_pair_is_never_torn_apart(num_samples: int, first_sample: int) -> None:
    clips, targets = batch(num_samples)
    with pytest.raises(ValueError, match=f"{num_samples} samples from number {first_sample} on are not whole pairs"):
        mix(clips, targets, first_sample, 0, MIXUP)


def test_shapes_and_types_that_do_not_fit_are_refused() -> None:
    clips, targets = batch(4)
    with pytest.raises(ValueError, match=r"\(N, C, T, H, W\)"):
        mix(clips[0], targets, 0, 0, MIXUP)
    with pytest.raises(ValueError, match=r"\(N, C, T, H, W\)"):
        mix(clips, targets[:2], 0, 0, MIXUP)
    with pytest.raises(ValueError, match=r"torch.uint8.*must be floating point"):
        mix((clips * 255).to(torch.uint8), targets, 0, 0, MIXUP)
    with pytest.raises(ValueError, match=r"torch.int64.*must be floating point"):
        mix(clips, targets.long(), 0, 0, MIXUP)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["mixup_alpha", "cutmix_alpha"])
def test_an_alpha_that_cannot_be_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Mixing(**{name: value})
