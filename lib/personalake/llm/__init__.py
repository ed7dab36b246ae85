"""Paid work: requests in, completions out, each paid for once."""
