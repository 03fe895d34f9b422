"""Redaction: personal data and secrets in a text, found and masked.

What is published decides: e-mail addresses as they are written in practice (a subset of RFC 5322),
phone numbers by the metadata of libphonenumber, cards by issuer ranges and Luhn (ISO/IEC 7812-1),
IBAN by the registry's structure and mod 97 (ISO 13616), tokens by the prefixes that their issuers
document, private addresses by RFC 1918, 3927, 4193 and 4291. A secret scanner such as
detect-secrets runs a score of plugins on each line and tells the line but not the place, which
masking needs; documented prefixes tell it at a small part of the cost.

Nearly every record is clean, so what decides the speed is to see that quickly: no search begins
before something that it cannot do without was seen in the text.
"""

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from tasks.curate.steps.privacy import spelled

Kind = Literal["email", "phone", "card", "iban", "secret", "private_ip"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_KIND_NAMES = {
    "email": "e-mail addresses",
    "phone": "phone numbers",
    "card": "payment cards",
    "iban": "bank accounts",
    "secret": "keys and passwords",
    "private_ip": "private network addresses",
}


@dataclass(frozen=True, slots=True)
class Found:
    """One finding: `text[start:end]` is of this kind."""

    kind: Kind
    start: int
    end: int


def kind_name(kind: str) -> str:
    """A kind of personal data as people call it."""
    return _KIND_NAMES[kind]


def find(text: str) -> list[Found]:
    """What of `text` is personal or secret, in order and without overlaps.

    Takes time in proportion to the length of the text, whatever it holds.
    """
    return _find(text, KINDS)


def mask(text: str, kinds: Collection[Kind] = KINDS) -> tuple[str, Counter[Kind]]:
    """Put `[EMAIL]`, `[PHONE]` and so on in the place of each finding.

    Masked text has no findings of these kinds.

    Args:
        text: any text, lone surrogates included.
        kinds: what to mask; the rest stays.

    Returns:
        The text, the very object given where there was nothing to mask, and the count by kind.
    """
    found = _find(text, kinds)
    if not found:
        return text, Counter()
    parts: list[str] = []
    end = 0
    for place in found:
        parts += text[end : place.start], f"[{place.kind.upper()}]"
        end = place.end
    return "".join(parts) + text[end:], Counter(place.kind for place in found)


# Tables for bytes.translate: they turn a text into its shape, in which a plain search can tell
# that something is not there. Offsets hold, since each character is encoded as one byte.


def _raw(text: str) -> bytes:
    return text.encode("ascii", "replace")


def _table(**classes: str) -> bytes:
    shape = bytearray(b" " * 256)
    for name, members in classes.items():
        for member in members.encode():
            shape[member] = ord(name)
    return bytes(shape)


_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOWER = _UPPER.lower()
_DIGITS = "0123456789"
_SIGNS = _table(A=_UPPER, a=_LOWER, d=_DIGITS)
_WORDS = _table(w=_UPPER + _LOWER + _DIGITS + "_-")
_MIXTURE = re.compile(rb"d(?:[Aa]|(?<=[Aa]d))")  # a letter beside a digit
_WORD_OF_TOKEN = b"w" * 20  # the shortest token, an AWS access key id
_LONG_NUMBER = b"d" * 8  # no telephone number is shorter
_GAPS = b" .-()/?"  # inside numbers; "?" is what an unbreakable space is encoded as


def _find(text: str, kinds: Collection[Kind]) -> list[Found]:
    found: list[Found] = []
    # What is blanked may uncover its neighbour. Each round but the last needs that to happen
    # again; four end it for all that is not made to go on for ever.
    for _ in range(4):
        before = len(found)
        for search in _searches(text):
            new = list(search(text))
            if new:
                found += new
                text = _blank(text, new)
        if len(found) == before:
            break
    return sorted((place for place in found if place.kind in kinds), key=lambda place: place.start)


def _searches(text: str) -> Iterator[Callable[[str], Iterator[Found]]]:
    """The searches that may find something, the surest first."""
    raw = _raw(text)
    signs = raw.translate(_SIGNS)
    digits = signs.count(b"d")
    mixed = digits and _MIXTURE.search(signs)
    if mixed and "PRIVATE KEY" in text:
        yield _keys
    if mixed and _WORD_OF_TOKEN in raw.translate(_WORDS):
        yield _tokens
    if mixed:
        yield partial(_spans, "secret", spelled.webhooks)
    if "@" in text:
        yield _logins
    if mixed:
        yield _assignments
    yield partial(_spans, "secret", spelled.passwords)
    if "@" in text:
        yield _emails
    yield _spelled_emails
    if mixed and b"AAdd" in signs:
        yield partial(_scan, "iban", _IBAN, _iban)
    if digits:
        yield _ipv4
    yield _ipv6
    if digits >= len(_LONG_NUMBER) and _LONG_NUMBER in raw.translate(_SIGNS, _GAPS):
        yield partial(_scan, "card", _CARD, _card)
        yield partial(_scan, "phone", _PHONE, _phone)
        yield partial(_spans, "phone", spelled.national_numbers)


def _blank(text: str, found: list[Found]) -> str:
    """What masking would leave, as far as any search can tell, with every offset as it was."""
    parts: list[str] = []
    end = 0
    for place in found:
        parts += text[end : place.start], "[", "x" * (place.end - place.start - 2), "]"
        end = place.end
    return "".join(parts) + text[end:]


def _scan(
    kind: Kind, pattern: re.Pattern[str], check: Callable[[re.Match[str]], int | None], text: str
) -> Iterator[Found]:
    """Each match that holds; `check` tells where it ends. One that fails may hide another."""
    begin = 0
    while match := pattern.search(text, begin):
        end = check(match)
        if end is not None:
            yield Found(kind, match.start(), end)
        begin = match.start() + 1 if end is None else end


def _spans(
    kind: Kind, search: Callable[[str], Iterator[tuple[int, int]]], text: str
) -> Iterator[Found]:
    """What a search of `spelled` finds."""
    for begin, end in search(text):
        yield Found(kind, begin, end)


# What stands beside a number must not belong to a longer one. "]" before and "[" after count as
# part of it: they are what masking leaves behind, and masking must not bring new findings about.
# Patterns name their first character before they look behind it, so that the engine, which skips
# quickly to a first character, need not try them everywhere.
_LEFT = r"(?<![\w\].].)(?<![\d\]]-.)"
_LEFTOVER = r"\[(?:xxxx|[A-Z_]{4,10}\])"  # what _blank and masking leave
_RIGHT = r"(?![\w\[])(?![-.][\d\[])"


# E-mail addresses

# Scripts that put spaces between words; in others the words around an address would join it.
_LETTERS = "A-Za-z\u00c0-\u024f\u0370-\u052f"
_LOCAL_BACKWARDS = re.compile(rf"[{_LETTERS}0-9._%+'-]{{1,65}}")
_DOMAIN = re.compile(
    rf"[{_LETTERS}0-9-]{{1,63}}+(?:\.[{_LETTERS}0-9-]{{1,63}}+){{1,8}}+"
    rf"(?!\(|{_LEFTOVER})"  # no call
)
_TOP_LEVEL = re.compile(
    r"a[cdefgilmoqrstuwxz]|b[abdefghijmnorstvwyz]|c[acdfghiklmnoruvwxyz]|d[ejkmoz]|e[cegrstu]"
    r"|f[ijkmor]|g[abdefghilmnpqrstuwy]|h[kmnrtu]|i[delmnoqrst]|j[emop]|k[eghimnprwyz]"
    r"|l[abcikrstuvy]|m[acdeghklmnopqrstuvwxyz]|n[acefgilopruz]|om|p[aefghklmnrstwy]|qa|r[eosuw]"
    r"|s[abcdeghijklmnorstuvxyz]|t[cdfghjklmnortvwz]|u[agksyz]|v[aceginu]|w[fs]|y[et]|z[amw]"
    r"|xn--[a-z0-9-]{2,59}|[^\W\d_a-z]{2,24}",
    re.I,
)
# The generic domains that people have addresses under, and those of networks at home, in firms
# (RFC 6762) and in documents (RFC 2606). What else follows a dot is an attribute or a file name.
_GENERIC_NAMES = """
    academy aero africa agency app art asia bank bayern berlin bio biz blog build business
    capital care careers cat center church city clinic cloud club coach codes com community company
    consulting coop corp dental design dev digital direct doctor earth edu education email energy
    engineer engineering estate eus events example expert family farm finance fit foundation fun
    fund gal games global gmbh gov green group guide guru hamburg health help home host hospital
    hosting house industries info ink institute int international internal invalid invest jobs koeln
    lan land law lawyer legal life link live local london ltd management market marketing media
    mil mobi money museum name net network news ngo nyc one ong online org organic page paris
    partners photo photography photos plus post press pro productions properties pub quebec realty
    rocks ruhr sale school science scot services shop site social software solutions space store
    studio support swiss systems team tech technology tel test tips today tokyo tools top tours
    trade training travel university ventures video vip wales website wien wiki work works world
    wtf xyz yoga zone
"""
_GENERIC = frozenset(_GENERIC_NAMES.split())
# What documents write for a password: in https://user:password@example.com nobody has an address.
_STAND_INS = frozenset({"password", "passwd", "pass", "pw", "pwd", "passphrase", "secret", "token"})
# RFC 2606 and RFC 6761: nobody has an address there.
_RESERVED = frozenset({"test", "example", "invalid", "localhost"})
_NOBODY = frozenset(
    {"email", "e-mail", "username", "user_name", "user.name", "firstname.lastname", "first.last"}
    | {"name.surname", "someone", "example", "recipient", "phone_number"}
)
_ATTRIBUTES = frozenset({"com", "net", "org"})
# Accounts that many share to reach a forge: git@github.com is no person.
_SHARED_ACCOUNTS = frozenset({"git", "hg", "svn"})


def _emails(text: str) -> Iterator[Found]:
    """From each "@" forwards, then backwards, so that no long word is read again and again."""
    end = 0
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        ends = _end_of_domain(domain) if domain is not None else None
        local = _LOCAL_BACKWARDS.match(text[max(at - 65, end) : at][::-1])
        if ends is not None and local is not None and len(local[0]) <= 64:
            name = local[0][::-1].lstrip(".%+'-")
            if name and name[-1] not in ".-+%'" and _is_someone(name, text[at + 1 : ends]):
                yield Found("email", at - len(name), ends)
                end = ends
        at = text.find("@", at + 1)


def _spelled_emails(text: str) -> Iterator[Found]:
    for (begin, end), local, domain in spelled.spelled_addresses(text):
        whole = _DOMAIN.fullmatch(domain)
        if whole and _end_of_domain(whole) == len(domain) and _is_someone(local, domain):
            yield Found("email", begin, end)


def _is_someone(local: str, domain: str) -> bool:
    """Whether an address may be a person's: no account of many, none that documents make up."""
    name, labels = local.lower(), domain.lower().split(".")
    if name in _SHARED_ACCOUNTS | _STAND_INS | _NOBODY or name.startswith("your"):
        return False
    if labels[-1] in _RESERVED or (labels[-1] in ("com", "net", "org") and labels[-2] == "example"):
        return False
    if labels[-2].startswith(("your", "my-domain", "mydomain")):
        return False
    # Libraries are written name@libc.so; of one letter each, it is the product of two matrices.
    return not (
        (labels[-1] == "so" and labels[-2].startswith("lib"))
        or (len(name) == len(labels[-2]) == 1 and len(labels) == 2 and labels[-1] in _ATTRIBUTES)
    )


def _end_of_domain(domain: re.Match[str]) -> int | None:
    """Where the domain ends, also where the next sentence begins without a space."""
    labels = domain[0].rstrip("-").split(".")
    end = domain.start() + len(domain[0].rstrip("-"))
    while len(labels) > 1:
        last = labels.pop()
        known = last.lower() in _GENERIC or _TOP_LEVEL.fullmatch(last)
        if known and (last.islower() or last[:1].isupper()) and all(labels):
            return end
        if not last[:1].isupper():
            return None
        end -= len(last) + 1
    return None


# Private addresses; `ipaddress` has the last word

_IPV4 = re.compile(
    r"1(?<![\w\].-]1)(?<![=<>~!]=1)(?<!ersion 1)"  # 10.2.0.1 of "==10.2.0.1" is a version
    r"(?:0\.\d{1,3}|92\.168|72\.\d\d|69\.254)(?:\.\d{1,3}){2}(?![\w\[])(?!\.\d)",
    re.A,
)
_NETWORK = re.compile(
    r"(?:10\.0\.0\.0/8|172\.16\.0\.0/12|192\.168\.0\.0/16|169\.254\.0\.0/16)(?!\d)"
)
"""The blocks themselves (RFC 1918 and 3927): they are the same for everybody."""
_IPV6 = re.compile(r":[0-9a-fA-F:](?<=[fF][c-eC-E][0-9a-fA-F]{2}:.)(?<![\w:.\]].{6})", re.A)
_IPV6_REST = re.compile(r"[0-9a-fA-F:]{1,40}(?![\w\[])", re.A)


def _ipv4(text: str) -> Iterator[Found]:
    for match in _IPV4.finditer(text):
        if _is_private(match[0]) and not _NETWORK.match(match.string, match.start()):
            yield Found("private_ip", match.start(), match.end())


def _ipv6(text: str) -> Iterator[Found]:
    for match in _IPV6.finditer(text):
        start = match.start() - 4
        rest = _IPV6_REST.match(text, start)
        if rest is not None:
            address = rest[0] if rest[0].endswith("::") else rest[0].rstrip(":")
            if _is_private(address):
                yield Found("private_ip", start, start + len(address))


_PRIVATE = [
    ipaddress.ip_network(block)
    for block in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10",
    )
]  # fmt: skip


