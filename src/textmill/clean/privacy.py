"""Find private data by pattern and checksum, and mask it with a readable token such as <EMAIL>.

False positives matter as much as false negatives: in software messages, 127.0.0.1, 1.2.3.4 and 2024-01-02 are content. So
version numbers and loopback, private and reserved addresses are kept, and other numbers must have the format of their kind.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from textmill.clean.repairs import Pair

# Quick tests. All private data has a digit, an @ or a key header ...
_RARE = re.compile("[0-9@]|-----BEGIN")
# ... and also one of these: digits close together, an address, or a long token.
_HINT = re.compile(
    r"@|-----BEGIN|\d[\d\u2010-\u2015 ().-]{5,}\d|[0-9A-Fa-f]:[0-9A-Fa-f:]*:[0-9A-Fa-f:]*|\d\.\d{1,3}\.\d"
    r"|[A-Za-z0-9_-]{16}|[A-Z]{2}\d\d[ A-Z0-9]{10}"
)
_BEFORE, _AFTER = r"(?<![\w@/.-])", r"(?![\w@])"


class Kind(NamedTuple):
    """A kind of private data: `pattern` finds candidates, `is_private` checks them, and `mask` replaces them."""

    pattern: re.Pattern[str]
    is_private: Callable[[re.Match[str]], bool]
    mask: str


def always(match: re.Match[str]) -> bool:
    """Accept every match: the pattern alone is enough."""
    return True


def luhn(digits: str) -> bool:
    """Return whether the last digit is the checksum of the others (Luhn algorithm, ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


# First digits and lengths of the card numbers of all major issuers.
_CARD = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|6(?:011|5\d\d|4[4-9]\d|2\d\d)\d{12,15}|3[47]\d{13}|35\d{14}|3(?:0[0-5]|[68]\d)\d{11}"
)


def _is_card(match: re.Match[str]) -> bool:
    """Return whether a number has the prefix and length of a card issuer, and a valid checksum or groups of four digits.

    In groups of four the checksum may be wrong, because a mistyped card number is private, too.
    """
    digits = re.sub(r"\D", "", match[0])
    in_fours = re.fullmatch(r"\d{4}([ -])\d{4}\1\d{4}\1\d{4}", match[0]) is not None
    return _CARD.fullmatch(digits) is not None and len(set(digits)) > 1 and (in_fours or luhn(digits))


def _is_resident_id(match: re.Match[str]) -> bool:
    """Return whether a number is a Chinese resident number (GB 11643) or a US social security number.

    A resident number needs a known province, a plausible year of birth, and a valid month of birth or checksum.
    """
    number = match[0].upper()
    if len(number) != 18 or not number.isalnum():
        return True  # a US social security number; the pattern excludes numbers that are never issued
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    checksum = "10X98765432"[sum(int(digit) * weight for digit, weight in zip(number, weights, strict=False)) % 11]
    sensible = number[:2] in _PROVINCES and "1900" <= number[6:10] <= "2035"
    return sensible and ("01" <= number[10:12] <= "12" or number[17] == checksum)


_PROVINCES = frozenset(
    [
        "11",
        "12",
        "13",
        "14",
        "15",
        "21",
        "22",
        "23",
        "31",
        "32",
        "33",
        "34",
        "35",
        "36",
        "37",
        "41",
        "42",
        "43",
        "44",
        "45",
        "46",
        "50",
        "51",
        "52",
        "53",
        "54",
        "61",
        "62",
        "63",
        "64",
        "65",
        "71",
        "81",
        "82",
        "83",
    ]
)


def _is_iban(match: re.Match[str]) -> bool:
    """Return whether the checksum is valid (ISO 13616).

    The first four characters move to the end, letters become 10 to 35, and the resulting number must be 1 modulo 97.
    """
    number = re.sub(r"\s", "", match[0])
    if not 15 <= len(number) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in number[4:] + number[:4])) % 97 == 1


def _is_public_address(match: re.Match[str]) -> bool:
    """Return whether a match is the address of a host on the internet.

    Loopback, private, multicast and reserved addresses, netmasks and version numbers are not.
    """
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return len(match[0]) > 6
    if any(address in network for network in _PRIVATE_NETWORKS) or address.packed[0] in (0, 255):
        return False
    return max(address.packed) > 20 and _VERSION_BEFORE.search(match.string, max(match.start() - 12, 0), match.start()) is None


_PRIVATE_NETWORKS = [ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "240.0.0.0/4")]
_VERSION_BEFORE = re.compile(r"(?:\bv|version|release|版本|==|>=|~=)[\s:=]*$", re.IGNORECASE)


def _is_phone(match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match[0])
    return 7 <= len(digits) <= 15 and len(set(digits)) > 2


def _ascii(pattern: str) -> re.Pattern[str]:
    r"""Compile with ASCII-only \w and \b, because Chinese text has no space between an address and the words around it."""
    return re.compile(pattern, re.ASCII)


