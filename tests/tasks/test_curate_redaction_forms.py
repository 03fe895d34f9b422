"""Personal data in the forms that people use, beside what has the same form and is nobody's."""

import pytest

from tasks.curate.steps.privacy.redaction import Kind, find, mask

HOOK = "https://hooks.sl" + "ack.com/services/"
SLACK = "T024BE7LD/B04JX9K2M/a8Fk29sLqPz71mNxRt5vYw3e"
DISCORD = "982734650192837465/aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5zA7bC9dE1fG3hI5jK7lM9nO1pQ3rS5tU"
TEAMS = (
    "3f2a9c1d-77aa-4b2e-9c01-8d5e6f7a1b2c@9d8c7b6a-1234-4f5e-8a9b-0c1d2e3f4a5b/Incomi"
    "ngWebhook/0f1e2d3c4b5a69788796a5b4c3d2e1f0/5a4b3c2d"
)
BOT = "512345678:AAHk3bZq9_xYwVuTsRqPoNmLkJiHgFeDcBa"
RULE = "c8Kq2mN4pR6tV8xZ0aB3d"
RULE = "x7k2m9q4w1e8r5t3y6u0i2o9pa"
FORMS: list[tuple[Kind, str, str]] = [
    # E-mail addresses
    ("email", "Write to ann.lee (at) nordwind.de, please.", "ann.lee (at) nordwind.de"),
    ("email", "ann.lee[at]nordwind.de", "ann.lee[at]nordwind.de"),
    ("email", "Mail: jo(at)nordwind(dot)com", "jo(at)nordwind(dot)com"),
    ("email", "j.smith [at] nordwind [dot] uk", "j.smith [at] nordwind [dot] uk"),
    ("email", "ann.lee AT nordwind DOT com", "ann.lee AT nordwind DOT com"),
    ("email", "my email is ann at nordwind dot com", "ann at nordwind dot com"),
    ("email", "ann&#64;nordwind.de", "ann&#64;nordwind.de"),
    ("email", '<a href="mailto:ann&#x40;nordwind.de">', "ann&#x40;nordwind.de"),
    ("email", "mailto:ann.lee%40nordwind.de", "ann.lee%40nordwind.de"),
    ("email", "ann&commat;nordwind.de", "ann&commat;nordwind.de"),
    ("email", "ann.lee＠nordwind.de", "ann.lee＠nordwind.de"),
    ("email", "jo.o-neil+news@mail.nordwind.co.uk", "jo.o-neil+news@mail.nordwind.co.uk"),
    ("email", "邮箱：xiaowang@163.com", "xiaowang@163.com"),
    ("email", "Schreib an anna {at} nordwind.at", "anna {at} nordwind.at"),
    ("email", "e-mail: ann dot lee at nordwind dot de", "ann dot lee at nordwind dot de"),
    ("email", "ana(arroba)nordwind.es", "ana(arroba)nordwind.es"),
    ("email", '"ann\\u0040nordwind.de"', "ann\\u0040nordwind.de"),
    # Telephone numbers: China
    ("phone", "我的手机是13800138000，随时联系。", "13800138000"),
    ("phone", "请拨打 13912345678 联系王先生", "13912345678"),
    ("phone", "王先生，15812349876", "15812349876"),
    ("phone", "call me: 138-0013-8000", "138-0013-8000"),
    ("phone", "139 1234 5678", "139 1234 5678"),
    ("phone", "电话：010-62345678", "010-62345678"),
    ("phone", "Tel. 0755-8234567", "0755-8234567"),
    # Elsewhere, as people group them or after a word
    ("phone", "phone: 0612345678", "0612345678"),
    ("phone", "Tél : 06 12 34 56 78", "06 12 34 56 78"),
    ("phone", "Tel: 01711234567", "01711234567"),
    ("phone", "Handy 0171 1234567", "0171 1234567"),
    ("phone", "Mobile: 07700900123", "07700900123"),
    ("phone", "mobile 98765 43210", "98765 43210"),
    ("phone", "My phone number is 2125550187.", "2125550187"),
    ("phone", "call me at 212 555 0187", "212 555 0187"),
    ("phone", "Text me on 0412 345 678", "0412 345 678"),
    ("phone", "0412 345 678", "0412 345 678"),
    ("phone", "(02) 9876 5432", "(02) 9876 5432"),
    ("phone", "090-1234-5678", "090-1234-5678"),
    ("phone", "電話 03-1234-5678", "03-1234-5678"),
    ("phone", "010-2345-6789", "010-2345-6789"),
    ("phone", "Teléfono: 612 345 678", "612 345 678"),
    ("phone", "móvil 612345678", "612345678"),
    ("phone", "cellulare: 347 123 4567", "347 123 4567"),
    ("phone", "(11) 91234-5678", "(11) 91234-5678"),
    ("phone", "8 (912) 345-67-89", "8 (912) 345-67-89"),
    ("phone", "телефон: 8 912 345 67 89", "8 912 345 67 89"),
    ("phone", "0532 123 45 67", "0532 123 45 67"),
    ("phone", "070-123 45 67", "070-123 45 67"),
    ("phone", "tel. 512 345 678", "512 345 678"),
    ("phone", "082 123 4567", "082 123 4567"),
    ("phone", "WhatsApp: 050-123-4567", "050-123-4567"),
    ("phone", "मोबाइल: 9876543201", "9876543201"),
    ("phone", "02-123-4567", "02-123-4567"),
    ("phone", "0912-345-678", "0912-345-678"),
    ("phone", "081-234-5678", "081-234-5678"),
    ("phone", "0812-3456-7890", "0812-3456-7890"),
    ("phone", "0803 123 4567", "0803 123 4567"),
    ("phone", "(067) 123-45-67", "(067) 123-45-67"),
    ("phone", "06 30 123 4567", "06 30 123 4567"),
    ("phone", "Ph: 98765-43210", "98765-43210"),
    ("phone", "Contact: 9876501234", "9876501234"),
    # Webhooks
    ("secret", HOOK + SLACK, SLACK),
    ("secret", "https://discord.com/api/webhooks/" + DISCORD, DISCORD),
    ("secret", "https://nordwind.webhook.office.com/webhookb2/" + TEAMS, TEAMS),
    ("secret", "curl https://api.telegram.org/bot" + BOT + "/getMe", BOT),
    ("secret", "https://maker.ifttt.com/trigger/door/with/key/" + RULE, RULE),
    ("secret", "https://chat.nordwind.de/hooks/" + RULE, RULE),
    # Passwords
    ("secret", "user=ann pw=Xk9!q2Zr", "Xk9!q2Zr"),
    ("secret", "pw: S0mmer!24", "S0mmer!24"),
    ("secret", "pwd: Winter2024", "Winter2024"),
    ("secret", "PWD=h4rbour-Gate7", "h4rbour-Gate7"),
    ("secret", "Passwort: Kirsche#77", "Kirsche#77"),
    ("secret", 'passphrase = "copper lantern orbit velvet"', "copper lantern orbit velvet"),
    ("secret", "mot de passe : Soleil!2023", "Soleil!2023"),
    ("secret", "密码：qW3rty!9", "qW3rty!9"),
    ("secret", "The password is Tr0ub4dor&3.", "Tr0ub4dor&3"),
]  # fmt: skip
LOOK_ALIKES = [
    # RFC 2606, 6761, 5737, 3849, and what documents make up
    "ann@example.com, jo@mail.example.org, root@a.b.example.net",
    "admin@server.test, x@y.example, me@host.invalid, root@box.localhost",
    "192.0.2.17, 198.51.100.1, 203.0.113.255",
    "2001:db8::1, 2001:0db8:85a3::8a2e:370:7334",
    "your.name@gmail.com, you@your-domain.com, user@yourcompany.com",
    "username@gmail.com, email@provider.com",
    "ann (at) example.com, ann[at]example.org, ann&#64;example.net",
    "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16",
    "aws_access_key_id = AKIAIOSFODNN7EXAMPLE",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "https://hooks.sl" + "ack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
    "https://discord.com/api/webhooks/{webhook.id}/{webhook.token}",
    "https://api.slack.com/messaging/webhooks and /docs/webhooks/getting-started-with-events",
    "https://github.com/octo/repo/settings/hooks",
    # Code
    "sudo bpftrace -e 'uprobe:libc.so.6:free' free-@libc.so malloc@libc.so",
    "z = x + y@z.com", "loss = (y@z.net).sum()", "a = b@c.org",
    "for x in range(10): print(look[at].y)", "df.at[0, 'b']", "list (at) index.html",
    "pw = getpass()", "pw=$PASSWORD", "pwd: string", "PWD=/home/ann/project2", "pwd=os.getcwd()",
    "password=hash2str", "password: str = None", "pw = input('pw: ')",
    'passphrase = "your passphrase here"',
    "passphrase: the words that you choose for your key", "pw=password1234",
    "the pwd is /usr/lib/x86_64",
    "upwards=Left2Right, pwm=High3Low",
    # Numbers that are no telephone
    "order 13912345678", "订单号 13912345678", "单号：15812349876", "流水 18612345678901",
    "17179869184 bytes, 13421772800, 15000000000", "1700000000, 1700000000123, 1712345678901234",
    "id=13800138000", "QQ 1381234567", "0612345678", "4930901820", "9780306406157",
    "invoice 0171 4455", "version 2024.01.15.1234", "phone model 12345678",
    "mobile 10 000 000 users",
    "Phone: 1234567890", "call(1234567890)", "tel: 0000000000", "tel aviv 2019-2024 and 2025",
    "0.0612345678", "612 345 678", "98765 43210", "256 512 1024", "2024-06-01 12:30:45",
    "20240601 123045",
    "build 20240601.1234", "serial 0412-345-678-99", "1 234 567 890", "x = [0412, 345, 678]",
    "ISBN 978-0-306-40615-7", "Chapter 03-1234", "01-02-2023 10:30", "E1380013800045",
    "+1380013800",
    # Words
    "meet me at noon dot com", "look at amazon dot com", "He sat (at) home. Then", "1 AT 2 DOT 3",
    "Dot the i at the end dot", "the show (at 8) nordwind.de",
]  # fmt: skip
# Those that users reported as missed, and as masked though nobody's: every one has to be right.
REPORTED = [
    "我的手机是",
    "请拨打",
    "phone: 06",
    "mobile 98765",
    "(at)",
    "&#64;",
    "hooks.sl",
    "pw=",
    "pwd:",
]


