"""Redaction: what is personal or secret goes, what merely looks like it stays."""

import base64
import hashlib
import json
import random
import string
import uuid
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from tasks.curate.steps.privacy.redaction import KINDS, find, mask

RANDOM = random.Random(7)
LETTERS = string.ascii_letters + string.digits


def found(text: str) -> list[tuple[str, str]]:
    return [(one.kind, text[one.start : one.end]) for one in find(text)]


def sign(count: int, alphabet: str = LETTERS) -> str:
    """Random signs among which a letter stands beside a digit."""
    return "".join(RANDOM.choices(alphabet, k=count - 4)) + "A7b9"


def luhn(prefix: str, length: int) -> str:
    body = prefix + "".join(RANDOM.choices(string.digits, k=length - 1 - len(prefix)))
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)


def iban(country: str, account: str) -> str:
    number = int("".join(str(int(one, 36)) for one in account + country + "00"))
    return f"{country}{98 - number % 97:02}{account}"


def grouped(text: str, size: int = 4, gap: str = " ") -> str:
    return gap.join(text[at : at + size] for at in range(0, len(text), size))


def pem(body: str, name: str = "RSA ") -> str:
    return f"-----BEGIN {name}PRIVATE KEY-----\n{body}\n-----END {name}PRIVATE KEY-----"


def jwt() -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": "1234567890", "name": "Jo"}]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts]
    return ".".join([*(part.rstrip("=") for part in coded), sign(43)])


EMAILS = [
    "ann@nordwind.com",
    "jo.o-neil+news@mail.example.co.uk",
    "JO_99@Nordwind.ORG",
    "müller@bücher.example.de",
    "a@b.io",
    "o'hara@nordwind.net",
    "иван@пример.рф",
    "root@db1.corp",
    "x@xn--bcher-kva.xn--p1ai",
]
PHONES = [
    "+1 202-555-0173",
    "+12025550173",
    "+1 (555) 123-4567",
    "+44 20 7946 0958",
    "+44 7700 900123",
    "+49 (0)30 901820",
    "+49-151-23456789",
    "+33 6 12 34 56 78",
    "+33\u202f6\u00a012\u00a034\u00a056\u00a078",
    "+91 98765 43210",
    "+81 3-1234-5678",
    "+86.138.0013.8000",
    "0049 30 901820",
    "(212) 555-0187",
    "212-555-0187",
    "1-800-555-0199",
    "212.555.0187",
    "06 12 34 56 78",
    "020 7946 0958",
    "07700 900123",
    "0171 1234567",
    "(030) 901820",
    "1 (212) 555-0187",
    "(0171) 123 4567",
    "(212)555-0187",
]
CARDS = [
    luhn("4", 16),
    luhn("55", 16),
    luhn("2221", 16),
    luhn("2720", 16),
    luhn("37", 15),
    luhn("6011", 16),
    luhn("62", 17),
    luhn("62", 19),
    luhn("36", 14),
    luhn("3530", 16),
    luhn("2200", 16),
    luhn("6759", 16),
]
SPACED_CARDS = [
    grouped(CARDS[0]),
    grouped(CARDS[0], gap="-"),
    grouped(CARDS[0], gap="\u00a0"),
    grouped(luhn("4", 13)),
    grouped(luhn("4", 19)),
    grouped(luhn("6759", 18), gap="-"),
    *(f"{one[:4]} {one[4:10]} {one[10:]}" for one in (luhn("37", 15), luhn("36", 14))),
]
IBANS = [
    iban("DE", "370400440532013000"),
    iban("GB", "WEST12345698765432"),
    iban("NO", "86011117947"),
    iban("FR", "20041010050500013M02606"),
    iban("MT", "MALT011000012345MTLCAST001S"),
]
TOKENS = [
    "AK" + "IA" + sign(16, string.ascii_uppercase + "234567").upper(),
    "AS" + "IA" + sign(16, string.ascii_uppercase + "234567").upper(),
    *(f"gh{one}" + "_" + sign(36) for one in "pousr"),
    "github" + "_pat_" + sign(22) + "_" + sign(59),
    "gl" + "pat-" + sign(20, LETTERS + "_-"),
    "xo" + "xb-" + "123456789012-1234567890123-" + sign(24),
    "sk" + "_live_" + sign(24),
    "rk" + "_test_" + sign(24),
    "AI" + "za" + sign(35, LETTERS + "_-"),
    "GOC" + "SPX-" + sign(28),
    "h" + "f_" + sign(34),
    "np" + "m_" + sign(36),
    "py" + "pi-AgEIcHlwaS5vcmc" + sign(100),
    "sk" + "-" + sign(48),
    "sk" + "-proj-" + sign(74, LETTERS + "_-"),
    jwt(),
]
KEYS = [
    pem("\n".join([sign(64)] * 5)),
    pem("\n".join([sign(64)] * 5), name=""),
    pem("\n".join([sign(64)] * 5), name="OPENSSH "),
    pem("\\n".join([sign(64)] * 5), name="EC "),
    pem("Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0A1B2C\n\n" + sign(64) + "\n" + sign(64)),
    "-----BEGIN PRIVATE" + " KEY-----\n" + "\n".join([sign(64)] * 3),
]
ADDRESSES = [
    "10.0.0.1",
    "10.255.255.254",
    "172.16.0.9",
    "172.31.255.1",
    "192.168.1.20",
    "169.254.169.254",
    "fd12:3456:789a:1::1",
    "fe80::1ff:fe23:4567:890a",
    "FC00:0:0:0:0:0:0:1",
]
PLANTED = [
    *(("email", one) for one in EMAILS),
    *(("phone", one) for one in PHONES),
    *(("card", one) for one in CARDS + SPACED_CARDS),
    *(("iban", one) for one in IBANS + [grouped(one) for one in IBANS]),
    *(("secret", one) for one in TOKENS + KEYS),
    *(("private_ip", one) for one in ADDRESSES),
]
SURROUNDINGS = [
    "{}",
    "{} at the start",
    "at the end {}",
    "in the middle {}, and on.",
    "({})",
    '"{}"',
    "<{}>",
    "two lines\n{}\nmore",
    "电话 {}。",
    "连系{}请",
    "é… {} – ü",
    "😀{}😀",
    "[{}]",
    "a;{};b",
    "Is it {}?",
    "It is {}.",
    "name={}",
    "x: {}!",
]


