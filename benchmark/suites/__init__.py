"""Suite files: which models are measured on which data, and under which conditions."""