def _is_private(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in _PRIVATE)


# Numbers with check digits

_SPACE = " \u00a0\u2009\u202f"
_CARD = re.compile(
    rf"\d{_LEFT}(?:\d{{13,18}}|\d{{3}}(?P<gap>[{_SPACE}-])"
    rf"(?:\d{{6}}(?P=gap)\d{{4,5}}|\d{{4}}(?P=gap)\d{{4}}(?P=gap)\d{{1,4}}(?:(?P=gap)\d{{1,3}})?))"
    rf"{_RIGHT}",
    re.A,
)
_ISSUER = re.compile(
    r"""
      4(?:\d{12}|\d{15}|\d{18})                                          # Visa
    | (?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}   # Mastercard
    | 3[47]\d{13}                                                        # American Express
    | (?:6011|64[4-9]\d|65\d\d|62\d\d)\d{12,15}                          # Discover, UnionPay
    | (?:30[0-59]\d|36\d\d|3[89]\d\d)\d{10}                              # Diners Club
    | (?:352[89]|35[3-8]\d|220[0-4])\d{12,15}                            # JCB, Mir
    | (?:5018|5020|5038|5893|6304|6759|676[1-3])\d{9,15}                 # Maestro
    """,
    re.X | re.A,
)
_IBAN = re.compile(
    rf"[A-Z](?<![\w\]].)[A-Z]\d{{2}}(?:[A-Z0-9]{{11,30}}|"
    rf"(?:[{_SPACE}][A-Z0-9]{{4}}){{2,7}}(?:[{_SPACE}][A-Z0-9]{{1,4}})?)(?![\w\[])",
    re.A,
)
_NUMERALS = str.maketrans({letter: str(ord(letter) - 55) for letter in _UPPER})


