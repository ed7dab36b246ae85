"""Lists that a user's settings name: domains and words that aren't wanted, licences that are."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from personalake.corpus.address import within
from personalake.corpus.files import normal, open_corpus_file, root_of
from personalake.corpus.records import RefusedError
from personalake.corpus.wordlist import WordList, fold
from personalake.errors import InputError
from personalake.settings import CorpusSettings

_SINK = re.compile(r"^(?:0\.0\.0\.0|127\.0\.0\.1|::1?)\s+")


@dataclass(frozen=True)
class Licences:
    """The licences of rows that state none, by the file, folder or table that they come from."""

    by_root: Mapping[str, str]
    """Under `` that of all others."""

    @classmethod
    def of(cls, given: str | Mapping[str, str] | None, base: str = "") -> Licences:
        """What a setting gives: one licence for all, or one by path or table; paths are relative to *base*."""
        if not isinstance(given, Mapping):
            return cls({"": given} if given else {})
        roots = {normal(path): licence for path, licence in given.items()}
        # Whether the folder was named as it is here or by its whole path.
        whole = {root: os.path.join(base or os.getcwd(), root) for root in roots if "://" not in root}
        return cls(roots | {os.path.normpath(path): roots[root] for root, path in whole.items()})

    def at(self, path: str) -> str | None:
        """The licence of a row that states none, by the *path* of its file or the name of its table."""
        root = root_of(path, self.by_root) if self.by_root else None
        return self.by_root.get(root or "")


@dataclass(frozen=True)
class Lists:
    """What the lists say, read once a task; they may have millions of lines, so they don't travel with the job."""

    domains: frozenset[str]
    words: WordList
    licences: tuple[str, ...] | None
    licence_of: Licences
    digest: str = ""
    """Of the files' contents, by which a change of them shows."""

    @classmethod
    def of(cls, settings: CorpusSettings, base: str = "") -> Lists:
        """The lists of *settings*, paths relative to *base*; raises :class:`InputError` for one that can't be read."""
        domain_files = [read_list(file, "corpus.blocked_domains", base) for file in settings.blocked_domains]
        word_files = [read_list(file, "corpus.blocked_words", base) for file in settings.blocked_words]
        domains = (_SINK.sub("", line).partition("#")[0] for line in lines(domain_files))
        return cls(
            frozenset(domain.strip().strip(".").lower() for domain in domains) - {""},
            WordList.of(lines(word_files)),
            None if settings.licences is None else tuple(each.lower() for each in settings.licences),
            Licences.of(settings.licence, base),
            hashlib.sha256(json.dumps([domain_files, word_files]).encode()).hexdigest(),
        )

    def check_url(self, url: str | None) -> None:
        """Raise :class:`RefusedError` (`blocked_domain`) for a page of a blocked domain, or one below it."""
        if self.domains and (domain := within(url, self.domains)):
            raise RefusedError("blocked_domain", f"{domain} is on a list")

    def check_licence(self, licence: str | None) -> None:
        """Raise :class:`RefusedError` (`licence`) for a page under none of the licences that are wanted."""
        if self.licences is None:
            return
        if licence is None:
            raise RefusedError("licence", "it states no licence, and `corpus.licence` gives none")
        if not any(fnmatchcase(licence.lower(), pattern) for pattern in self.licences):
            raise RefusedError("licence", f"{licence} is not among those wanted")

    def check_words(self, text: str) -> None:
        """Raise :class:`RefusedError` (`blocked_word`) for a text with a blocked word or phrase, in any case."""
        found = self.words.find(fold(text)) if self.words else None
        if found:
            raise RefusedError("blocked_word", f"{found!r} is on a list")


def read_list(file: str, setting: str, base: str = "") -> str:
    """What the list *file* says, its path relative to *base*; raises :class:`InputError`, which names the *setting*."""
    try:
        with open_corpus_file(os.path.expanduser(file), base) as opened:
            return opened.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        what, cure = f"the list {file} can't be read: {said}", "name a text file that every worker can read"
        raise InputError(what, where=setting, cure=cure) from error


def lines(contents: Iterable[str]) -> Iterator[str]:
    """The lines of lists that say something."""
    found = (line.strip() for content in contents for line in content.splitlines())
    return (line for line in found if line and not line.startswith("#"))