# In the order of the search: text that one kind has masked is not seen by later kinds.
KINDS: dict[str, Kind] = {
    "url_credentials": Kind(_ascii(r"(?<=://)[^\s/@:<>{}%]+:[^\s/@<>{}%]+(?=@[\w.-])"), always, "<CREDENTIALS>"),
    "api_key": Kind(
        _ascii(
            r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}\b|\bgithub_pat_\w{30,}|\bglpat-[\w-]{18,}|\bxox[abprs]-[\w-]{10,}"
            r"|\bAIza[\w-]{35}|\b[sr]k[-_](?:(?:live|test|proj|ant)[-_])?[\w-]*(?=\w*\d)\w{20,}|\bhf_[A-Za-z]{30,}|\bnpm_[A-Za-z0-9]{30,}"
            r"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
            r"|(?i:(?<=\bapi_key=)|(?<=\bapi-key=)|(?<=\bapikey=)|(?<=\btoken=)|(?<=\bsecret=)|(?<=\bpassword=))(?=[\w-]*\d)[\w-]{16,}"
        ),
        always,
        "<API_KEY>",
    ),
    "email": Kind(
        _ascii(
            r"(?<![\w.+%-])(?!git@)[A-Za-z0-9](?:[\w.+%-]{0,62}[\w+-])?@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}\b"
        ),
        always,
        "<EMAIL>",
    ),
    "credit_card": Kind(_ascii(rf"{_BEFORE}\d(?:[ -]?\d){{12,18}}(?![\d-]){_AFTER}"), _is_card, "<CREDIT_CARD>"),
    "national_id": Kind(
        _ascii(
            rf"{_BEFORE}(?:[1-8]\d{{16}}[\dXx]|(?!000|666|9)\d{{3}}-(?!00)\d\d-(?!0000)\d{{4}}){_AFTER}(?!-)",
        ),
        _is_resident_id,
        "<NATIONAL_ID>",
    ),
    "iban": Kind(_ascii(r"\b[A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), _is_iban, "<IBAN>"),
    "ip_address": Kind(
        _ascii(
            r"(?<![\w.:-])(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?![\w-]|\.\w|/\d)"  # a.b.c.d/24 is a network, not a host
            r"|(?<![\w:.])(?=[0-9A-Fa-f:]*\d)(?:[0-9A-Fa-f]{1,4}:){2,7}(?::?[0-9A-Fa-f]{1,4}){1,6}(?![\w:])"
        ),
        _is_public_address,
        "<IP_ADDRESS>",
    ),
    "phone": Kind(
        _ascii(
            r"(?<![\w.+/-])\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?){2,5}(?![\w-]|\.\d)"  # +49 30 1234567
            r"|(?<![\w.+/-])(?:\(\d{3}\) ?|\d{3}[-.])\d{3}[-.]\d{4}(?![\w-]|\.\d)"  # (202) 555-0142
            r"|(?<![\d.+/-])(?:86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?![\d-]|\.\d)"  # 138 0013 8000
            r"|(?<![\d.+/-])0\d{2,3}-\d{7,8}(?![\d-]|\.\d)"  # 010-62345678
        ),
        _is_phone,
        "<PHONE>",
    ),
}


def private_data(pairs: Sequence[Pair], actions: dict[str, str]) -> tuple[list[Pair], list[str], list[int]]:
    """Mask private data on both sides of pairs.

    actions: kind to `mask`, `drop` or `keep`. Kinds to keep are not searched for.
    Returns the masked pairs, the reason for rejecting each pair (private_KIND, or empty), and the kinds found in each pair as a
    sum of 2 ** index in KINDS.
    """
    wanted = [(place, name, kind) for place, (name, kind) in enumerate(KINDS.items()) if actions[name] != "keep"]
    masked, reasons, found = [], [], []
    for pair in pairs:
        kinds, reason = 0, ""
        if _may_hold_any(pair.source) or _may_hold_any(pair.target):
            for place, name, kind in wanted:
                clean = Pair(_masked(pair.source, kind), _masked(pair.target, kind))
                if clean != pair:
                    kinds |= 1 << place
                    pair = clean
                    reason = reason or (f"private_{name}" if actions[name] == "drop" else "")
        masked.append(pair)
        reasons.append(reason)
        found.append(kinds)
    return masked, reasons, found


def without_private_data(text: str) -> str:
    """Return a text with all kinds masked, for samples that people read."""
    if _may_hold_any(text):
        for kind in KINDS.values():
            text = _masked(text, kind)
    return text


def _masked(text: str, kind: Kind) -> str:
    return kind.pattern.sub(lambda match: kind.mask if kind.is_private(match) else match[0], text)


def _may_hold_any(text: str) -> bool:
    return _RARE.search(text) is not None and _HINT.search(text) is not None