def _card(match: re.Match[str]) -> int | None:
    from stdnum import luhn

    # A security code or the date of expiry may follow like one more group.
    for end in _ends_of_groups(match, 2):
        number = re.sub(r"\D", "", match.string[match.start() : end])
        if not match["gap"] and len(number) > 16 and not number.startswith("62"):
            return None  # only UnionPay issues many so long; others are identifiers and seeds
        if _ISSUER.fullmatch(number) and luhn.is_valid(number):
            return end
    return None


def _iban(match: re.Match[str]) -> int | None:
    # Any word in capitals may follow like one more group.
    for end in _ends_of_groups(match, 8):
        number = "".join(match.string[match.start() : end].split())
        if int((number[4:] + number[:4]).translate(_NUMERALS)) % 97 == 1:
            from stdnum import iban

            if iban.is_valid(number, check_country=False):
                return end
    return None


def _ends_of_groups(match: re.Match[str], count: int) -> list[int]:
    """The end of a match and of what is left of it without its last group, last two groups…"""
    ends = [match.start() + group.end() for group in _GROUP.finditer(match[0])]
    return ends[: -count - 1 : -1]


_GROUP = re.compile(r"[A-Z0-9]+")


# Telephone numbers

_PHONE = re.compile(
    rf"""
    [+(0-9](?<![\w\]+./].)(?<![\w\]]-.)(?=[0-9{_SPACE}.()/-]{{7}})
    (?:
      (?P<international>(?:(?<=\+)\d|(?<=0)0[1-9])(?:[{_SPACE}.()/-]{{0,2}}\d){{6,17}})
    | (?P<shape>  # North America with hyphens or brackets, British mobile numbers
        (?:(?<=1)[{_SPACE}.-]\()?(?<=\()[2-9]\d\d\)[{_SPACE}]?\d{{3}}[{_SPACE}.-]\d{{4}}
        | (?:(?<=1)[{_SPACE}.-][2-9]|(?<=[2-9]))\d\d-\d{{3}}-\d{{4}}
        | (?<=0)7\d{{3}}[{_SPACE}](?:\d{{6}}|\d{{3}}[{_SPACE}]\d{{3}}))
    | (?P<dots>(?:(?<=1)\.[2-9]|(?<=[2-9]))\d\d\.\d{{3}}\.\d{{4}})
    | (?P<pairs>(?<=0)[1-9](?P<gap>[{_SPACE}.-])\d\d(?:(?P=gap)\d\d){{3}})
    | (?P<trunk>(?:(?<=\()0[1-9]\d{{1,4}}\)|(?<=0)[1-9]\d{{1,4}})[{_SPACE}/-]{{1,2}}
        \d{{2,8}}(?:[{_SPACE}-]\d{{2,6}}){{0,3}})
    ){_RIGHT}
    """,
    re.X | re.A,
)
_NORTH_AMERICAN = re.compile(r"\+1\D{1,2}[2-9]\d\d\D{1,2}\d{3}\D\d{4}", re.A)
_REGIONS = {"US": "dots", "FR": "pairs"}
_REGIONS |= dict.fromkeys(("GB", "DE", "AT", "CH", "NL"), "trunk")


