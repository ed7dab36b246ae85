from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from personalake.errors import InputError
from personalake.inputs import Inputs, read_inputs
from personalake.settings_file import load
from tests.conftest import ROOT


def _inputs(folder: Path, taxonomy: str) -> Inputs:
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / "conf" / "taxonomy.yaml").write_text(taxonomy, encoding="utf-8")
    settings, beside = load(str(folder / "conf" / "local.yaml"))
    return read_inputs(settings, beside, stages=())


def test_a_taxonomy_is_a_list_of_names_in_their_order(tmp_path: Path) -> None:
    assert _inputs(tmp_path, "domains: [law, ' arts  and design ']\n").domains == ("law", "arts and design")


@pytest.mark.parametrize(
    ("taxonomy", "said"),
    [
        ("domains: [law, arts, law]\n", "'law' stands twice"),
        ("domains: [Law, arts, law]\n", "'Law' stands twice"),
        ("domains: [law, Other]\n", "'Other' stands twice"),
        ("domains: law\n", "must be a list of names"),
        ("domains: [law, 3]\n", "must be a list of names"),
        ("domains: [law, '']\n", "must be a list of names"),
        ("fields: [law]\n", "holds no list `domains`"),
        ("domains: [law\n", "holds no list `domains`"),
    ],
)
def test_a_taxonomy_that_does_not_hold_is_refused_in_one_line(tmp_path: Path, taxonomy: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        _inputs(tmp_path, taxonomy)
    assert said in str(refused.value)
    assert "taxonomy.yaml" in str(refused.value)
    assert "\n" not in str(refused.value)
