"""`python -m benchmark calibrate`: are p-values uniform, intervals honest and verdicts earned?"""
