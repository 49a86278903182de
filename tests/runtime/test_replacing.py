"""Files that appear whole or not at all, under names as long as a file system takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shadowdiffusion.runtime.replacing import hidden_name, replaced, temporary_beside

LONGEST = "n" * 251 + ".png"


@pytest.mark.parametrize("name", ["a.png", LONGEST, "\u00fc" * 125 + ".json"])
def test_a_file_of_any_name_is_replaced(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    for text in (b"first", b"second"):
        with replaced(target) as file:
            file.write(text)
            if text == b"second":
                assert target.read_bytes() == b"first"
        assert target.read_bytes() == text
    assert os.listdir(tmp_path) == [name]


def test_an_error_leaves_the_target_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / LONGEST
    target.write_bytes(b"precious")

    def fail() -> None:
        with replaced(target) as file:
            file.write(b"half")
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        fail()
    assert target.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == [LONGEST]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with replaced(tmp_path / "target"):
        pass
    assert (tmp_path / "target").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_hidden_names_are_short_and_each_their_own() -> None:
    assert hidden_name("a.png", ".lock") == ".a.png.lock"
    names = {hidden_name(name, ".lock") for name in (LONGEST, LONGEST[1:], "\udce9" * 255, "\u00fc" * 125)}
    assert len(names) == 4
    assert all(len(os.fsencode(name)) <= 143 and name.startswith(".") and name.endswith(".lock") for name in names)
    assert temporary_beside(Path("in", LONGEST)) != temporary_beside(Path("in", LONGEST))
