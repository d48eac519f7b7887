import hashlib
import io
import pickle
import urllib.error
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark.errors import UserError
from benchmark.features import inception, network_for, network_name_for
from benchmark.features.inception import InceptionNetwork, WeightsFile, find_weights
from benchmark.metrics.frechet import frechet_distance
from benchmark.metrics.inception_score import inception_score
from benchmark.metrics.kid import kernel_distance
from benchmark.spec import DataSpec

PHOTOGRAPHS = DataSpec((3, 32, 32), levels=256)


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory) -> Path:
    """A file in torch-fidelity's format, with random values that keep features alive."""
    from torch_fidelity import feature_extractor_inceptionv3 as fidelity

    class Untrained(fidelity.FeatureExtractorInceptionV3):
        def load_state_dict(self, state):
            for weight in self.parameters():
                if weight.ndim == 4:
                    nn.init.kaiming_normal_(weight, nonlinearity="relu")

    torch.manual_seed(11)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *_, **__: {})
        network = Untrained("untrained", ["2048"])
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path) -> Path:
    """A folder of torch's own that holds nothing, and no network."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    inception._download.cache_clear()
    return tmp_path / "hub"


def refuse(url, timeout):
    raise urllib.error.URLError("no network")


def file_of(path: Path) -> WeightsFile:
    return find_weights(path, download=False)


def publish(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr(inception, "PUBLISHED_SHA256", hashlib.sha256(content).hexdigest())


def test_features_are_those_of_torch_fidelity(random_weights, capsys):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    images = torch.randint(0, 256, (3, 3, 32, 24), dtype=torch.uint8)
    network = network_for(None, PHOTOGRAPHS, random_weights)
    result = network(images, 256)
    oracle = FeatureExtractorInceptionV3(
        "oracle", ["2048", "logits_unbiased"], feature_extractor_weights_path=random_weights
    )
    features, logits = oracle(images)
    torch.testing.assert_close(result.features, features, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(result.logits, logits, rtol=1e-5, atol=1e-5)
    assert (result.features.shape, result.logits.shape) == ((3, 2048), (3, 1008))
    assert result.features.std(dim=0).median() > 1e-3
    assert capsys.readouterr().out == ""


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_values_are_those_of_torch_fidelity_s_own_command(random_weights):
    # With fewer images than dimensions its FID is exact to a few digits only: test_frechet
    # compares the two where both are exact.
    from torch_fidelity import calculate_metrics

    real = torch.randint(0, 256, (24, 3, 16, 16), dtype=torch.uint8)
    generated = torch.randint(0, 40, (24, 3, 16, 16), dtype=torch.uint8)  # far from the real ones
    network = network_for(None, PHOTOGRAPHS, random_weights)
    seen = [network(images, 256) for images in (real, generated)]
    features = {"real": seen[0].features, "generated": seen[1].features}
    theirs = calculate_metrics(
        input1=_Images(generated),
        input2=_Images(real),
        feature_extractor_weights_path=str(random_weights),
        cuda=False,
        isc=True,
        isc_splits=1,
        fid=True,
        kid=True,
        kid_subset_size=12,
        rng_seed=5,
        cache=False,
        verbose=False,
    )
    score = inception_score(logits=seen[1].logits, splits=1)
    assert score == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    kid = kernel_distance(**features, seed=5)
    # Theirs are float32 sums of kernel values here; test_kid compares at double precision.
    assert kid.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)
    fid = frechet_distance(**features)
    assert fid == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)


class _Images(torch.utils.data.Dataset):
    """Images as torch-fidelity's command takes them."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, number):
        return self.images[number]


@pytest.mark.parametrize("size", [(1, 1), (2, 299), (32, 450)])
def test_images_are_enlarged_as_by_torch_fidelity(size):
    from torch_fidelity.interpolate_compat_tensorflow import (
        interpolate_bilinear_2d_like_tensorflow1x as oracle,
    )

    images = torch.randint(0, 256, (2, 3, *size)).float()
    expected = oracle(images, size=(299, 299), align_corners=False)
    torch.testing.assert_close(inception._enlarged(images), expected, rtol=1e-6, atol=1e-4)


def test_images_that_inception_does_not_take_are_refused(random_weights):
    network = InceptionNetwork(file_of(random_weights))
    with pytest.raises(ValueError, match=r"got \[2, 1, 8, 8\] with 256"):
        network(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), 256)
    with pytest.raises(ValueError, match="with 17"):
        network(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), 17)


