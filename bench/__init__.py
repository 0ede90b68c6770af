"""Measured ratios: every figure stands beside a peer that ran in the same minute on the same machine."""
