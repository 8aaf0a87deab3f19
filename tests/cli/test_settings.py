"""Options, overrides and files: the nearest to the user wins, and what nobody says stays at the default."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.commands.settings import Options, configure
from idiolect.core import config, yamls
from idiolect.core.errors import BadInput
from idiolect.gateway.config import AppConfig


def test_nothing_given_is_the_default() -> None:
    assert configure(None, None) == AppConfig()


def test_flags_win_over_set_and_set_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: from-file\nencoder: from-file\ndtype: float32\nhttp:\n  port: 1111\n  host: ::1\n")
    options = Options(config=file, set=("model=from-set", "encoder=from-set", "http.port=2222"), model="from-flag")
    made = configure(options, Path("docs"), port=3333, host=None)
    assert (made.model, made.encoder, made.dtype) == ("from-flag", "from-set", "float32")
    assert (made.http.port, made.http.host) == (3333, "::1")
    assert made.documents == "docs"


def test_none_means_without() -> None:
    made = configure(Options(model="none", encoder="none"), Path("docs"), bare=True)
    assert (made.model, made.encoder, made.documents) == (None, None, None)


def test_an_upstream_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("upstreams:\n  big:\n    url: http://127.0.0.1:1/v1\n    model: m\nfallback:\n  big: [small]\n")
    made = configure(Options(config=file), None)
    assert made.upstreams["big"].model == "m"
    assert made.fallback == {"big": ("small",)}
    file.write_text("upstreams:\n  big:\n    ulr: x\n")
    with pytest.raises(BadInput, match=r"run\.yaml: unknown option 'upstreams.big.ulr' .*'url'"):
        configure(Options(config=file), None)


@given(st.builds(AppConfig, watch=st.booleans(), documents=st.none() | st.text("ab/ é", min_size=1)))
def test_the_whole_configuration_survives_yaml(made: AppConfig) -> None:
    assert config.from_dict(AppConfig, yamls.parse(config.dump(made))) == made
