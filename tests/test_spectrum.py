import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sample_evidence import images_evidence, points_evidence

from benchmark.data import load_dataset
from benchmark.metrics.base import NotApplicable
from benchmark.metrics.spectrum import (
    log_spectral_distance,
    measure,
    radial_spectra,
    rounding_power,
)
from benchmark.spec import DataSpec


def spectrum_by_hand(image, levels):
    """Of one image [C, H, W], coefficient by coefficient."""
    _, height, width = image.shape
    shorter = min(height, width)
    sums, counts = np.zeros(shorter), np.zeros(shorter)
    for plane in image.double().numpy() / (levels - 1):
        coefficients = np.fft.fft2(plane)
        for row in range(height):
            for column in range(width):
                down = min(row, height - row) * shorter / height
                across = min(column, width - column) * shorter / width
                ring = round(math.hypot(down, across))
                if ring < shorter:
                    sums[ring] += abs(coefficients[row, column]) ** 2 / (height * width)
                    counts[ring] += 1
    return (sums / np.maximum(counts, 1))[1 : shorter // 2 + 1]


def digits_evidence(generated, seed=0):
    data = load_dataset("digits")
    return replace(images_evidence(data.test, generated, "none", seed), spec=data.spec)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 10), (2, 9, 7)])
def test_spectra_are_the_sums_over_coefficients(shape):
    images = torch.randint(0, 17, (3, *shape), dtype=torch.uint8)
    expected = np.stack([spectrum_by_hand(image, 17) for image in images])
    np.testing.assert_allclose(radial_spectra(images, 17).numpy(), expected, rtol=1e-10)


def test_white_noise_has_its_variance_at_every_frequency():
    images = torch.randint(0, 256, (4_000, 1, 8, 8))
    variance = (256**2 - 1) / 12 / 255**2
    found = radial_spectra(images, 256).mean(dim=0)
    torch.testing.assert_close(found, torch.full((4,), variance).double(), rtol=0.02, atol=0.0)


def test_images_in_parts_are_the_same(monkeypatch):
    images = torch.randint(0, 17, (10, 1, 8, 8), dtype=torch.uint8)
    whole = radial_spectra(images, 17)
    monkeypatch.setattr("benchmark.metrics.spectrum.IMAGES_AT_ONCE", 4)
    assert torch.equal(radial_spectra(images, 17), whole)


def test_rounding_has_the_power_of_its_error():
    smooth = torch.rand(100_000).double()
    error = (smooth * 16).round() / 16 - smooth
    assert rounding_power(17) == pytest.approx(error.square().mean().item(), rel=0.02)


def test_distance_is_the_root_mean_square_of_decibels():
    real = torch.tensor([[1.0, 30.0, 2.0], [3.0, 10.0, 2.0]])  # means 2, 20, 2
    generated = torch.tensor([[20.0, 20.0, 0.2]])
    found = log_spectral_distance(real=real, generated=generated, rounding=0.0)
    assert found == pytest.approx(math.sqrt((10**2 + 0 + 10**2) / 3))


def test_brightness_alone_has_no_spectrum():
    images = torch.randint(0, 12, (50, 1, 8, 8), dtype=torch.uint8)
    spectra = [radial_spectra(shifted, 17) for shifted in (images, images + 5)]
    torch.testing.assert_close(*spectra)


def test_constant_images_have_a_finite_distance():
    found = measure(digits_evidence(torch.full((400, 1, 8, 8), 7, dtype=torch.uint8)))
    assert 5 < found.value < 60


def test_averaged_images_are_seen_as_blurred():
    data = load_dataset("digits")
    sharp = data.validation
    mean = torch.nn.functional.avg_pool2d(sharp.double(), 3, stride=1, padding=1)
    blurred = measure(digits_evidence(mean.round().to(torch.uint8)))
    floor = measure(digits_evidence(sharp))
    assert floor.value < 0.5
    assert blurred.value > 5
    real, generated = (blurred.details[name] for name in ("real", "generated"))
    assert all(g < 0.2 * r for r, g in zip(real[2:], generated[2:], strict=True))
    assert real == pytest.approx(radial_spectra(data.test, 17).mean(dim=0).tolist())


def test_error_is_near_the_spread_over_fresh_samples():
    def images(n, most):
        return torch.randint(0, most, (n, 1, 8, 8), dtype=torch.uint8)

    spec = DataSpec((1, 8, 8), levels=17)
    found = [
        measure(replace(images_evidence(images(60, 17), images(60, 12), "", s), spec=spec))
        for s in range(100)
    ]
    spread = np.std([m.value for m in found])
    assert np.mean([m.standard_error for m in found]) == pytest.approx(spread, rel=0.25)


def test_points_and_tiny_images_have_no_spectrum():
    with pytest.raises(NotApplicable, match="points have no spectrum"):
        measure(points_evidence(torch.randn(9, 2), torch.randn(9, 2)))
    tiny = torch.zeros(9, 1, 2, 8, dtype=torch.uint8)
    evidence = replace(images_evidence(tiny, tiny), spec=DataSpec((1, 2, 8), levels=5))
    with pytest.raises(NotApplicable, match="fewer than 4 pixels a side"):
        measure(evidence)