def _phone(match: re.Match[str]) -> int | None:
    if match["shape"]:
        return match.end()
    if match["trunk"] and spelled.is_numbered(
        match.string[max(match.start() - 20, 0) : match.start()]
    ):
        return None
    international = match["international"] is not None
    regions: list[str | None] = [None] if international else []
    regions += [r for r, form in _REGIONS.items() if match[form]]
    shortest = 8 if international else 9 if match[0].startswith("(") else 10
    for end in _ends_of_groups(match, 4):
        written = " ".join(re.split(f"[{_SPACE}]", match.string[match.start() : end]))
        if sum(map(str.isdigit, written)) < shortest:
            return None
        if any(_is_number(written, region) for region in regions):
            return end
    return None


def _is_number(written: str, region: str | None) -> bool:
    import phonenumbers

    separated = not written[1:].isdigit()
    if written.startswith("00"):
        if not separated:
            return False
        written = "+" + written[2:]
    try:
        parsed = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        return False
    if phonenumbers.is_valid_number(parsed):
        return not re.fullmatch(r"\+?\d+\.\d+", written)  # a decimal number
    # Numbers set aside for fiction and documents are possible, and people use them as real ones.
    if region is not None or not separated:
        return False
    if parsed.country_code == 1:
        return _NORTH_AMERICAN.fullmatch(written) is not None
    possible = phonenumbers.is_possible_number_with_reason(parsed)
    enough = sum(map(str.isdigit, written)) >= 10
    return enough and possible == phonenumbers.ValidationResult.IS_POSSIBLE


