"""Sharpness: the radial power spectrum of samples beside that of real images."""

from functools import partial

import torch
from torch import Tensor

from benchmark.metrics.base import Evidence, Measurement, NotApplicable
from benchmark.randomness import generator

IMAGES_AT_ONCE = 1_000


def measure(evidence: Evidence) -> Measurement:
    """The distance of log spectra in dB; details hold both mean spectra for a figure."""
    levels = evidence.spec.levels
    if levels is None:
        raise NotApplicable("points have no spectrum: it is of images")
    if min(evidence.spec.shape[1:]) < 4:
        raise NotApplicable("images of fewer than 4 pixels a side have no spectrum to speak of")
    real = radial_spectra(evidence.real, levels)
    generated = radial_spectra(evidence.generated, levels)
    distance = partial(log_spectral_distance, rounding=rounding_power(levels))
    details = {
        "real": real.mean(dim=0).tolist(),
        "generated": generated.mean(dim=0).tolist(),
    }
    return Measurement.of_statistic(
        distance,
        drawn=generator("spectral", evidence.seed),
        n=len(generated),
        lowest=0.0,
        details=details,
        real=real,
        generated=generated,
    )


def log_spectral_distance(*, real: Tensor, generated: Tensor, rounding: float) -> float:
    """Root mean square difference of two mean power spectra in decibels, over frequencies.

    Args:
        real: [n, r] spectra of real images.
        generated: [m, r] spectra of generated images.
        rounding: power that rounding to grey levels adds at every frequency; added to both, so
            that frequencies without any power (constant images) count as far as levels resolve.

    Returns:
        dB, 0 for equal spectra; 3 dB is a factor of two in power. Above 0 in expectation at
        finite n, so compare with the row of real data.

    Source: Gray and Markel 1976, "Distance measures for speech processing", IEEE Transactions
    on Acoustics, Speech, and Signal Processing 24(5), for the distance; Durall et al. 2020,
    arXiv:2003.01826, for spectra averaged over directions.
    """
    powers = [spectra.double().mean(dim=0) + rounding for spectra in (real, generated)]
    decibels = 10 * (powers[1] / powers[0]).log10()
    return decibels.square().mean().sqrt().item()


def radial_spectra(images: Tensor, levels: int) -> Tensor:
    """Power of every image at each spatial frequency, averaged over directions and channels.

    Args:
        images: [n, C, H, W] integers 0..levels-1, taken to [0, 1].
        levels: of grey.

    Returns:
        [n, r] for the frequencies 1, 2, .. r = min(H, W) / 2, in cycles per shorter side, each
        with those that round to it; scaled so that white noise has its variance at every one.
        The mean brightness, frequency 0, is left out.
    """
    rings = _rings(*images.shape[2:]).flatten()  # [H * W]
    highest = min(images.shape[2:]) // 2
    mask = (rings[:, None] == torch.arange(1, highest + 1)).double()  # [H * W, r]
    mask /= mask.sum(dim=0)
    return torch.cat([_power(part, levels) @ mask for part in images.split(IMAGES_AT_ONCE)])


def rounding_power(levels: int) -> float:
    """Variance of the error that rounding [0, 1] to grey levels makes."""
    return 1 / (12 * (levels - 1) ** 2)


def _power(images: Tensor, levels: int) -> Tensor:
    """[n, H * W] squared Fourier coefficients, averaged over channels."""
    pixels = images.cpu().double() / (levels - 1)
    power = torch.fft.fft2(pixels, norm="ortho").abs().square()
    return power.mean(dim=1).flatten(1)


def _rings(height: int, width: int) -> Tensor:
    """[H, W] distance of each Fourier coefficient from frequency 0, rounded."""
    shorter = min(height, width)
    down, across = (torch.fft.fftfreq(side).double() * shorter for side in (height, width))
    return torch.hypot(down[:, None], across).round()
