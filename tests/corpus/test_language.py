"""A page's language is a code of ISO 639-1: as declared, else as detected, else unknown."""

from __future__ import annotations

import pytest

from personalake.corpus.language import declared_language, detect_language


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("en", "en"),
        (" fr-CA ", "fr"),
        ("zh_Hant", "zh"),
        ("ENG", "en"),
        ("fra,eng", "fr"),
        ("ger", "de"),
        ("deu", "de"),
        ("cmn", "zh"),
        ("iw", "he"),
        ("nb-NO", "nb"),
        ("nso", None),
        ("xx", None),
        ("x-default", None),
        ("english", None),
        ("", None),
        (None, None),
    ],
)
def test_a_declared_language_becomes_its_two_letters(tag: str | None, code: str | None) -> None:
    assert declared_language(tag) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The lock keeper walks along the towpath every morning and writes down the level of the water.", "en"),
        ("Der Schleusenwärter geht jeden Morgen den Treidelpfad entlang und notiert den Wasserstand.", "de"),
        ("El esclusero camina cada mañana por el camino de sirga y anota el nivel del agua.", "es"),
        ("L'éclusier longe chaque matin le chemin de halage et note le niveau de l'eau dans un cahier.", "fr"),
        ("守闸人每天清晨沿着纤道行走，把水位记在一本旧本子上，然后回家喝茶。", "zh"),
        ("水門番は毎朝、引き船道を歩いて水位を古い帳面に書きとめ、それから家に帰る。", "ja"),
    ],
)
def test_a_sentence_is_enough_to_detect_its_language(text: str, code: str) -> None:
    assert detect_language(text) == code


@pytest.mark.parametrize(
    "text", ["", "12 34 56 | 78 90 ... 12 34 56 | 78 90", "ok", "xq zzk vv qqp wrt kkl mnb vcx zzt"]
)
def test_what_no_one_could_tell_is_unknown(text: str) -> None:
    assert detect_language(text) is None
