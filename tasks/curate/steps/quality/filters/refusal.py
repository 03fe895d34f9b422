"""Answers that only refuse to answer.

That such answers are left out is how instruction data is cleaned since Vicuna's and OpenHermes'
ShareGPT subsets; Zhou et al. 2023 ("LIMA: Less Is More for Alignment") show what few bad answers
cost.
"""

import re

from tasks.curate.ledger import Evidence
from tasks.curate.steps.quality.filters import FILTERS, Filter
from tasks.curate.steps.quality.measurements import Measurements
from tasks.curate.text.normalise import comparable
from tasks.records import Record
from tasks.settings.section import Section

_REFUSAL_CHARACTERS = 500  # longer answers say something besides
_OPENING = 200  # characters of an answer in which a refusal shows
_SPELLED_OUT = {
    "’": "'",
    "i'm ": "i am ",
    "can't": "cannot",
    "can not": "cannot",
    "won't": "will not",
    "don't": "do not",
    "couldn't": "could not",
}
_SORRY = (
    r"(?:(?:i am )?(?:(?:so|very|really|truly|deeply) )?sorry|(?:my )?(?:sincere )?apologies"
    r"|i (?:sincerely )?apologi[sz]e|unfortunately)(?: for (?:the|any) \w+)?"
    r"[,.!;:]? (?:but |however,? )?"
)
_MODEL = r"(?:ai |large |artificial intelligence )?language model"
_AI = rf"(?:{_MODEL}|(?:ai|artificial intelligence)(?: model| assistant| chatbot| system)?)"
_MADE = r"(?: (?:developed|created|trained|made|built) by \w+)?"
_UNABLE = r"(?:cannot|do not|could not|am not|am unable|lack|have no|must decline)\b"
_WILL_NOT = (
    r"(?:i (?:(?:really|simply|just) )?(?:cannot|will not|am unable to|am not able to"
    r"|must (?:respectfully )?(?:decline|refuse) to"
    r"|am not (?:allowed|permitted|programmed|designed) to)"
    r"|it (?:is|would be) (?:inappropriate|unethical|not (?:appropriate|ethical)) for me to)"
    r"(?: in good conscience)?"
)
_ANY = r"(?:any|such|this|that|these|those|your|the)"
_REQUEST = rf"{_ANY}(?: an?)?(?: \w+)? (?:request|question|prompt|query|task)"
_HARM = r"(?:harm\w*|illegal|unethical|violen\w+|hat(?:e|red|eful)|discriminat\w+|dangerous)\b"
_TELL = r"(?:provide|offer|give|share|generate|create|write|produce)(?: you)?(?: with)?"
_CONTENT = r"(?:information|content|material|response|text|instructions)"
_REFUSALS = (
    # What a model says about itself.
    rf"as an? {_MODEL}{_MADE}, (?:i|my)\b",
    rf"as an? {_AI}{_MADE},? i {_UNABLE}",
    rf"i am (?:just |only )?an? {_AI}{_MADE}[,.]? (?:(?:and|so) )?(?:i )?{_UNABLE}",
    # What it will not do.
    rf"{_WILL_NOT} (?:assist|help)(?: you)?(?:$|[.!]| (?:with|in) (?:{_ANY}|\w+ing)\b)",
    rf"{_WILL_NOT} (?:fulfill?|answer|respond to) {_REQUEST}",
    rf"{_WILL_NOT} comply\b",
    rf"{_WILL_NOT} {_TELL} (?:any |such )?(?:specific |detailed )?"
    r"(?:instructions|guidance on|assistance with|information on how)\b",
    rf"{_WILL_NOT} {_TELL} (?:that|this|such|any)(?: (?:kind|type|sort) of)? {_CONTENT}\b",
    rf"{_WILL_NOT} {_TELL} (?:\w+ ){{0,4}}(?:that|which) (?:promotes?|encourages?|is {_HARM})",
    rf"{_WILL_NOT} (?:engage in|participate in|promote|condone|encourage) (?:any |such )?{_HARM}",
    rf"i must (?:respectfully )?(?:decline|refuse) {_REQUEST}",
    # The same in other languages, as far as it can be told from what people say.
    r"als (?:ki|künstliche intelligenz|sprachmodell)\b[^.]{0,40} ich\b[^.]*\b(?:nicht|kein)",
    r"en tant qu(?:e |')(?:ia|intelligence artificielle|modèle de langage)\b[^.]{0,40} je n[e']",
    r"como (?:una? )?(?:ia|inteligencia artificial|modelo de lenguaje)\b[^.]{0,40} no \w+",
    r"作为一?[个名种]?(?:ai|人工智能|语言模型)[^。]{0,20}我[^。]{0,4}[无不没]",
)
_REFUSAL = re.compile(f"(?:{_SORRY})?(?:{'|'.join(_REFUSALS)})")
# What follows all the same makes it an answer; and to abstain where a text gives no answer is one.
_ANSWERS = re.compile(
    r"`|\b(?:here(?:'s|’s| is| are)|you (?:can|could|may|might|should)|try (?:the|this|to)"
    r"|context|passage|documents?|(?:provided|given) (?:text|information))\b",
    re.IGNORECASE,
)


class Refusals(Section):
    drop_refusals: bool = True
    """Drop short answers that refuse to answer."""


@FILTERS.register
class Refusal(Filter[Refusals]):
    """A short answer (500 characters at most) that begins by refusing, and says nothing else.

    Also what a language model says about itself in place of an answer. Checked is a chat's last or
    a preference's chosen answer. The filter rather lets a refusal through than drops an answer:
    with code, advice ("you can …"), or about a passage that does not tell, it is none.
    """

    name = "refusal"
    meaning = "The answer only refuses to answer."
    settings = Refusals
    evidence = {"text": "the answer"}
    remedy = "If refusing is what you teach, set it to false."
    order = 50

    def is_on(self, settings: Refusals) -> bool:
        return settings.drop_refusals

    def check(self, record: Record, settings: Refusals, measured: Measurements) -> Evidence | None:
        answer = record.target
        if answer is None or len(answer) > _REFUSAL_CHARACTERS:
            return None
        opening = comparable(answer[:_OPENING])
        for short, full in _SPELLED_OUT.items():
            opening = opening.replace(short, full)
        if not _REFUSAL.match(opening) or _ANSWERS.search(answer):
            return None
        return {"text": answer[:300]}