@pytest.mark.parametrize(("kind", "value"), PLANTED, ids=range(len(PLANTED)))
def test_what_is_planted_is_found_whole_whatever_stands_around_it(kind, value):
    for around in SURROUNDINGS:
        text = around.format(value)
        assert found(text) == [(kind, value)], text
        assert mask(text) == (around.format(f"[{kind.upper()}]"), Counter({kind: 1}))


STRONG = ["Tr0ub4dor&3x", "s3cr3tP@ss", "Summer2024!", hashlib.md5(b"x").hexdigest(), sign(40)]


@pytest.mark.parametrize("value", STRONG)
@pytest.mark.parametrize(
    "around",
    [
        'password = "{}"',
        "DB_PASSWORD={}\n",
        '{{"api_key": "{}", "n": 1}}',
        "apiKey: '{}'",
        'client_secret => "{}"',
        'connect(user="me", passwd="{}")',
        'aws_secret_access_key: str = "{}"',
        '{{\\"auth_token\\": \\"{}\\"}}',
        "passphrase: {}",
        "postgresql://app:{}@db/main",
    ],
)
def test_a_random_value_of_a_secret_name_is_masked_and_its_name_stays(around, value):
    value = value.replace("@", "#") if "://" in around else value
    (secret,) = found(around.format(value))
    assert secret[0] == "secret"
    assert value in secret[1]
    assert mask(around.format(value))[0] in (
        around.format("[SECRET]"),
        around.replace("app:", "").format("[SECRET]"),
    )


def test_a_secret_in_a_query_ends_where_the_next_begins():
    one, two = sign(20), sign(20)
    text = f"?oauth_token={one}&oauth_token_secret={two}&n=1"
    assert found(text) == [("secret", one), ("secret", two)]


