"""The walk over a folder: loops, secrets, links and exclude rules."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from idiolect.core.errors import BadInput, NotFound
from idiolect.retrieval.scan import scan


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("text")
    return root


def test_hidden_and_dependency_folders_are_not_entered(tmp_path: Path) -> None:
    tree(tmp_path, "a.md", ".git/b.md", ".env.txt", "node_modules/x/readme.md", "sub/__pycache__/c.py", "sub/d.py")
    tree(tmp_path, "env/pyvenv.cfg", "env/lib/e.py")
    result = scan(tmp_path)
    assert sorted(result.found) == ["a.md", "sub/d.py"]
    assert result.skipped == {}


def test_link_loops_end_and_links_out_are_refused(tmp_path: Path) -> None:
    docs = tree(tmp_path / "docs", "sub/a.md")
    tree(tmp_path / "secret", "key.txt")
    (docs / "sub" / "loop").symlink_to(docs)
    (docs / "twin").symlink_to(docs / "sub")
    (docs / "out").symlink_to(tmp_path / "secret")
    (docs / "out.txt").symlink_to(tmp_path / "secret" / "key.txt")
    (docs / "nowhere.md").symlink_to(docs / "missing.md")
    (docs / "self.md").symlink_to(docs / "self.md")
    (docs / "same.md").symlink_to(docs / "sub" / "a.md")
    result = scan(docs)
    assert sorted(result.found) == ["same.md", "sub/a.md"]
    assert result.skipped["out"] == result.skipped["out.txt"] == "a link that leads out of the folder"
    assert result.skipped["nowhere.md"] == "a link to nothing"
    assert "self.md" in result.skipped
    assert "sub/loop/" in result.skipped and "twin/" in result.skipped


def test_a_linked_root_is_fine(tmp_path: Path) -> None:
    tree(tmp_path / "real", "a.md", "b/c.md")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert sorted(scan(tmp_path / "link").found) == ["a.md", "b/c.md"]


def test_ignore_file_and_exclude(tmp_path: Path) -> None:
    tree(tmp_path, "a.md", "b.txt", "drafts/c.md", "sub/d.md", "sub/e.txt", "sub/keep.txt", "sub/deep/drafts/f.md")
    (tmp_path / ".idiolectignore").write_text("# mine\ndrafts/\n")
    (tmp_path / "sub" / ".idiolectignore").write_text("*.txt\n!keep.txt\n")
    assert sorted(scan(tmp_path).found) == ["a.md", "b.txt", "sub/d.md", "sub/keep.txt"]
    assert sorted(scan(tmp_path, exclude=["/a.md", "sub"]).found) == ["b.txt"]


def test_bad_pattern(tmp_path: Path) -> None:
    tree(tmp_path, "a.md")
    with pytest.raises(BadInput, match="exclude pattern"):
        scan(tmp_path, exclude=["[z-a]"])


def test_large_and_special_files(tmp_path: Path) -> None:
    tree(tmp_path, "a.md", "big.txt")
    (tmp_path / "big.txt").write_bytes(b"x" * 2000)
    os.mkfifo(tmp_path / "pipe.txt")
    result = scan(tmp_path, max_bytes=1000)
    assert sorted(result.found) == ["a.md"]
    assert "more than the limit" in result.skipped["big.txt"]
    assert result.skipped["pipe.txt"] == "not a regular file"


def test_names_that_are_not_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    tree(tmp_path, "caf\u00e9.md")
    result = scan(tmp_path)
    assert list(result.found) == ["café.md"]
    assert list(result.skipped.values()) == ["its name is not valid text"]


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        scan(tmp_path / "missing")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list everything")
def test_unlistable_folder_keeps_what_was_known(tmp_path: Path) -> None:
    tree(tmp_path, "a.md", "sub/b.md")
    (tmp_path / "sub").chmod(0)
    try:
        result = scan(tmp_path)
        assert result.unreadable == ["sub/"]
        assert "cannot list" in result.skipped["sub/"]
    finally:
        (tmp_path / "sub").chmod(0o755)
