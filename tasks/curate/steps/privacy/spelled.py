"""Personal data in forms that only the words beside them make plain.

E-mail addresses spelled for people ("ann (at) firm.de"), telephone numbers as they are written in
one country, addresses of webhooks, passwords after a word for them. Each function gives the spans
(begin, end) that it found, in order, and takes time in proportion to the length of the text.
"""

import re
from collections.abc import Iterator
from typing import AnyStr

Span = tuple[int, int]

# E-mail addresses as people spell them

_AT_IN_BRACKETS = re.compile(rb"[\[({] ?(?:at|AT|At|@|a|arroba|\?t?) ?[\])}]")
_AT = re.compile(
    r"\s?(?:[\[({<]\s?(?:at|AT|At|@|\uff20|ät|arroba|a)\s?[\])}>]|&#0{0,4}64;|&#[xX]0{0,4}40;"
    r"|&commat;|%40|\\u0040|\uff20|_at_|-at-)\s?"
)
_AT_WORD = re.compile(r"\s(?:at|AT)\s")
_LOCAL = re.compile(r"(?<![\w.%+\]-])[A-Za-z0-9](?:[\w.%+-]{0,62}[A-Za-z0-9])?$", re.A)
_LOCAL_WORDS = re.compile(
    r"(?<![\w.%+\]-])[A-Za-z0-9](?:[\w.%+-]{0,30}[A-Za-z0-9])?(?:\s(?:dot|DOT)\s\w{1,15}){0,2}$",
    re.A,
)
_LONGEST_LOCAL = 66
_DOT = r"(?:\.|\s?[\[({<]\s?(?:dot|DOT|Dot|punkt|point|punto|\.)\s?[\])}>]\s?|\s(?:dot|DOT)\s)"
_DOT_SIGN = re.compile(_DOT)
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_NAME}(?:{_DOT}{_NAME}){{1,4}}(?![\w\[])", re.A)
_SPELLED_DOT = re.compile(r"\s(?:dot|DOT)\s|[\[({<]\s?(?:dot|DOT|Dot|punkt|point|punto)")
_MAIL_WORD = re.compile(
    r"(?:e-?mail|mail|contact|write|reach|address|adresse|correo|courriel|kontakt|schreib)\w*\W"
    r"[^\n\[\]]{0,24}$",
    re.IGNORECASE,
)
_NO_LOCAL = frozenset(
    ("us", "me", "him", "her", "them", "look", "is", "was", "are", "it", "you", "out", "up", "here")
)


def spelled_addresses(text: str) -> Iterator[tuple[Span, str, str]]:
    """Spans of addresses whose "@" is spelled, each with its local part and its domain."""
    raw = text.encode("ascii", "replace")
    signs = _has_at(raw) or "\uff20" in text
    words_only = b" dot " in raw or b" DOT " in raw
    if not (signs or words_only):
        return
    end = 0
    for pattern in [_AT] * signs + [_AT_WORD] * words_only:
        for match in pattern.finditer(text):
            found = _around(text, match, pattern is _AT_WORD)
            if found is not None and found[0][0] >= end:
                yield found
                end = found[0][1]


def _has_at(raw: bytes) -> bool:
    """Whether a sign for "@" may be in a text: the fastest check is on its bytes."""
    if b"&#" in raw or b"%40" in raw or b"&comm" in raw or b"\\u0040" in raw:
        return True
    return b"_at_" in raw or b"-at-" in raw or _AT_IN_BRACKETS.search(raw) is not None


def _around(text: str, at: re.Match[str], words_only: bool) -> tuple[Span, str, str] | None:
    """The address around a spelled "@"."""
    domain = _DOMAIN.match(text, at.end())
    if domain is None:
        return None
    window = max(at.start() - _LONGEST_LOCAL, 0)
    before = text[window : at.start()]
    local = (_LOCAL_WORDS if words_only else _LOCAL).search(before)
    if local is None or (window and not local.start()):
        return None
    begin = window + local.start()
    if words_only:
        upper = at[0].strip() == "AT" and " DOT " in domain[0]
        said = text[max(begin - 40, 0) : begin]
        telling = upper or _MAIL_WORD.search(said) or re.search(r"[\d._]", local[0])
        if not _SPELLED_DOT.search(domain[0]) or not telling or local[0].lower() in _NO_LOCAL:
            return None
    name = _DOT_SIGN.sub(".", local[0]) if words_only else local[0]
    return (begin, domain.end()), name, _DOT_SIGN.sub(".", domain[0])


# Telephone numbers

_GAP = "[ \u00a0\u2009\u202f./()-]"
_NUMBER = re.compile(
    rf"(?<![\w\].+/#-])[+(]?\d(?:{_GAP}{{0,2}}\d){{6,14}}(?![\w\[])(?![-./]\d)", re.A
)
_PHONE_WORD = (
    r"(?:(?:tele)?phone|tele?fon\w{0,2}|tél(?:éphone)?|teléfono|tel|mobile?|handy(?:nummer)?|cell"
    r"|cellulare|celular|móvil|portable|gsm|whatsapp|sms|fax|hotline|helpline|landline|rufnummer"
    r"|telefonnummer|mobilnummer|numéro|puhelin|komórka|тел(?:ефон)?|моб"
    r"|звоните|позвоните"
    r"|(?:call|ring|phone|text|reach|contact|ph|fon|tlf|mob|viber|signal"
    r"|dial|ruf(?:en Sie)?|appelez|llám[ae]|ligue|chiama)"
    r"(?: (?:me|us|him|her|them|mich|uns|moi|nous|mi|ci|an))?)"
)
_FILLER = (
    r"(?:[\s.:=#(,]|\b(?:number|numbers|no|nr|num|n°|is|are|was|at|on|under|unter|ist|est|es|è|au|al"
    r"|via|ou|or|and|und|m|h|w|o|home|work|office|private|privat|direct|a|my|now|please)\b){0,12}"
)
_BEFORE_NUMBER = re.compile(rf"(?<![^\W_]){_PHONE_WORD}{_FILLER}$", re.IGNORECASE)
_BEFORE_NUMBER_CJK = re.compile(
    r"(?:电话|手机|電話|携帯|手機|致电|拨打|联系|聯絡|微信|短信|号码|传真|来电|打给|전화|휴대폰|फोन|मोबाइल"
    r"|هاتف|جوال|טלפון)[^\d\n\[\]]{0,10}$"
)
_NO_PHONE = re.compile(
    r"(?:(?<![^\W_])(?:order|invoice|ticket|serial|version|isbn|account|build|model|part|reference"
    r"|imei|error|id|qq)s?(?![^\W_])|订单|单号|编号|流水|账号|帐号|卡号|时间戳|版本|批次|序列|订货|金额|身份证)"
    r"[^\d\n\[\]]{0,8}$",
    re.IGNORECASE,
)
_CHINESE_MOBILE = re.compile(r"1[3-9]\d{9}|1[3-9]\d([ -])\d{4}\1\d{4}")
_HAN = re.compile("[\u4e00-\u9fff]")
# As people of one country group them; the digits that may lead are what makes them plain.
_NATIONAL = re.compile(
    r"""
      0[1-9]\d[ -]\d{3}[ -](?:\d{4}|\d\d[ -]\d\d)    # a trunk prefix and groups: many countries
    | \(?0[1-9]\d\d\)?[ -]\d{3}[ -](?:\d{3,4}|\d\d[ -]\d\d)
    | 0[1-9]\d{0,2}-\d{3,4}-\d{3,4} | 0120-\d{3}-\d{3}  # Japan, Korea, Taiwan, Indonesia
    | (?:0[1-9]|\(0[1-9]\))[ ]\d{4}[ -]\d{4}          # Australia, Italy
    | 01\d[ -]\d{3,4}[ ]\d{4} | 05\d-\d{7}           # Egypt, Malaysia, Israel
    | \(0[1-9]\d\)[ ]?\d{3}-\d\d-\d\d               # Ukraine
    | 04\d\d[ ]\d\d[ ]\d\d[ ]\d\d                   # Belgium
    | 06[ -]\d{8} | 06[ ]\d\d[ ]\d{3}[ ]\d{3,4}      # Netherlands, Hungary
    | (?:\(\d\d\)[ ]?9?|[1-9]\d[ ]9)\d{4}-\d{4}     # Brazil
    | 8[ -]?\(?9\d\d\)?[ -]\d{3}[ -]\d\d[ -]\d\d    # Russia
    | 0\d{2,3}-[2-8]\d{6,7}                           # China
    | [6-9]\d{4}-\d{5}                                # India
    """,
    re.X | re.A,
)


def national_numbers(text: str) -> Iterator[Span]:
    """Spans of telephone numbers without a country's code.

    A number counts where a word for a telephone stands before it, where people of one country
    group it as nobody groups an amount, or where it is a Chinese mobile in Chinese writing.
    """
    for match in _NUMBER.finditer(text):
        begin, end = match.span()
        begin += match[0].startswith("(") and ")" not in match[0]
        before = text[max(begin - 48, 0) : begin].rpartition("\n")[2]
        number = text[begin:end]
        digits = re.sub(r"\D", "", number)
        if len(set(digits)) < 3 or digits in "01234567890123456789":
            continue  # stands for a number
        if is_numbered(before):
            continue
        if _BEFORE_NUMBER.search(before) or _BEFORE_NUMBER_CJK.search(before):
            if 7 <= len(digits) <= 13 and not _is_date(number):
                yield begin, end
            continue
        if _NATIONAL.fullmatch(number) and not _is_in_row(text, begin, end):
            yield begin, end
        elif _CHINESE_MOBILE.fullmatch(number):
            beside = text[max(begin - 8, 0) : begin].rpartition("]")[2]
            beside += text[end : end + 8].partition("[")[0]
            if not number.isdigit() or _HAN.search(beside):
                yield begin, end


def is_numbered(before: str) -> bool:
    """Whether the words directly before a number say that it is an order's, a part's, …"""
    return _NO_PHONE.search(before) is not None


def _is_date(number: str) -> bool:
    return re.fullmatch(r"(?:19|20)\d\d[./-]?\d\d[./-]?\d\d.*", number) is not None


def _is_in_row(text: str, begin: int, end: int) -> bool:
    """Whether other numbers stand directly beside it, as in a table."""
    return bool(re.search(r"\d[ ,;|\t]{1,3}$", text[max(begin - 4, 0) : begin])) or bool(
        re.match(r"[ ,;|\t]{1,3}\d", text[end : end + 4])
    )


# Webhooks: whoever knows the address may post

_HOOK_MARKS = ("hook", "telegram.org/bot", "ifttt.com/", "googleapis.com/v1/spaces", "logic.azure")
_HOOK = re.compile(
    r"""
      hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/(?P<slack>[A-Z0-9][\w/-]{16,200})
    | discord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks/(?P<discord>\d{16,20}/[\w-]{40,100})
    | webhook\.office(?:365)?\.com/(?:webhookb2/)?(?P<teams>[\w@/-]{40,400})
    | outlook\.office(?:365)?\.com/webhook/(?P<teams2>[\w@/-]{40,400})
    | logic\.azure\.com(?::443)?/(?P<azure>[^\s"'<>]{0,200}sig=[\w%-]{20,100})
    | chat\.googleapis\.com/v1/spaces/(?P<google>[\w-]{6,40}/messages\?[^\s"'<>]{20,300})
    | api\.telegram\.org/bot(?P<telegram>\d{6,12}:[\w-]{30,50})
    | hooks\.zapier\.com/hooks/catch/(?P<zapier>\d{4,12}/[a-z0-9]{5,12})
    | maker\.ifttt\.com/trigger/[\w-]{1,60}/(?:json/)?with/key/(?P<ifttt>[\w-]{16,60})
    | hook\.[\w.]{0,20}make\.com/(?P<make>[a-z0-9]{20,60})
    | /(?:web)?hooks?/(?P<other>(?=[\w-]{0,40}\d)[\w-]{17,80}(?:/[\w-]{20,80})?)(?![\w/-])
    """,
    re.X | re.A,
)


def webhooks(text: str) -> Iterator[Span]:
    """Spans of the secret part of webhooks' addresses; XXXX and 0000 stand for one."""
    if "/" not in text or not any(mark in text for mark in _HOOK_MARKS):
        return
    for match in _HOOK.finditer(text):
        (name,) = (key for key, value in match.groupdict().items() if value)
        if len(set(match[name])) >= 10 and not re.search(
            r"[X0]{8}|0{6}|\.\.\.|EXAMPLE", match[name]
        ):
            yield match.span(name)


# Passwords after a word for them, in other languages and without an equals sign's company

_PASSWORD_NAMES = (b"pw", b"pass", b"contrase", b"senha")
_FOREIGN_NAMES = ("密码", "密碼", "пароль", "Пароль", "パスワード", "비밀번호")
_PASSWORD = re.compile(
    r"""
    (?: (?i:pwd?|pass(?:wor[dt]|wd|code|phrase|e)?|contraseña|senha)
      | 密码|密碼|[пП]ароль|パスワード|비밀번호 )
    (?:["'])?[ ]{0,3}(?P<sign>[:=\uff1a]|是|\bis:?[ ])[ ]{0,3}
    (?:["'`](?P<quoted>[^\n"'`]{6,80})["'`]|(?P<bare>[^\s"'`,;<>{}\[\]()\\/$|]{6,64})(?![\w(\[{.]))
    """,
    re.X,
)
_PASSPHRASE = re.compile(
    r"(?i:passphrase)[ ]{0,2}[:=][ ]{0,2}[\"']?"
    r"((?:[a-z]{3,12}[ -]){3,7}[a-z]{3,12})(?=[\"'.)]|[ ]*$)",
    re.M,
)
_IDENTIFIER = re.compile(r"[A-Za-z_]+\d?[A-Za-z_]*")
_SENTENCE_WORD = re.compile(
    r"\b(?:the|your|you|that|this|with|from|for|and|must|should|not|are|was|will|when|which|used)\b"
)


def passwords(text: str) -> Iterator[Span]:
    """Spans of values after "pw=", "pwd:", "Passwort:" and the like, and of passphrases."""
    lower = text.encode("ascii", "replace").lower()
    if text.isascii() and not (b"pw" in lower or b"pass" in lower or b"senha" in lower):
        return
    spans = []
    if b"passphrase" in lower:
        phrases = _PASSPHRASE.finditer(text)
        spans += [match.span(1) for match in phrases if not _SENTENCE_WORD.search(match[1])]
    places = [place for name in _PASSWORD_NAMES for place in _places(lower, name)]
    if not text.isascii():
        places += [place for name in _FOREIGN_NAMES for place in _places(text, name)]
    for place in places:
        beside = text[place - 1 : place]
        inside = beside.isascii() and beside.isalnum()
        match = None if inside else _PASSWORD.match(text, place)
        if match is None:
            continue
        group = "quoted" if match["quoted"] else "bare"
        name = match["sign"] == "=" and _IDENTIFIER.fullmatch(match[group])
        if not name and _is_password(match[group]):
            begin, stop = match.span(group)
            spans.append((begin, stop - (match[group][-1] in ".,:")))
    end = 0
    for begin, stop in sorted(spans):
        if begin >= end:
            yield begin, stop
            end = stop


def _places(text: AnyStr, name: AnyStr) -> Iterator[int]:
    place = text.find(name)
    while place >= 0:
        yield place
        place = text.find(name, place + len(name))


def _is_password(value: str) -> bool:
    """Whether letters and digits or signs meet, and it is no name, path, call or stand-in."""
    classes = sum(
        bool(re.search(kind, value)) for kind in ("[a-z]", "[A-Z]", r"\d", r"[^\w\s.:/-]")
    )
    if classes < 2 or not re.search(r"\d|[!@#%^&*?+~]", value) or " " in value:
        return False
    stand_in = re.search(
        r"(?i)example|your|pass|word|secret|xxxx|\*\*\*|1234|^[a-z_]+$|^\w+\.\w+|^\d+$|\$|self|none|null"
        r"|%[sd({]|SECRET|^[A-Z_]+_\d|[\[\]]",
        value,
    )
    return stand_in is None and len(set(value)) > 4
