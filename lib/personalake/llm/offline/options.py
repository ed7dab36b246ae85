"""The options of ``personalake serve-offline`` and its help, which lists every fault that can be ordered."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping

from ...errors import SettingsError
from .faults import BATCH_KINDS, KINDS, LATENCY_KINDS, RETRY_STYLES
from .plans import plan_of
from .settings import CANNED_MODEL, LIMIT_FIELDS, LIMIT_HEADERS, LIMIT_WINDOWS, QUEUE_FULL, OfflineSettings

_EXAMPLE = '{"rates": {"429": 0.2, "500": 0.05}, "latency": 80}'
_PLAN = f"""fault plan: --faults JSON, POST /faults while it runs, or the header X-Fault of one request (a batch's
creation too). Which fault a request meets is a function of the seed, its X-Client-Request-Id and its attempt.
  rates            share of each fault, e.g. {{"429": 0.2, "500": 0.05}}; {{"kind": "500"}} is short for all requests
  seed, attempts   another draw; only the first so many attempts of a request meet faults
  from_s, until_s  only in this span of seconds since the plan was set, e.g. {{"kind": "reset", "until_s": 3}}
  latency          ms, or {{"kind": K, ...}} with {"; ".join(f"{k}: {', '.join(v)}" for k, v in LATENCY_KINDS.items())}
  retry_style, retry_after_s   how an ordered 429 asks to wait
  slow_ms, big_mb  of slow_body and big_body (1000, 50)
  batch            what a batch meets
  reply            "rules", "canned" or {{"kind": "canned", "chars": 2000, "completion_tokens": null}}: texts of a
                   wanted size without the rules' work, for load tests (the model {CANNED_MODEL} always answers so)"""
_ROUTES = """beside /v1 (no key needed):
  GET  /ledger           what was received, answered, admitted and billed; ?ids=0 leaves the counts by request out
  POST /ledger/reset     forget all of it
  GET, POST /faults      the fault plan, e.g. {"rates": {"503": 1}, "until_s": 3}
  GET, POST /limits      limits and capacity, e.g. {"rpm": 600, "capacity": 64}; what isn't named stays
  GET  /health"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``personalake serve-offline``, and their help."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for other machines")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes any free port")
    parser.add_argument("--latency-ms", type=float, default=None, help="fixed latency; other kinds through --faults")
    parser.add_argument("--flaws", type=float, default=0.04, help="share of deliberately bad replies (default 0.04)")
    parser.add_argument("--reply", default=None, metavar="KIND", help="rules or canned; or as a plan's reply (below)")
    parser.add_argument("--faults", default="{}", metavar="JSON", help=f"fault plan (below), e.g. {_EXAMPLE}")
    parser.add_argument("--rpm", type=int, default=0, help="requests per minute, 0: no limit")
    parser.add_argument("--tpm", type=int, default=0, help="tokens per minute, 0: no limit")
    _words(parser, "--limit-window", "second", LIMIT_WINDOWS, "how limits are enforced")
    _words(parser, "--limit-headers", "openai", LIMIT_HEADERS, "how limits are told")
    parser.add_argument("--limit-retry-style", default="", metavar="STYLE", help="how a limit's 429 asks to wait")
    parser.add_argument("--refund", action="store_true", help="give back reserved tokens that a reply did not use")
    parser.add_argument("--capacity", type=int, default=0, help="requests served at once, the others wait; 0: all")
    parser.add_argument("--queue", type=int, default=None, help="how many may wait (default: all)")
    _words(parser, "--queue-full", "503", QUEUE_FULL, "what the rest meets")
    parser.add_argument("--api-key-env", default=None, metavar="NAME", help="variable that holds the only key accepted")
    parser.add_argument("--batch-seconds", type=float, default=0.0, help="how long a batch stays in each state")
    parser.add_argument("--stop-with-stdin", action="store_true", help=argparse.SUPPRESS)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    tables = {"faults (rates)": KINDS, "batch": BATCH_KINDS, "retry_style, --limit-retry-style": RETRY_STYLES}
    parser.epilog = "\n\n".join([_PLAN, *(_table(*table) for table in tables.items()), _ROUTES]).replace("%", "%%")


def _words(parser: argparse.ArgumentParser, name: str, default: str, known: Mapping[str, str], says: str) -> None:
    listed = "; ".join(f"{word}: {meaning}" for word, meaning in known.items())
    parser.add_argument(name, default=default, metavar="WORD", help=f"{says} (default {default}). {listed}")


def _table(title: str, known: Mapping[str, str]) -> str:
    width = max(map(len, known)) + 2
    return "\n".join([f"{title}:", *(f"  {name:{width}}{meaning}" for name, meaning in known.items())])


def settings_of(args: argparse.Namespace) -> OfflineSettings:
    """Return the settings that parsed options describe; SettingsError names what doesn't hold."""
    raw = _json(args.faults)
    if isinstance(raw, dict):
        if args.latency_ms is not None:
            raw = {**raw, "latency": args.latency_ms}
        if args.reply is not None:
            raw = {**raw, "reply": _json(args.reply)}
    keys: tuple[str, ...] = ()
    if args.api_key_env:
        key = os.environ.get(args.api_key_env, "")
        if not key:
            name = args.api_key_env
            raise SettingsError(f"{name} is not set", where="--api-key-env", cure=f"export {name}=…")
        keys = (key,)
    plan = plan_of(raw, "--faults")
    settings = OfflineSettings(flaws=args.flaws, api_keys=keys, faults=plan, batch_seconds=args.batch_seconds)
    return settings.with_limits({name: getattr(args, name) for name in LIMIT_FIELDS})


def limit_options(limits: Mapping[str, object]) -> list[str]:
    """Return the options that set *limits* (fields of ``POST /limits``) for a child process."""
    settings = OfflineSettings().with_limits(limits)
    given = {name.replace("_", "-"): getattr(settings, name) for name in limits}
    flags = ["--refund"] if given.pop("refund", False) else []
    return flags + [f"--{name}={value}" for name, value in given.items() if value is not None]


def _json(text: str) -> object:
    """An object where *text* is one; else the text, which will be refused by name or taken as a word."""
    try:
        return json.loads(text) if text.lstrip().startswith("{") else text
    except ValueError:
        return text
