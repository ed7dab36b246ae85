"""How a text becomes a set of tokens, and a set candidate keys: the same for every batch of a store."""

from __future__ import annotations

from dataclasses import dataclass

from personalake.dedup.exact import exact_keys
from personalake.dedup.minhash import Bands, Coefficients, band_keys, choose_bands, signatures
from personalake.dedup.ragged import Ragged


@dataclass(frozen=True)
class Family:
    """With coefficients and bands the keys are MinHash's; without, the exact ones of *threshold*.

    *shingle* is the number of tokens that make an element of a set; *drawn* says how the coefficients were.
    """

    threshold: float
    shingle: int = 1
    coefficients: Coefficients | None = None
    bands: Bands | None = None
    drawn: str = ""

    @classmethod
    def of_hashes(
        cls, coefficients: Coefficients, threshold: float, recall: float, shingle: int = 1, drawn: str = ""
    ) -> Family:
        """The family of MinHash that finds the share *recall* of pairs at *threshold*."""
        bands = choose_bands(threshold, recall, coefficients.tables)
        return cls(threshold, shingle, coefficients.first(bands.b * bands.r), bands, drawn)

    @property
    def method(self) -> str:
        """What `duplicates` calls it."""
        return "exact" if self.bands is None else "minhash"

    @property
    def name(self) -> str:
        """What all rows that are compared with each other were made with, in words."""
        of = "" if self.shingle == 1 else f" of {self.shingle} tokens"
        hashes = "" if self.bands is None else f", {self.bands.b} bands of {self.bands.r} hashes{self.drawn}"
        return f"{self.method} at {self.threshold}{of}{hashes}"

    @property
    def keys_a_row(self) -> int:
        """About so many keys a row has."""
        return 6 if self.bands is None else self.bands.b

    def keys(self, sets: Ragged) -> Ragged:
        """Each set's candidate keys."""
        if self.bands is None or self.coefficients is None:
            return exact_keys(sets, self.threshold)
        return band_keys(signatures(sets, self.coefficients), self.bands)