def test_a_secret_inside_a_secret_is_one_or_beside_it():
    text = 'password="a1B2!c3D4/e5F6/{}"'
    assert mask(text.format("/" + TOKENS[0])) == (text.format("/[SECRET]"), {"secret": 1})


def test_bearer_tokens_are_secret():
    token = sign(40)
    assert found(f"Authorization: Bearer {token}") == [("secret", token)]


CLEAN = {
    "version": "Since version 2.4.1 (was 10.15.7 and v10.0.0.1), needs numpy==10.2.0.1, 1.2.3.4.",
    "public ip": "ping 8.8.8.8, 127.0.0.1, 0.0.0.0, 192.0.2.1, 198.51.100.7, 172.32.0.1",
    "ipv6": "::1, 2001:db8::1, 2606:4700:4700::1111, fe::1, std::vector<fd::x>, 0xfd00:1",
    "decorator": "@property\n@functools.cache\ndef f(): ...\n@app.get('/v1/users')\n",
    "matrix": "y = a@b; z = q@k.T; s = (q@k.mT)/8; x@self.weight; A@B.transpose(); x@w.to(d)",
    "no domain": "foo@bar and root@localhost, user@host:path, me@ and @me, a @ b.com, foo@.com",
    "image": "icon@2x.png, lodash@4.17.21, pkg@latest.js, actions/checkout@v4, page@1.5.min.js",
    "forge": "git clone git@github.com:owner/name.git",
    "handle": "Follow @someone.else on https://medium.com/@someone.else/post-1234567890",
    "date": "2019-03-14, 14.03.2019, 03/14/2019 10:11, 2019-03-14T10:11:12.123456+02:00, 20190314",
    "ranges": "01-02-2023 10:30, 1999-2004-2010, 2001 2002 2003 2004, 100-200, 256 512 1024 2048",
    "isbn": "ISBN 978-3-16-148410-0, ISBN 0-306-40615-2, ISSN 0317-8471, 9783161484100",
    "float": "3.141592653589793, -2.718281828459045e-10, +1.4142135623, 6.02E+23, 1e+4930901820",
    "integer": "1234567890, 4294967295, 9223372036854775807, 14695981039346656037, 170000000000000",
    "long": "2125550187 20255501730 4930901820 0612345678 4611686018427387904 6364136223846793005",
    "grouped": "1 000 000 000 and 12,345,678,901 and 1_000_000_000 and 10'000'000'000",
    "code": "x[255-100:2000] = f(0x7fffffff, 1 << 31, -1234567890); y = (200)-300-4000+1",
    "hunk": "@@ -1203,17 +1203,19 @@ def f(a, b):\n+1203\n-1204\n",
    "table": "| 0.123 | 0.456 | 224.256.1 | 0123 | 000-000-0000 |",
    "sha": hashlib.sha1(b"a").hexdigest() + " " + hashlib.sha256(b"b").hexdigest(),
    "md5": f"md5:{hashlib.md5(b'c').hexdigest()}  file-1.2.tar.gz",
    "uuid": f"{uuid.UUID(int=RANDOM.getrandbits(128))} 12345678-1234-1234-1234-123456789012",
    "base64": "data:image/png;base64," + base64.b64encode(RANDOM.randbytes(900)).decode(),
    "path": "/usr/lib/python3.11/site-packages/x-1.2.3.dist-info/RECORD C:\\Program Files (x86)",
    "names": "api_key=os.environ['API_KEY_2'], password=self.password, token: str = get_token(b2)",
    "words": 'password="your-password-here", api_key="example_key_123", token = "hello_world_2"',
    "template": 'api_key = "${API_KEY_1a2b3c}", password={{ vault_p4ss_w0rd }}, "https://{u}:{p}@h.com"',
    "zeros": "gh" + "p_" + "x0" * 18,
    "stand-in": "v2 gh"
    + "p_"
    + "x" * 36
    + " AK"
    + "IA"
    + "X" * 16
    + " sk"
    + "-"
    + "your-own-secret-key-here",
    "css": ".sk-some-quite-long-class-name-of-a-page { color: #a1b2c3 }",
    "header": 'if "-----BEGIN RSA PRIVATE'
    + ' KEY-----" in text: raise ValueError("a1: key in text")',
    "tokens": "tokens=32768, tokenizer(Qwen2Tokenizer), pad_token_id=50256, key=lambda",
    "tokenizer": 'eos_token = "<|endoftext|>", token=Llama3TokenizerFast(v2), keys: utf8-latin1',
    "public key": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7 comment",
    "public pem": "-----BEGIN PUBLIC KEY-----\n" + sign(64) + "\n-----END PUBLIC KEY-----",
    "iban-like": "DE00370400440532013000 AB12 CDEF 3456 GHIJ GB82 WEST 1234 5698 7654 33 ISO27001",
    "postal code": "MA 02110-1301, doi:10.1016/0020-0190(76)90049-1, economics-080217-053214",
    "long card": luhn("4", 19) + " " + luhn("4", 13) + " " + luhn("6759", 18),
    "documents": "postgres://user:password@example.com/db, amqp://user:pass@mq.example.com",
    "public token": f'publicKeyToken="{sign(16)}"',
    "word in capitals": "Version 10.4.2.1, x" + TOKENS[2] + " and a" + TOKENS[0],
    "dull": 'password = "aA1aA1aA1aA1", token="0b0b0b0b0b0b"',
    "long name": "a" * 70 + "@nordwind.com",
    "call": "token = base64.b64encode(f'{a1}'), token=ids2tok3ns4(x), api_key=k3y5t0re[1]",
    "time": "00:12:34,567 --> 00:12:36,789; 12:30-14:00; 1h30; 90210-1234",
    "ssn-like": "123-45-6789, 12-3456789, A-123-456, 1.2-3.4",
    "mac": "fc:aa:14:9b:02:33, fd-12-34-56-78-9a",
}


