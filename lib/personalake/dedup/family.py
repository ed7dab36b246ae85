"""How a text becomes a set of tokens, and a set candidate keys: the same for every batch of a store."""

from __future__ import annotations

from dataclasses import dataclass

from personalake.dedup.exact import exact_keys
from personalake.dedup.minhash import Bands, Coefficients, band_keys, choose_bands, signatures
from personalake.dedup.ragged import Ragged
from personalake.settings import DedupSettings


@dataclass(frozen=True)
class Family:
    """With coefficients and bands the keys are MinHash's; without, the exact ones of *threshold*.

    *shingle* is the number of tokens that make an element of a set.
    """

    threshold: float
    shingle: int = 1
    coefficients: Coefficients | None = None
    bands: Bands | None = None

    @classmethod
    def of(cls, settings: DedupSettings, coefficients: Coefficients | None) -> Family:
        """The family that the settings ask for; *coefficients* are those of the store, null for the exact method."""
        if coefficients is None:
            return cls(settings.threshold)
        bands = choose_bands(settings.threshold, settings.recall, coefficients.tables)
        return cls(settings.threshold, 1, coefficients.first(bands.b * bands.r), bands)

    @property
    def method(self) -> str:
        """What `duplicates` and `hub_keys` call it."""
        return "exact" if self.bands is None else "minhash"

    @property
    def keys_a_row(self) -> int:
        """About so many keys a row has."""
        return 6 if self.bands is None else self.bands.b

    def keys(self, sets: Ragged) -> Ragged:
        """Each set's candidate keys."""
        if self.bands is None or self.coefficients is None:
            return exact_keys(sets, self.threshold)
        return band_keys(signatures(sets, self.coefficients), self.bands)
