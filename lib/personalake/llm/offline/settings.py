"""What the offline endpoint is set to: models, prices, limits, flaws and faults."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...errors import SettingsError
from .faults import NO_FAULTS, FaultPlan

CHAT_MODEL = "offline-rules"
EMBEDDING_MODEL = "offline-embedding"
MODELS_CREATED = 1_750_000_000
RULES_VERSION = 1
SYSTEM_FINGERPRINT = f"fp_offline_{RULES_VERSION:04d}"
CONTEXT_TOKENS = 128_000
MAX_OUTPUT_TOKENS = 16_384
EMBEDDING_TOKENS = 8_192
EMBEDDING_INPUTS = 2_048
EMBEDDING_DIMENSIONS = 384


@dataclass(frozen=True)
class Prices:
    """Micro-dollars per million tokens; a batch costs half."""

    prompt: int = 150_000
    completion: int = 600_000
    embedding: int = 20_000


@dataclass(frozen=True)
class OfflineSettings:
    """Settings of one endpoint: *flaws* is the rate of deliberately bad replies, limits are per minute (0: none).

    With *api_keys* empty any bearer key is accepted. *batch_seconds* is how long a batch stays in each state.
    """

    flaws: float = 0.04
    rpm: int = 0
    tpm: int = 0
    api_keys: tuple[str, ...] = ()
    faults: FaultPlan = NO_FAULTS
    prices: Prices = field(default_factory=Prices)
    batch_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.flaws <= 1:
            raise SettingsError(f"flaws is {self.flaws}", where="offline endpoint", cure="a share from 0 to 1")
        if self.rpm < 0 or self.tpm < 0 or self.batch_seconds < 0:
            raise SettingsError("a limit is negative", where="offline endpoint", cure="0 means no limit")
