from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiffusion.runtime.batch.notes import NOTES, Note, Notes, Origin

ORIGIN = Origin("i", None, "b", {"steps": 2, "strength": 1.0})
NOTE = Note("h", ORIGIN)


def test_notes_are_found_again_also_by_others(tmp_path: Path) -> None:
    ours, theirs = Notes(str(tmp_path)), Notes(str(tmp_path))
    assert ours.of("a.png") is None
    names = ["a.png", "caf\udce9.png", "new\nline", '"quote"', "ünï"]
    for index, name in enumerate(names):
        ours.add(name, replace(NOTE, sha256=str(index)))
    assert [note.sha256 for name in names if (note := theirs.of(name))] == list("01234")
    assert theirs.of("a.png") == replace(NOTE, sha256="0")
    theirs.add("a.png", replace(NOTE, sha256="new"))
    assert ours.of("a.png") == replace(NOTE, sha256="new")
    assert all(json.loads(line) for line in (tmp_path / NOTES).read_bytes().splitlines())


def test_a_torn_or_foreign_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / NOTES
    Notes(str(tmp_path)).add("a", NOTE)
    for torn in (b'{"file": "b", "sha2', b"\n\n[]\n1\n{}\n" + b"\xff\n" + b"[" * 5000, b'{"file": "b"}\n'):
        with path.open("ab") as file:
            file.write(torn)
        Notes(str(tmp_path)).add("c", NOTE)
        fresh = Notes(str(tmp_path))
        assert fresh.of("a") == fresh.of("c") == NOTE
        assert fresh.of("b") is None


def test_a_file_that_is_removed_or_replaced_is_forgotten(tmp_path: Path) -> None:
    notes = Notes(str(tmp_path))
    notes.add("a", NOTE)
    assert notes.of("a")
    os.unlink(tmp_path / NOTES)
    assert notes.of("a") is None
    notes.add("b", NOTE)
    assert notes.of("b")
    assert notes.of("a") is None


@given(st.dictionaries(st.text(max_size=5), st.binary(max_size=40), max_size=5))
def test_no_content_of_the_file_is_an_error(tmp_path_factory: pytest.TempPathFactory, lines: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("notes")
    (folder / NOTES).write_bytes(b"\n".join(lines.values()))
    notes = Notes(str(folder))
    notes.add("known", NOTE)
    assert notes.of("known") == NOTE
    for name in lines:
        notes.of(name)


def test_many_writers_at_once(tmp_path: Path) -> None:
    def write(writer: int) -> None:
        notes = Notes(str(tmp_path))
        for index in range(50):
            notes.add(f"{writer}-{index}", NOTE)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    notes = Notes(str(tmp_path))
    assert all(notes.of(f"{writer}-{index}") == NOTE for writer in range(8) for index in range(50))


def test_differences_are_said() -> None:
    assert ORIGIN.difference(ORIGIN) == ""
    assert ORIGIN.difference(replace(ORIGIN, input="x")) == "from another photo"
    assert ORIGIN.difference(replace(ORIGIN, mask="x")) == "from another mask"
    assert ORIGIN.difference(replace(ORIGIN, bundle="x")) == "from another bundle"
    assert ORIGIN.difference(replace(ORIGIN, settings={"steps": 5, "strength": 0.5})) == "with steps 5, strength 0.5"
