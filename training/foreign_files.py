"""Files that somebody gives for a checkpoint: what they are instead."""

from __future__ import annotations

from pathlib import Path

LFS = b"version https://git-lfs.github.com/spec/"
PAGES = (b"<!doctype html", b"<html", b"<?xml", b"<!doctype")
PICKLE, ZIP = b"\x80", b"PK\x03\x04"
MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")
"""Within the first pickle of files of torch.save that are no ZIP."""
HEAD = 512
"""Bytes that tell."""


def no_checkpoint(path: Path) -> str | None:
    """What a file is that cannot be a checkpoint of any kind.

    Args:
        path: What was given, which need not exist.

    Returns:
        A line that says it, with advice; None for a file that may be a checkpoint.
    """
    if path.is_dir():
        return f"{path} is a folder, not a checkpoint: name a file in it"
    if not path.is_file():
        return f"checkpoint {path} does not exist"
    head = _head(path)
    if not head:
        return f"{path} is empty, not a checkpoint: download it again"
    if head.startswith(LFS):
        return f"{path} is a Git LFS pointer, not a checkpoint: run git lfs pull where it was cloned"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGES):
        return f"{path} is an HTML page, not a checkpoint: download the file itself, not the page that offers it"
    if len(head) > len(MAGIC) + 8 and head.startswith(PICKLE) and MAGIC not in head and not is_safetensors(path):
        advice = "ask for a file that torch.save(network.state_dict()) wrote"
        return f"{path} is a pickle that torch.save did not write, which may hold code and is refused: {advice}"
    return None


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as those of safetensors do: the length of a header, and the header, which is JSON."""
    head = _head(path)
    return len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**27


def is_pytorch(path: Path) -> bool:
    """Whether a file begins as those of torch.save do, old ones or new ones."""
    return _head(path).startswith((PICKLE, ZIP))


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEAD)
