"""`python -m benchmark speed`: what our ways of computing cost, against the plain ways."""
