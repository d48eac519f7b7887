"""log p(x) where no formula exists: bounds and estimates for latent-variable models."""