@pytest.mark.parametrize("text", CLEAN.values(), ids=CLEAN.keys())
def test_what_only_looks_like_it_stays(text):
    assert found(text) == []
    masked, counts = mask(text)
    assert masked is text
    assert not counts


@pytest.mark.parametrize("number", CARDS + IBANS)
def test_one_wrong_digit_is_no_number(number):
    place = len(number) - 2
    wrong = number[:place] + str((int(number[place]) + 1) % 10) + number[place + 1 :]
    if number[place].isdigit():
        assert found(wrong) == []


def test_luhn_alone_makes_no_card():
    assert found(luhn("1", 16)) == found(luhn("9", 16)) == found(luhn("4", 15)) == []


def test_what_follows_a_number_is_not_swallowed():
    card = grouped(CARDS[0])
    assert found(f"{card} 12/27 123") == [("card", card)]
    assert found(f"{grouped(IBANS[0])} BIC COBADEFF") == [("iban", grouped(IBANS[0]))]
    assert found("+1 202-555-0173 2024") == [("phone", "+1 202-555-0173")]
    assert found(f"1234 {card}") == [("card", card)]
    spanish = grouped(iban("ES", "21000418450200051332"))
    assert found(f"{spanish} BANK CODE") == [("iban", spanish)]


@pytest.mark.parametrize("around", ["x{}", "{}x", "{}7", "_{}", "1.{}", "{}.1"])
@pytest.mark.parametrize("number", ["212-555-0187", "10.0.0.1", *CARDS, *IBANS])
def test_part_of_a_longer_word_or_number_is_no_number(number, around):
    if number not in IBANS or "." not in around:
        assert number not in [value for _, value in found(around.format(number))]


def test_a_sentence_that_begins_right_after_an_address_stays():
    assert mask("Ask ann@nordwind.com.Then wait.")[0] == "Ask [EMAIL].Then wait."


def test_only_the_kinds_asked_for_are_masked():
    text = f"ann@nordwind.com 10.0.0.1 https://ann:pa5s@example.com {CARDS[0]}"
    assert mask(text, ["private_ip"]) == (
        text.replace("10.0.0.1", "[PRIVATE_IP]"),
        {"private_ip": 1},
    )
    assert mask(text, [])[0] is text
    masked, counts = mask(text)
    assert masked == "[EMAIL] [PRIVATE_IP] https://[SECRET]@example.com [CARD]"
    assert counts == {"email": 1, "private_ip": 1, "secret": 1, "card": 1}


