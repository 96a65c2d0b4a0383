from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.clean.privacy import KINDS, luhn, private_data, without_private_data
from textmill.clean.repairs import Pair

MASK = dict.fromkeys(KINDS, "mask")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mail a.b+c@ex-ample.co.uk, please", "mail <EMAIL>, please"),
        ("写信给user799@example.com吧。", "写信给<EMAIL>吧。"),
        ("call +1 202-555-0142 now", "call <PHONE> now"),
        ("(202) 555-0142 or 202-555-0142.", "<PHONE> or <PHONE>."),
        ("打13800138000", "打<PHONE>"),
        ("+49 30 1234567", "<PHONE>"),
        ("from 192.0.2.239", "from <IP_ADDRESS>"),
        ("2001:db8::8a2e:370:7334", "<IP_ADDRESS>"),
        ("4111 1111 1111 1111", "<CREDIT_CARD>"),
        ("4111111111111111", "<CREDIT_CARD>"),
        ("4111 1111 1111 1600", "<CREDIT_CARD>"),
        ("4111111111111600", "4111111111111600"),
        ("378282246310005", "<CREDIT_CARD>"),
        ("11010519491231002X", "<NATIONAL_ID>"),
        ("123-45-6789", "<NATIONAL_ID>"),
        ("DE89 3704 0044 0532 0130 00", "<IBAN>"),
        ("DE89 3704 0044 0532 0130 01", "DE89 3704 0044 0532 0130 01"),
        ("https://user:pass@host/x", "https://<CREDENTIALS>@host/x"),
        ("key AKIAIOSFODNN7EXAMPLE", "key <API_KEY>"),
    ],
)
def test_private_data_is_masked(text: str, masked: str) -> None:
    assert without_private_data(text) == masked
    assert private_data([Pair(text, text)], MASK)[0] == [Pair(masked, masked)]


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1 and 10.0.0.1, 192.168.1.1, 255.255.255.0, 0.0.0.0, 8.8.8.8",
        "version 1.2.3.4, v1.2.30.44, section 3.2.1.25.1",
        "203.97.2.0/24",
        "2024-01-02 10:20:30, 2019-2020, 1,000,000,000, 3.14159265358979",
        "UTF-8 x86_64 ISO-8859-15 0x7fff5fbff8a0 00:1A:2B:3C:4D:5E std::vector ::1",
        "git@github.com:x/y @user user@{host} %(email)s user@localhost",
        "https://host:8080/x?y=z@w http://{user}:{password}@{host}/",
        "0000 0000 0000 0000, 1234 5678 9012 3456, ISBN 978-3-16-148410-0",
        "some_long_identifier_without_digits and AnotherVeryLongClassName2",
        "000-12-3456 666-12-3456 123456789012345678",
    ],
)
def test_text_that_is_not_private_is_kept(text: str) -> None:
    assert without_private_data(text) == text


def test_both_sides_are_masked_alike_and_counted_once() -> None:
    pairs, reasons, found = private_data([Pair("Write to a@b.org", "写信到 a@b.org"), Pair("x", "y")], MASK)
    assert pairs[0] == Pair("Write to <EMAIL>", "写信到 <EMAIL>")
    assert reasons == ["", ""]
    assert found == [1 << list(KINDS).index("email"), 0]


def test_kinds_can_be_dropped_or_kept() -> None:
    pair = Pair("a@b.org 192.0.2.7", "x")
    assert private_data([pair], MASK | {"email": "drop"})[1] == ["private_email"]
    assert private_data([pair], MASK | {"email": "keep"})[0] == [Pair("a@b.org <IP_ADDRESS>", "x")]


@given(st.lists(st.sampled_from("0123456789"), min_size=12, max_size=18).map("".join))
def test_one_last_digit_of_ten_satisfies_luhn_and_no_single_slip_does(digits: str) -> None:
    good = [digits + last for last in "0123456789" if luhn(digits + last)]
    assert len(good) == 1
    place = random.Random(digits).randrange(len(digits))
    slipped = f"{good[0][:place]}{(int(good[0][place]) + 1) % 10}{good[0][place + 1 :]}"
    assert not luhn(slipped)


@given(st.text(max_size=60))
def test_masking_twice_is_masking_once(text: str) -> None:
    once = without_private_data(text)
    assert without_private_data(once) == once
