"""``offline-rules``, the embedded OpenAI-compatible endpoint: rules, not a model; deterministic; faults on order.

``personalake serve-offline --help`` lists every fault, limit and route.

Importing this package loads no web server; ``create_app`` does.
"""

from __future__ import annotations

import importlib

from .faults import FaultPlan
from .options import add_arguments
from .plans import plan_of
from .process import OfflineEndpoint, main, serve, serving
from .settings import CANNED_MODEL, CHAT_MODEL, EMBEDDING_MODEL, OfflineSettings, Prices

__all__ = [
    "CANNED_MODEL",
    "CHAT_MODEL",
    "EMBEDDING_MODEL",
    "FaultPlan",
    "OfflineEndpoint",
    "OfflineSettings",
    "Prices",
    "add_arguments",
    "create_app",
    "main",
    "plan_of",
    "serve",
    "serving",
]


def __getattr__(name: str) -> object:
    if name == "create_app":
        return importlib.import_module(".app", __name__).create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
