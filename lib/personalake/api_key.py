"""An endpoint's key: found where the settings say, on the machine that calls, and never carried anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from personalake.errors import SettingsError
from personalake.settings import ApiKeySettings, LlmSettings


def resolve_api_key(setting: ApiKeySettings | Mapping[str, str | None], environ: Mapping[str, str]) -> str | None:
    """Find the endpoint's key where the setting says, on the machine that calls; null where none is set.

    Raises :class:`SettingsError` naming the variable or file, never the key.
    """
    values = setting.model_dump() if isinstance(setting, ApiKeySettings) else setting
    env, file = values.get("env"), values.get("file")
    if env:
        key = environ.get(env, "").strip()
        if not key:
            raise SettingsError(
                f"the environment variable {env} isn't set", where="llm.api_key.env", cure=f"export {env}=... first"
            )
        return key
    if file:
        try:
            key = Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(f"{file} cannot be read: {error.strerror}", where="llm.api_key.file") from error
        if not key:
            raise SettingsError(f"{file} is empty", where="llm.api_key.file", cure="write the key into it")
        return key
    return None


def check_keys(settings: LlmSettings, environ: Mapping[str, str]) -> None:
    """Find all endpoints' keys on this machine; raises :class:`SettingsError` for one that isn't here."""
    for endpoint in settings.all_endpoints():
        resolve_api_key(endpoint.api_key or settings.api_key, environ)


def key_stamp(setting: ApiKeySettings) -> tuple[int, int] | None:
    """What tells that the key's file has changed; null where the key is in no file."""
    try:
        found = Path(setting.file).stat() if setting.file else None
    except OSError:
        return None  # Being replaced just now: the key that is known holds until there is another.
    return None if found is None else (found.st_mtime_ns, found.st_size)