def is_found(kind: Kind, text: str, value: str) -> bool:
    return (kind, value) in [(one.kind, text[one.start : one.end]) for one in find(text)]


def test_the_forms_in_use_are_found() -> None:
    missed = [
        (text, mask(text)[0]) for kind, text, value in FORMS if not is_found(kind, text, value)
    ]
    assert len(FORMS) >= 60
    assert len(missed) <= 3, missed
    assert not [text for text, _ in missed if any(form in text for form in REPORTED)]


def test_their_look_alikes_stay() -> None:
    masked = [(text, mask(text)[0]) for text in LOOK_ALIKES if find(text)]
    assert len(LOOK_ALIKES) >= 60
    assert len(masked) <= 2, masked
    assert not find("\n".join(LOOK_ALIKES[:14])) and not find(LOOK_ALIKES[14])


@pytest.mark.parametrize("around", ["{}", "({})", '"{}"', "See {}.", "a\n{}\nb", "{} or so"])
def test_they_are_found_whatever_stands_around_them(around: str) -> None:
    missed = [text for kind, text, value in FORMS if not is_found(kind, around.format(text), value)]
    assert len(missed) <= 5, missed


def test_what_was_masked_once_has_nothing_more() -> None:
    for _, text, _ in FORMS:
        for other in (text, "tel: ", "pw=", " or "):
            masked = mask(f"{text} {other}")[0]
            assert mask(masked)[0] == masked


HOSTILE = [
    "tel 12345678 ", "tel: ", "a (at) ", "a(at)b(dot)", "a at b dot ", "a&#64;b.", "pw=", "pw=a1!",
    "passphrase: copper ", "1380013800 ", "13800138000 ", "手机13", "/hooks/", "/hooks/a1",
    "at)", "call me at ",
    "mail ", "logic.azure.com/", "phone number is at ", "06 ", "0412 345 678 ",
]  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    mask("a1 " + unit * (100_000 // len(unit)))
