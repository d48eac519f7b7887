import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA

from benchmark.data import load_dataset
from benchmark.spec import DataSpec
from zoo.ppca import PPCA, DequantisedPPCA, _maximum_likelihood


def correlated(n, dims=6):
    return torch.randn(n, dims).double() @ torch.randn(dims, dims).double() + 3


def test_maximum_likelihood_is_scikit_learns():
    # scikit-learn divides by n - 1, which scales its covariance but not its directions.
    x = correlated(400)
    weight, mean, noise_var = _maximum_likelihood(x, 3)
    covariance = weight @ weight.T + noise_var * torch.eye(6)
    theirs = PCA(3).fit(x.numpy()).get_covariance() * (399 / 400)
    torch.testing.assert_close(covariance, torch.from_numpy(theirs))
    torch.testing.assert_close(mean, x.mean(dim=0))


def test_log_prob_is_that_of_the_marginal_gaussian():
    x = correlated(300)
    model = PPCA(DataSpec((6,)))
    model.fit(x.float(), x.float(), 1.0, None)
    covariance = model.weight @ model.weight.T + model.noise_var * torch.eye(6)
    expected = multivariate_normal(model.mean.numpy(), covariance.numpy()).logpdf(x.numpy())
    torch.testing.assert_close(model.log_prob(x), torch.from_numpy(expected))


def test_prior_decoder_and_posterior_belong_together():
    # Bayes: p(z) p(x | z) / p(z | x) = p(x), for any z.
    x = correlated(50)
    model = PPCA(DataSpec((6,)))
    model.fit(x.float(), x.float(), 1.0, None)
    z = torch.randn(50, model.weight.shape[1]).double()
    joint = model.prior().log_prob(z) + model.decode(z).log_prob(x)
    torch.testing.assert_close(joint - model.encode(x).log_prob(z), model.log_prob(x))


def test_the_number_of_latents_is_chosen_on_validation_data():
    weight = torch.randn(9, 2).double() * 3
    x = torch.randn(3_000, 2).double() @ weight.T + 0.1 * torch.randn(3_000, 9).double()
    model = PPCA(DataSpec((9,)))
    model.fit(x[:2_000].float(), x[2_000:].float(), 1.0, None)
    assert model.weight.shape[1] == 2


def test_images_are_dequantised_and_drawn_as_integers():
    data = load_dataset("digits")
    model = DequantisedPPCA(data.spec)
    model.fit(data.train, data.validation, 1.0, None)
    drawn = model.sample(10)
    assert drawn.dtype == torch.uint8
    assert drawn.max() <= 16
    assert (model.log_prob_bound(data.test) < 0).all()