# Secrets. All of them have a letter beside a digit.

_KEY = re.compile(
    r"""
    -----BEGIN[ ][A-Z0-9 ]{0,30}PRIVATE[ ]KEY(?:[ ]BLOCK)?-----[\s\\"',]{0,40}
    (?:[A-Za-z-]{1,30}:[ ][^\n]{0,100}\n\s?){0,4}
    [A-Za-z0-9+/=]{40,}+ (?:[\s\\"',]{1,40}[A-Za-z0-9+/=]{16,}+)*+
    (?:[\s\\"',]{0,40}[A-Za-z0-9+/=]{0,20}[\s\\"',]{0,40}
    -----END[ ][A-Z0-9 ]{0,30}PRIVATE[ ]KEY(?:[ ]BLOCK)?-----)?
    """,
    re.X | re.A,
)
_TOKEN = re.compile(
    r"""(?<![A-Za-z0-9])(?:
      (?:AKIA|ASIA)[A-Z0-9]{16}(?![\w-])                              # AWS
    | gh[oprsu]_[A-Za-z0-9]{36,} | github_pat_\w{22,}                 # GitHub
    | gl(?:pat|ptt|dt|rt|cbt|soat|ft|imt|agent|oas|ffct)-[\w-]{20,}   # GitLab
    | xox[a-z]-[\w-]{12,} | xapp-\d-[\w-]{12,}                        # Slack
    | [rs]k_(?:live|test)_[A-Za-z0-9]{16,} | whsec_[A-Za-z0-9]{20,}   # Stripe
    | AIza[\w-]{35}(?![\w-]) | GOCSPX-[\w-]{20,}                      # Google
    | hf_[A-Za-z0-9]{30,}                                             # Hugging Face
    | npm_[A-Za-z0-9]{36,} | pypi-AgE[\w-]{50,}                        # npm, PyPI
    | sk-(?P<doubtful>[\w-]{20,})                                     # OpenAI and others
    )""",
    re.X | re.A,
)
_TOKEN_OF_MANY_WORDS = re.compile(
    r"""
      eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}                          # JSON Web Token, RFC 7519
    | (?<=[Bb]earer[ ])(?P<doubtful>[\w.~+/-]{20,}=*)                 # RFC 6750
    """,
    re.X | re.A,
)
_NAMES = (b"pass", b"pwd", b"secret", b"token", b"key")
_KEYS_TO = (b"api", b"access", b"secret", b"private", b"account", b"auth", b"signing",
            b"encryption", b"master", b"storage", b"shared")  # fmt: skip