def test_a_given_file_has_its_own_name_and_the_published_one_has_none(random_weights, monkeypatch):
    content = random_weights.read_bytes()
    digits = hashlib.sha256(content).hexdigest()[:8]
    own = network_name_for(None, PHOTOGRAPHS, random_weights)
    assert own == f"inception-v3-compat-{digits}"
    publish(monkeypatch, content)
    assert network_name_for(None, PHOTOGRAPHS, random_weights) == "inception-v3-compat"


def test_inception_serves_photographs_only(random_weights):
    grey = DataSpec((1, 8, 8), levels=17)
    assert network_name_for("digits-cnn", PHOTOGRAPHS, random_weights).startswith("inception")
    assert network_name_for("digits-cnn", grey, random_weights) == "digits-cnn"


def test_building_the_network_draws_no_random_numbers(random_weights):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    InceptionNetwork(file_of(random_weights))
    assert torch.equal(torch.rand(4), expected)


# Files that are no weights


class Treacherous:
    """Runs code where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        InceptionNetwork(file_of(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_that_holds_code_is_refused_and_the_code_does_not_run(tmp_path):
    marker = tmp_path / "ran"
    zipped, bare = tmp_path / "zipped.pth", tmp_path / "bare.pth"
    torch.save({"fc.weight": Treacherous(marker)}, zipped)
    bare.write_bytes(pickle.dumps(Treacherous(marker)))
    assert "holds more than tensors" in refused(zipped)
    assert "holds more than tensors" in refused(bare)
    assert not marker.exists()


def save(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path


def test_files_without_the_right_tensors_are_refused(tmp_path, random_weights):
    state = torch.load(random_weights, weights_only=True)
    shape = {**state, "fc.weight": torch.zeros(1000, 2048)}
    assert "tensors are missing" in refused(save(tmp_path / "few.pth", {"a": torch.ones(2)}))
    assert "tensors are missing" in refused(save(tmp_path / "tensor.pth", torch.ones(2)))
    assert "other shapes" in refused(save(tmp_path / "shape.pth", shape))


def test_damaged_files_are_refused(tmp_path, random_weights):
    content = random_weights.read_bytes()
    for damaged in (b"", b"text", content[: len(content) // 2]):
        path = tmp_path / "damaged.pth"
        path.write_bytes(damaged)
        assert "no Inception weights" in refused(path)


def test_a_missing_file_is_reported_before_anything_is_built(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the Inception weights .*nothing\.pth"):
        network_name_for(None, PHOTOGRAPHS, tmp_path / "nothing.pth")


def test_a_file_that_changed_after_it_was_named_is_refused(tmp_path):
    path = save(tmp_path / "weights.pth", {"a": torch.ones(2)})
    file = file_of(path)
    save(path, {"a": torch.ones(3)})
    with pytest.raises(UserError, match="changed"):
        InceptionNetwork(file)


# The published file


def test_without_network_there_is_a_reason_and_it_is_looked_for_once(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(
        "urllib.request.urlopen", lambda *a, **k: asked.append(a) or refuse(*a, **k)
    )
    for _ in range(3):
        assert "no network" in find_weights(None, download=True)
    assert len(asked) == 1
    assert network_name_for("cifar10-cnn", PHOTOGRAPHS) == "cifar10-cnn"
    assert capsys.readouterr().out == ""


def test_an_answer_that_never_comes_is_a_reason(monkeypatch):
    def wait(url, timeout):
        assert timeout <= 10
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib.request.urlopen", wait)
    assert "timed out" in find_weights(None, download=True)


def test_a_download_is_checked_and_kept_where_torch_fidelity_keeps_it(monkeypatch, empty_cache):
    publish(monkeypatch, b"the weights")
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(b"the weights"))
    file = find_weights(None, download=True)
    assert file.path == empty_cache / "checkpoints" / inception.PUBLISHED_FILE
    assert file.path.read_bytes() == b"the weights"
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    assert find_weights(None, download=False) == file
    assert network_name_for(None, PHOTOGRAPHS) == "inception-v3-compat"


def test_a_download_of_something_else_is_not_kept(monkeypatch, empty_cache):
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(b"a login page"))
    assert "wrong SHA-256" in find_weights(None, download=True)
    assert not empty_cache.exists()


def test_a_damaged_cached_file_is_not_used(empty_cache):
    path = inception.published_path()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half of it")
    assert "damaged" in find_weights(None, download=True)


def test_choosing_the_network_of_a_cell_downloads_nothing(monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: pytest.fail("asked the network"))
    assert "not on this machine" in network_for(None, PHOTOGRAPHS)


def test_the_address_is_torch_fidelitys():
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    assert inception.PUBLISHED_URL == URL_INCEPTION_V3
