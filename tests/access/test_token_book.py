import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.access.named_tokens import MOST, Token, create_token, read_tokens, revoke_token
from daemon.access.token import ensure_token, rotate_token
from daemon.access.token_book import TokenBook
from daemon.errors import ConflictError, InvalidError, NotFoundError, UnavailableError

NOW = 1_800_000_000.0


def test_a_token_is_kept_as_its_hash_alone_in_a_file_for_the_owner_only(tmp_path: Path) -> None:
    made = create_token(tmp_path, "phone", "viewer", NOW, 60.0)
    file = tmp_path / "tokens.json"
    assert len(made) == 43
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_bytes()) == {
        "v": 1,
        "tokens": [
            {"name": "phone", "role": "viewer", "sha256": hashlib.sha256(made.encode()).hexdigest(), "created": NOW, "expires": NOW + 60}
        ],
    }


def test_a_token_expires_at_its_time_and_without_one_never() -> None:
    assert not Token("a", "viewer", "", NOW, NOW + 60).is_expired(NOW + 59.9)
    assert Token("a", "viewer", "", NOW, NOW + 60).is_expired(NOW + 60)
    assert not Token("a", "viewer", "", NOW).is_expired(NOW * 2)


def test_a_book_takes_up_what_is_created_revoked_and_rotated_at_once(tmp_path: Path) -> None:
    first = ensure_token(tmp_path / "token")
    told: list[tuple[str, str]] = []
    book = TokenBook(tmp_path, lambda what, token: told.append((what, token.name)))
    assert (found := book.find(first)) is not None
    assert (found.name, found.role) == ("first", "admin")
    phone, ci = create_token(tmp_path, "phone", "viewer", NOW), create_token(tmp_path, "ci", "admin", NOW)
    assert [(token.name, token.role) for given in (phone, ci) if (token := book.find(given))] == [("phone", "viewer"), ("ci", "admin")]
    held = book.find(phone)
    assert held is not None
    assert book.holds(held, NOW)
    revoke_token(tmp_path, "phone")
    assert book.find(phone) is None
    assert not book.holds(held, NOW)
    assert book.find(ci) is not None
    new = rotate_token(tmp_path / "token")
    assert (book.find(first), book.find(ci) is not None) == (None, True)
    assert book.find(new) is not None
    (tmp_path / "token").unlink()
    assert book.find(new) is None
    names = [("created", "ci"), ("created", "phone"), ("revoked", "first"), ("created", "first"), ("revoked", "first")]
    assert sorted(told) == sorted([*names, ("revoked", "phone")])


def test_a_token_of_the_same_name_made_anew_is_another_one(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    held = book.find(create_token(tmp_path, "phone", "viewer", NOW))
    assert held is not None
    revoke_token(tmp_path, "phone")
    create_token(tmp_path, "phone", "viewer", NOW)
    book.refresh()
    assert not book.holds(held, NOW)


@pytest.mark.parametrize("given", ["", "x", "ähm", "\udcff", "x" * 100_000])
def test_what_is_no_token_is_found_nowhere(tmp_path: Path, given: str) -> None:
    ensure_token(tmp_path / "token")
    assert TokenBook(tmp_path).find(given) is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "not JSON"),
        ("[]", "a JSON object was expected"),
        ('{"v": 2, "tokens": []}', "2"),
        ('{"tokens": []}', "version"),
        ('{"v": 1}', "`tokens` is not a list"),
        ('{"v": 1, "tokens": [{"name": "a", "role": "root", "sha256": "%s", "created": 1}]}' % ("0" * 64), "an entry is not"),
        ('{"v": 1, "tokens": [{"name": "a", "role": "admin", "sha256": "00", "created": 1}]}', "an entry is not"),
        ('{"v": 1, "tokens": [{"name": "a", "role": "admin", "sha256": "%s", "created": 1, "expires": "no"}]}' % ("0" * 64), "an entry"),
    ],
)
def test_a_file_that_is_not_right_voids_its_tokens_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str, told: str
) -> None:
    first, phone = ensure_token(tmp_path / "token"), create_token(tmp_path, "phone", "viewer", NOW)
    book = TokenBook(tmp_path)
    (tmp_path / "tokens.json").write_text(content)
    assert [book.find(phone) for _ in range(3)] == [None] * 3
    assert book.find(first) is not None
    assert caplog.text.count("tokens.json") == 1
    assert told in caplog.text
    with pytest.raises(UnavailableError, match=r"tokens\.json"):
        create_token(tmp_path, "other", "viewer", NOW)


def test_a_file_that_others_may_write_is_refused_with_what_to_do(tmp_path: Path) -> None:
    phone = create_token(tmp_path, "phone", "viewer", NOW)
    (tmp_path / "tokens.json").chmod(0o620)
    assert TokenBook(tmp_path).find(phone) is None
    with pytest.raises(UnavailableError, match="chmod 600"):
        revoke_token(tmp_path, "phone")


def test_a_link_in_the_files_place_is_not_followed(tmp_path: Path) -> None:
    phone = create_token(tmp_path, "phone", "viewer", NOW)
    (tmp_path / "tokens.json").rename(tmp_path / "elsewhere")
    (tmp_path / "tokens.json").symlink_to("elsewhere")
    assert TokenBook(tmp_path).find(phone) is None


def test_a_file_that_cannot_be_read_for_a_moment_leaves_what_was_known_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, phone = ensure_token(tmp_path / "token"), create_token(tmp_path, "phone", "viewer", NOW)
    book = TokenBook(tmp_path)
    ci = create_token(tmp_path, "ci", "admin", NOW)

    def fail(*_args: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        assert [book.find(phone) is not None, book.find(ci) is not None] == [True, False]
    assert caplog.text.count("Too many open files") == 1
    assert [book.find(given) is not None for given in (first, phone, ci)] == [True, True, True]


@pytest.mark.parametrize("name", ["", "-x", ".x", "a/b", "a b", "ähm", "x" * 65, "a\n"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidError):
        create_token(tmp_path, name, "viewer", NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_one_too_many_and_one_that_is_not_there_are_refused(tmp_path: Path) -> None:
    create_token(tmp_path, "phone", "viewer", NOW)
    for name in ("phone", "first"):
        with pytest.raises(ConflictError, match="already"):
            create_token(tmp_path, name, "viewer", NOW)
    with pytest.raises(NotFoundError, match="there are: phone"):
        revoke_token(tmp_path, "other")
    with pytest.raises(ConflictError, match="rotate"):
        revoke_token(tmp_path, "first")
    entries = [{"name": f"t{n}", "role": "viewer", "sha256": f"{n:064x}", "created": 1.0} for n in range(MOST)]
    (tmp_path / "tokens.json").write_text(json.dumps({"v": 1, "tokens": entries}))
    with pytest.raises(ConflictError, match=str(MOST)):
        create_token(tmp_path, "onemore", "viewer", NOW)


def test_without_a_state_directory_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="onetrainerd serve"):
        create_token(tmp_path / "none", "phone", "viewer", NOW)
    assert list(tmp_path.iterdir()) == []


def test_commands_at_the_same_moment_lose_no_token(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from daemon.access.named_tokens import create_token\n"
    code += "[create_token(Path(sys.argv[1]), f'{sys.argv[2]}{n}', 'viewer', 0.0) for n in range(8)]"
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "abc"]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert {token.name for token in read_tokens(tmp_path)} == {f"{name}{n}" for name in "abc" for n in range(8)}