_PUBLIC = (b"public", b"publickey", b"public_key", b"public-key")
_VALUE = re.compile(
    r"""(?i:word|wd|phrase)?"""
    r"""(?:\\?["'`])?[ \t]{0,8}(?::[ \t]?[A-Za-z|. ]{1,30})?(?:=>|[:=]=?)[ \t]{0,8}"""
    r"""(?:\\?(?P<quote>["'`])(?P<quoted>[^\s"'`\\]{8,200})\\?(?P=quote)"""
    r"""|(?P<bare>(?:[^\s"'`\\,;=()\[\]{}<>&]|&(?!\w{1,30}=)){8,200}+={0,2}+)(?![(\[{]))"""
)
_CHANGE = re.compile(r"[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])")
_CLASSES = [re.compile(sign) for sign in ("[a-z]", "[A-Z]", "[0-9]", r"[^A-Za-z0-9_./:-]")]


def _logins(text: str) -> Iterator[Found]:
    for match in _LOGIN.finditer(text):
        if match["password"].lower() not in _STAND_INS:
            yield Found("secret", match.start("both"), match.end("both"))


_LOGIN = re.compile(
    r"""://(?P<both>[^\s/@:"'`<>\[\]{}]{0,64}:(?P<password>[^\s/@"'`<>\[\]{}]{1,200}))@"""
)


def _keys(text: str) -> Iterator[Found]:
    for match in _KEY.finditer(text):
        yield Found("secret", match.start(), match.end())


def _tokens(text: str) -> Iterator[Found]:
    words = _raw(text).translate(_WORDS)
    at = words.find(_WORD_OF_TOKEN)
    while at >= 0:
        end = words.find(b" ", at)
        end = len(text) if end < 0 else end
        if _DIGIT.search(text, at, end):
            match = _TOKEN_OF_MANY_WORDS.match(text, at) or _TOKEN.search(text, at, end)
            # Ten different characters: "ghp_xxxx" stands for a token in a document.
            if match is not None and len(set(match[0])) >= 10:
                end = match.end()
                if "EXAMPLE" in match[0]:
                    pass  # a key of Amazon's documentation
                elif match["doubtful"] is None or _is_random(match["doubtful"], 4):
                    yield Found("secret", match.start(), end)
        at = words.find(_WORD_OF_TOKEN, end)


_DIGIT = re.compile("[0-9]")


def _assignments(text: str) -> Iterator[Found]:
    lower = _raw(text).lower()
    spans = set()
    for name in _NAMES:
        at = lower.find(name)
        while at >= 0:
            end = at + len(name)
            owner = lower[max(at - 12, 0) : at].rstrip(b"_- ")
            named = owner.endswith(_KEYS_TO) if name == b"key" else not owner.endswith(_PUBLIC)
            value = _VALUE.match(text, end) if named else None
            if value is not None:
                group = "quoted" if value["quoted"] else "bare"
                # In code a bare value is a name more often than a secret.
                if _is_random(value[group], 3 if value["quoted"] else 4) and (
                    "EXAMPLE" not in value[group]
                ):
                    spans.add(value.span(group))
            at = lower.find(name, end)
    last = 0
    for start, end in sorted(spans):
        if start >= last:
            yield Found("secret", start, end)
            last = end


def _is_random(value: str, mixed: int) -> bool:
    """Whether letters and digits alternate as in no word, or `mixed` classes of signs meet."""
    if value[0] in "${<%" or re.search(_LEFTOVER, value):
        return False
    changes = len(_CHANGE.findall(value))
    if changes < 3 and sum(bool(sign.search(value)) for sign in _CLASSES) < mixed:
        return False
    return changes > 0 and _entropy(value) >= 2.5


def _entropy(value: str) -> float:
    """Bits per character (Shannon)."""
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * math.log2(share) for share in shares)