PIECES = st.sampled_from(
    [value for _, value in PLANTED]
    + STRONG
    + [f"[{kind.upper()}]" for kind in KINDS]
    + list(" .,:;-_/\\@+=()[]{}<>\"'`#%$!\n\tA1a0é中\u00a0")
    + [
        "password=",
        "api_key: ",
        "Bearer ",
        "token='",
        "secret=>",
        "://",
        "::",
        "00",
        "AKIA",
        "eyJ",
        "10.",
        "fd00:",
        "com",
    ]
)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("<FC00:0:0:0:0:0:0:1::001-800-555-0199", KINDS),
        ("+86.138.0013.8000/10.0.0.1", KINDS),
        (f"ann@nordwind.com{SPACED_CARDS[0]}", {"email", "phone"}),
        (f"ann@пример.рф{CARDS[0][:4]} 0530 5040 0480", {"email", "phone"}),
        (f"{'9' * 40}-[SECRET]-{CARDS[0]}ann{'a' * 30}@nordwind.com", KINDS),
        (f"192.168.1.202-555-0173{TOKENS[2]}ann@nordwind.com", KINDS),
        (f"{CARDS[0]}-{TOKENS[2]}-{TOKENS[3]}", KINDS),
        ('token="a[EMAIL]b1C2d3"', KINDS),
    ],
)
def test_masking_uncovers_nothing(text, kinds):
    masked, _ = mask(text, kinds)
    assert mask(masked, kinds) == (masked, Counter())


@hypothesis(deadline=None, max_examples=400)
@given(
    st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join),
    st.sets(st.sampled_from(KINDS)),
)
def test_masked_text_has_nothing_to_mask(text, kinds):
    masked, counts = mask(text, kinds)
    assert mask(masked, kinds) == (masked, Counter()), masked
    assert (masked is text) == (not counts)
    assert set(counts) <= kinds


@hypothesis(deadline=None, max_examples=200)
@given(st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join))
def test_findings_are_in_order_apart_and_account_for_every_character(text):
    ends = 0
    rest = []
    for one in find(text):
        assert ends <= one.start < one.end <= len(text)
        rest += text[ends : one.start], f"[{one.kind.upper()}]"
        ends = one.end
    assert mask(text)[0] == "".join(rest) + text[ends:]


@hypothesis(deadline=None, max_examples=100)
@given(st.text(st.characters(), max_size=200))
def test_any_text_is_read(text):
    mask(text + "\ud800 1a@")


HOSTILE = [
    *"1-a@+A.:_ [%'=0f(",
    "a@", "a@b.", "@a-", "+1", "1 ", "1-", "+1 2 3 ", "1234 ", "1234-", "4111 1111 1111 1112 ",
    "012 ", "0171 1234567 ", "+49 30 9018 ", "+12 ", "A1", "DE89 ", "DE89 3704 0044 0532 ",
    "10.", "10.1.", "1.1", "fd00:", "f:", "fe80::", "://", "://a", "://a:", "://a:b", "a:b@",
    "eyJ", "eyJhbGciOiJIUzI1NiJ9.", "eyJhbGciOiJIUzI1NiJ9.eyJ", "sk-", "sk-a1B2", "ghp_", "key=",
    "password=", "api_key='", "secret: ", "secret:", "secret:a1b2", "token=a1b2c3d4",
    "Bearer ", "bearer a1", "-----", "sk-a1-", "a1_", "_ghp_a1",
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----A1 ", "BEGIN PRIVATE KEY a1 \n",
    "-----BEGIN A", "-----BEGIN PRIVATE KEY-----\nA: b1\n", "\\n", "'\"", "é1", "\u00a01",
]  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("unit", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_takes_linear_time(unit):
    mask("a1 " + unit * (100_000 // len(unit)))
