"""Near-duplicate removal: token sets, candidate keys, exact verification, survivors with witnesses."""
