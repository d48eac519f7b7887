"""The instrument: what runs models, measures them and reports. It knows no model by name."""

__version__ = "0.1.0"
