from __future__ import annotations

import re

import pytest

from proxy_addon.core.pseudonyms.tokens import Tokens, number_pseudonym, pseudonym

KEY = b"k"
DOCUMENTATION = r"(192\.0\.2|198\.51\.100|203\.0\.113)\.[0-9]{1,3}"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("12345678901234567890123456789012345678", r"[0-9]{38}"),
        ("123e4567-e89b-12d3-a456-426614174000", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        ("somebody@example.com", r"[0-9a-f]{16}@example\.invalid"),
        ("0123456789ABCDEF01234567@AdobeOrg", r"[0-9A-F]{24}@AdobeOrg"),
        ("4711", r"[1-9][0-9]{3}"),
        ("0042", r"00[1-9][0-9]"),
        ("198.18.0.1", DOCUMENTATION),
        ("2001:470::1", r"2001:db8:[0-9a-f:]+"),
        ("::ffff:198.18.0.1", rf"::ffff:{DOCUMENTATION}"),
        ("Jos\xe9 \ud83c", r"[0-9a-f]{16}"),
    ],
)
def test_a_pseudonym_has_the_form_of_what_it_stands_for(text, form):
    token = pseudonym(text, KEY)
    assert re.fullmatch(form, token)
    assert token == pseudonym(text, KEY) != text
    assert token != pseudonym(text, b"another") != pseudonym(f"{text}x", b"another")


def test_different_numbers_have_different_pseudonyms_with_as_many_digits():
    for digits in (1, 2, 3):
        numbers = [str(number) for number in range(10 ** (digits - 1), 10**digits)]
        assert sorted(number_pseudonym(each, KEY) for each in numbers) == numbers


@pytest.mark.parametrize("text", ["7.0", "-7.00", "60.39333333333333", "1e3", "0", "0.0", "-0", "0.5", "9" * 5000])
def test_a_number_stays_whole_or_not_and_as_long(text):
    token = number_pseudonym(text, KEY)
    assert re.sub("[0-9]", "1", token) == re.sub("[0-9]", "1", text)
    assert (token == text) == (text.strip("-0.") == "")
    assert token.partition(".")[2].strip("0") == "" or text.partition(".")[2].strip("0") != ""
    assert token.lstrip("-")[0] != "0" or text.lstrip("-")[0] == "0"


def test_whether_a_number_fits_into_64_bits_stays():
    for number in (2**63 - 1, 2**63, 10**18, 10**19 - 1):
        assert (int(number_pseudonym(str(number), KEY)) < 2**63) == (number < 2**63)


def test_what_identifies_nobody_has_no_token():
    tokens = Tokens(KEY)
    for text in ("", "  ", "0", "00000000-0000-0000-0000-000000000000", "0.0.0.0", "::", "N/A", " Unknown ", "null"):
        assert tokens.text(text) == text


def test_a_template_stays_one_without_what_is_in_it():
    tokens = Tokens(KEY)
    assert re.fullmatch(r"<[0-9a-f]{16}>", tokens.text("<Joe>"))
    assert re.fullmatch(r"\{\{[0-9a-f]{16}\}\}", tokens.text("Joe {{id}}"))
    assert re.fullmatch(r"\$\{[0-9a-f]{16}\}", tokens.text("${joe} x"))


def test_an_address_has_one_token_however_it_is_spelled():
    tokens = Tokens(KEY)
    assert tokens.address("2001:0470:0::0001") == tokens.address("2001:470::1")


def test_a_number_and_a_text_and_both_cases_of_a_uuid_have_one_token():
    for digits in ("4711", "12345678901234567890123456789012345678"):
        assert pseudonym(digits, KEY) == number_pseudonym(digits, KEY)
    upper = "3D9F3E6A-1B2C-4D5E-8F90-A1B2C3D4E5F6"
    assert pseudonym(upper, KEY) == pseudonym(upper.lower(), KEY).upper()


def test_only_the_latest_tokens_are_remembered():
    tokens = Tokens(KEY)
    first = tokens.text("value 0")
    for number in range(5000):
        tokens.text(f"value {number}")
    assert tokens.text("value 0") == first
    assert len(tokens._texts) < 4097
