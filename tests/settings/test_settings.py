import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import BaseModel

from daemon.settings.model import Settings, SettingsError, load_settings

SHIPPED = Path(__file__).parents[2] / "configs" / "onetrainerd.toml"


def load(tmp_path: Path, toml: str = "", environ: Mapping[str, str] | None = None, **flags: object) -> Settings:
    file = tmp_path / "onetrainerd.toml"
    file.write_text(toml)
    return load_settings({"config": file, **flags}, {"HOME": "/home/ada", **(environ or {})}, tmp_path)


def refusal(tmp_path: Path, toml: str = "", environ: Mapping[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, toml, environ, **flags)
    return caught.value.message


def flat_defaults(model: type[BaseModel]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            flat |= {f"{name}.{inner}": value for inner, value in flat_defaults(kind).items()}
        else:
            flat[name] = list(field.default) if isinstance(field.default, tuple) else field.default
    return flat


def test_the_shipped_file_shows_every_key_with_its_default() -> None:
    table = tomllib.loads(SHIPPED.read_text())
    shown: dict[str, object] = {}
    for name, value in table.items():
        shown |= {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {name: value}
    assert shown == flat_defaults(Settings)


def test_the_shipped_file_changes_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, SHIPPED.read_text()) == load(tmp_path)


def test_flags_win_over_the_environment_and_the_environment_over_the_file(tmp_path: Path) -> None:
    toml = 'host = "127.0.0.2"\nport = 1\n[stop]\ngrace_s = 1\nterm_s = 1\n'
    environ = {"ONETRAINERD_PORT": "2", "ONETRAINERD_STOP__GRACE_S": "2"}
    settings = load(tmp_path, toml, environ, port=3, host=None)
    assert (settings.host, settings.port, settings.stop.grace_s, settings.stop.term_s) == ("127.0.0.2", 3, 2.0, 1.0)


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings({}, {"HOME": "/home/ada"}, tmp_path)
    assert settings.state_dir == Path("/home/ada/.local/state/onetrainerd")
    assert settings.paths.roots == (Path("/home/ada"), tmp_path)
    assert settings.client_roots() == (settings.state_dir, Path("/home/ada"), tmp_path)
    assert (settings.host, settings.port, settings.auth, settings.chosen_backend) == ("127.0.0.1", 8000, "token", "builtin")


@pytest.mark.parametrize(
    ("environ", "state_dir"),
    [
        ({"STATE_DIRECTORY": "/var/lib/onetrainerd"}, "/var/lib/onetrainerd"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/home/ada"}, "/x/onetrainerd"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/ada"}, "/home/ada/.local/state/onetrainerd"),
        ({"ONETRAINERD_STATE_DIR": "~/s", "STATE_DIRECTORY": "/no", "HOME": "/home/ada"}, "/home/ada/s"),
        ({"ONETRAINERD_STATE_DIR": "s", "HOME": "/home/ada"}, "/srv/s"),
    ],
)
def test_the_state_folder_follows_systemd_then_xdg(environ: dict[str, str], state_dir: str) -> None:
    assert load_settings({}, environ, Path("/srv")).state_dir == Path(state_dir)


def test_a_service_user_whose_home_is_the_whole_disk_opens_nothing_by_default() -> None:
    assert load_settings({}, {"HOME": "/"}, Path("/")).paths.roots == ()


def test_the_whole_disk_can_still_be_named(tmp_path: Path) -> None:
    assert load(tmp_path, '[paths]\nroots = ["/"]').paths.roots == (Path("/"),)


def test_a_list_in_a_variable_is_json_or_items_between_commas(tmp_path: Path) -> None:
    plain = load(tmp_path, environ={"ONETRAINERD_PATHS__ROOTS": "/a, /b"})
    as_json = load(tmp_path, environ={"ONETRAINERD_PATHS__ROOTS": '["/a", "/b"]'})
    assert plain.paths.roots == as_json.paths.roots == (Path("/a"), Path("/b"))


def test_a_checkout_chooses_the_onetrainer_backend_unless_another_is_asked_for(tmp_path: Path) -> None:
    home = {"ONETRAINER_HOME": "/opt/OneTrainer", "ONETRAINER_PYTHON": "/usr/bin/python3"}
    settings = load(tmp_path, environ=home)
    assert settings.chosen_backend == "onetrainer"
    assert settings.onetrainer.python == Path("/usr/bin/python3")
    assert Path("/opt/OneTrainer") in settings.client_roots()
    assert load(tmp_path, environ=home, backend="builtin").chosen_backend == "builtin"
    assert load(tmp_path, environ=home | {"ONETRAINERD_ONETRAINER__HOME": "/mine"}).onetrainer.home == Path("/mine")


def test_an_unknown_key_in_the_file_names_the_nearest(tmp_path: Path) -> None:
    assert refusal(tmp_path, "prot = 1") == f"{tmp_path}/onetrainerd.toml: prot is no setting; did you mean port?"
    assert "stop.grace is no setting; did you mean stop.grace_s?" in refusal(tmp_path, "[stop]\ngrace = 1")


def test_an_unknown_variable_names_the_nearest(tmp_path: Path) -> None:
    message = refusal(tmp_path, environ={"ONETRAINERD_STOP__GRACE": "5"})
    assert message == "environment: ONETRAINERD_STOP__GRACE is no setting; did you mean ONETRAINERD_STOP__GRACE_S?"


def test_an_unknown_flag_names_the_nearest(tmp_path: Path) -> None:
    assert refusal(tmp_path, stat_dir="x").startswith("--stat-dir: no such setting; did you mean state_dir?")


@pytest.mark.parametrize(
    ("toml", "environ", "flags", "line"),
    [
        ("", {}, {"port": 70000}, "--port: port = 70000 is not allowed: should be less than or equal to 65535"),
        ("", {"ONETRAINERD_PORT": "x"}, {}, "ONETRAINERD_PORT: port = 'x' is not allowed: should be a valid integer"),
        ("", {"ONETRAINERD_AUTH": "maybe"}, {}, "ONETRAINERD_AUTH: auth = 'maybe' is not allowed: should be 'token' or 'none'"),
        ("port = true", {}, {}, "port = True is not allowed: should be a number"),
        ("[stop]\ngrace_s = -1", {}, {}, "stop.grace_s = -1 is not allowed: should be greater than or equal to 0"),
        ("[stop]\ngrace_s = nan", {}, {}, "stop.grace_s = nan is not allowed: should be"),
        ("stop = 5", {}, {}, "stop is a section, written as [stop]"),
        ('[paths]\nroots = "/a"', {}, {}, "paths.roots = '/a' is not allowed: should be a valid tuple"),
        ('[http]\nallowed_origins = ["null"]', {}, {}, "should be origins"),
        ('[http]\nallowed_origins = ["https://a.example/path"]', {}, {}, "should be origins"),
        ('[http]\nallowed_hosts = ["*"]', {}, {}, "should be hosts as in a Host header"),
        ('host = "http://x"', {}, {}, "should be an address or a host name"),
        ('[log]\nlevel = "loud"', {}, {}, "log.level = 'loud' is not allowed: should be 'debug', 'info', 'warning' or 'error'"),
        ("port =", {}, {}, "not valid TOML"),
        ("", {}, {"config": "missing.toml"}, "missing.toml: cannot be read: No such file or directory"),
        ("", {}, {"backend": "onetrainer"}, "--backend: backend = 'onetrainer' needs OneTrainer's checkout: set ONETRAINER_HOME"),
    ],
)
def test_each_wrong_value_is_one_line_with_source_key_value_and_what_is_allowed(
    tmp_path: Path, toml: str, environ: dict[str, str], flags: dict[str, object], line: str
) -> None:
    message = refusal(tmp_path, toml, environ, **flags)
    assert line in message
    assert "\n" not in message


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    lines = refusal(tmp_path, "prot = 1", {"ONETRAINERD_PORT": "x"}, auth="maybe").splitlines()
    assert len(lines) == 3


def test_no_authentication_beyond_loopback_is_refused_with_the_reason(tmp_path: Path) -> None:
    message = refusal(tmp_path, 'host = "0.0.0.0"', auth="none")
    assert "--auth: auth = 'none' is not allowed with host = '0.0.0.0'" in message
    assert "anyone who reaches this machine" in message
    assert "\n" not in message


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_no_authentication_on_loopback_is_allowed(tmp_path: Path, host: str) -> None:
    assert load(tmp_path, auth="none", host=host).is_local


def test_an_empty_variable_counts_as_not_given(tmp_path: Path) -> None:
    assert load(tmp_path, environ={"ONETRAINERD_PORT": "", "ONETRAINER_HOME": ""}).port == 8000


def test_the_level_of_the_log_may_be_written_in_capitals(tmp_path: Path) -> None:
    assert load(tmp_path, environ={"ONETRAINERD_LOG__LEVEL": "DEBUG"}).log.level == "debug"
