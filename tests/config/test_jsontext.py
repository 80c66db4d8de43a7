import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import InvalidError
from daemon.jsontext import parse_object


def refusal(data: bytes) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        parse_object(data, "the body")
    return caught.value


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expecting value (line 1, column 1)"),
        (b"{", "expecting property name enclosed in double quotes (line 1, column 2)"),
        (b'{"a": 1,}', "(line 1, column"),
        (b'{"a": 1} x', "extra data (line 1, column 10)"),
        (b'{"a":\n NaN}', "NaN is no JSON number (line 2, column 2)"),
        (b'{"a": "NaN", "b": -Infinity}', "-Infinity is no JSON number (line 1, column 19)"),
        (b'{"a": 1e999}', "the number 1e999 is too large (line 1, column 7)"),
        (b'{"a": 18446744073709551616}', "does not fit into 64 bits (line 1, column 7)"),
        (b'{"a": ' + b"9" * 100_000 + b"}", "does not fit into 64 bits"),
        (b'{"a": 1,\n "a": 2}', "the key 'a' occurs twice in one object (line 2, column 2)"),
        (b'{"b": {"a": 1}, "c": [{"a": 1, "\\u0061": 2}]}', "the key 'a' occurs twice in one object (line 1, column 32)"),
        (b'{"a": "\\ud800"}', "half a surrogate pair in a string"),
        (b'{"\\udfff": 1}', "half a surrogate pair in a string"),
        (b'{"a": "\xff"}', "not UTF-8: byte 7 is 0xff"),
        (b'{"a": "\x00"}', "invalid control character"),
        (b"[]", "a JSON object {…} was expected, not an array"),
        (b"null", "a JSON object {…} was expected, not null"),
        (b'"a"', "a JSON object {…} was expected, not a string"),
        (b"true", "a JSON object {…} was expected, not true or false"),
        (b"1", "a JSON object {…} was expected, not a number"),
        (b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}", "more than 64 levels deep (line 1, column 70)"),
        (b'{"a":' * 500_000, "arrays and objects"),
        (b'{"a":' * 100_000, "more than 64 levels deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "more than 64 levels deep"),
    ],
)
def test_what_is_not_a_plain_json_object_is_refused_with_its_place(data: bytes, message: str) -> None:
    error = refusal(data)
    assert message in error.message
    assert error.message.startswith("the body: ")
    assert len(error.message) < 300
    assert error.code == "bad_json"


def test_sixty_four_levels_are_fine() -> None:
    assert parse_object(b'{"a": ' + b"[" * 63 + b"]" * 63 + b"}", "x")


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse_object(b'\xef\xbb\xbf{"a": 1}', "x") == {"a": 1}


def test_brackets_and_words_inside_strings_count_for_nothing() -> None:
    assert parse_object(b'{"a": "[[[ NaN \\" {", "b": "\\ud83d\\ude00"}', "x") == {"a": '[[[ NaN " {', "b": "😀"}


@pytest.mark.timeout(60)  # quadratic, it would take hours
def test_a_large_hostile_text_is_refused_in_linear_time() -> None:
    refusal(b'{"a": [' + b'"' + b"\\n" * 3_000_000 + b'", NaN]}')
    refusal(b"{" + b",".join(b'"%d":1' % n for n in range(500_000)) + b',"0":1}')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values))
def test_every_object_comes_back_as_it_was_written(value: dict[str, object]) -> None:
    assert parse_object(orjson.dumps(value), "x") == value


@given(st.binary())
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        orjson.dumps(parse_object(data, "x"))
    except InvalidError:
        pass
