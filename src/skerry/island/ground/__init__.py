"""What every face stands on: the same in each network, and in no network's words (docs/decisions/0027)."""
