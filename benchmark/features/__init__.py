"""Networks that turn images into features; the small ones are shipped, the big one is fetched.

Adding a shipped network is adding an entry to NETWORKS and running `benchmark.features.train`.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.errors import unknown_name
from benchmark.features import inception
from benchmark.features.classifier import Architecture, ClassifierNetwork, read_weights
from benchmark.metrics.base import FeatureNetwork
from benchmark.spec import DataSpec

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class ShippedNetwork:
    """A classifier that comes with the program.

    Args:
        name: of the network; change it when the weights change, for values compare by it.
        dataset: whose train split it learnt from; it has seen no validation or test image.
        sha256: of the weights file, `weights/<name>.pt`.
        test_accuracy: share of the test split that the shipped weights classify rightly.
    """

    name: str
    dataset: str
    architecture: Architecture
    sha256: str
    test_accuracy: float

    @property
    def path(self) -> Path:
        return WEIGHTS / f"{self.name}.pt"


NETWORKS = {
    network.name: network
    for network in (
        ShippedNetwork(
            "digits-cnn",
            dataset="digits",
            architecture=Architecture((1, 8, 8), channels=(32, 64), features=64),
            sha256="2cc02feb647708cb15bfba008a3533877060d219eac266b21f01bb38e29a9bd8",
            test_accuracy=1.0,
        ),
        ShippedNetwork(
            "mnist-cnn",
            dataset="mnist",
            architecture=Architecture((1, 28, 28), channels=(16, 32, 64), features=128),
            sha256="ebf71fdd7c102b3b4c2634b77dd0272f2b7d7c5482f8c84c7ba5f2a214987713",
            test_accuracy=0.9951,
        ),
        ShippedNetwork(
            "fashion-mnist-cnn",
            dataset="fashion_mnist",
            architecture=Architecture((1, 28, 28), channels=(16, 32, 64), features=128),
            sha256="b829eaf0b3ee5f3d12a0d1c13450be7bdd1e1d3464feb542f1be64e506646a0a",
            test_accuracy=0.9246,
        ),
        ShippedNetwork(
            "cifar10-cnn",
            dataset="cifar10",
            architecture=Architecture((3, 32, 32), channels=(24, 48, 96), features=128),
            sha256="75af64716b6789a95cd82598e93399ffc0da9ca8f132ed7c524113271338eb24",
            test_accuracy=0.8123,
        ),
    )
}


def load_network(name: str, device: torch.device | str = "cpu") -> FeatureNetwork:
    """A shipped network by its name.

    Raises:
        UserError: there is none of this name, or its file is damaged.
    """
    if name not in NETWORKS:
        raise unknown_name("feature network", name, NETWORKS)
    shipped = NETWORKS[name]
    state = read_weights(shipped.path, shipped.sha256)
    return ClassifierNetwork(name, shipped.architecture, state, device)


def network_name_for(
    dataset_network: str | None, spec: DataSpec, inception_weights: Path | None = None
) -> str | None:
    """Name of the network that `network_for` gives; None where it gives a reason.

    Cheap: no network is built. Where Inception would serve and its weights are not on the disk,
    this tries to download them, once in a process.

    Raises:
        UserError: the given weights file cannot be read.
    """
    if _suits_inception(spec):
        file = inception.find_weights(inception_weights, download=True)
        if not isinstance(file, str):
            return file.network_name
    return dataset_network


def network_for(
    dataset_network: str | None,
    spec: DataSpec,
    inception_weights: Path | None = None,
    device: torch.device | str = "cpu",
) -> FeatureNetwork | str:
    """The network for a data set: Inception where it serves and is there, else the shipped one.

    Downloads nothing, so that all cells of a run use the network that `network_name_for` found.

    Args:
        dataset_network: name of the shipped classifier of the data set, None if it has none.
        spec: of the images.
        inception_weights: a file given by the user.
        device: for the network to compute on.

    Returns:
        the network, or in one sentence why there is none and what to do.

    Raises:
        UserError: the given weights file, or a shipped one, cannot be read.
    """
    if not spec.is_image:
        return "features are made from images of integers, and this data set holds real numbers"
    reason = "it is not RGB with 256 levels, which Inception takes"
    if _suits_inception(spec):
        file = inception.find_weights(inception_weights, download=False)
        if not isinstance(file, str):
            return inception.InceptionNetwork(file, device)
        reason = f"{file}; give them with --inception-weights FILE"
    if dataset_network is not None:
        return load_network(dataset_network, device)
    return f"no feature network for this data set: no classifier is shipped for it, and {reason}"


def _suits_inception(spec: DataSpec) -> bool:
    return spec.levels == 256 and spec.shape[0] == 3
