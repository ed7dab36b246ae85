"""Addresses of pages: one spelling for all that mean the same, and the domains that a list blocks."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from w3lib.url import canonicalize_url, url_query_cleaner

_TRACKING = (
    "fbclid", "gclid", "dclid", "msclkid", "mc_cid", "mc_eid", "igshid", "yclid", "_ga", "phpsessid", "jsessionid",
    "sessionid", "sid",
)  # fmt: skip
_MARKS = re.compile(r"[?&](?:utm_|" + "|".join(_TRACKING) + ")", re.IGNORECASE)
_PORT = re.compile(r"^(https?://[^/?#]*?):(?:80|443)(?=[/?#]|$)")


def canonical(url: str | None) -> str | None:
    """Return *url* as one spelling of all that mean the same page; null for none, or for what is no web address.

    https for http; lower-case host; no default port, fragment, tracking or session parameters; the others sorted;
    escapes only where they are needed. By w3lib, which Scrapy finds its repeated pages with.
    """
    if not url or not url[:8].lower().startswith(("http://", "https://")):
        return None
    try:
        if _MARKS.search(url):
            names = {name for name in re.findall(r"[?&]([^=&#]+)", url) if _MARKS.match(f"?{name}")}
            url = url_query_cleaner(url, sorted(names), remove=True)
        found = _PORT.sub(r"\1", canonicalize_url(url))
    except (ValueError, UnicodeError):
        return None
    return "https://" + found.partition("://")[2]


def within(url: str | None, domains: frozenset[str]) -> str | None:
    """The one of *domains* that *url* is of or below; null for none."""
    try:
        host = (urlsplit(url or "").hostname or "").rstrip(".")
    except ValueError:
        return None
    parts = host.split(".")
    return next((domain for n in range(len(parts)) if (domain := ".".join(parts[n:])) in domains), None)
