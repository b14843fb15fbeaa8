"""The words the rules know: every pattern in one place, none of it specific to one task or one model.

All patterns run on lower-cased text whose markup and odd quotes have been replaced by blanks, character for character.
Every repetition is bounded or over one class of characters, so that no text makes a pattern slow.
"""

from __future__ import annotations

import re

# ---------------------------------------------------------------- yes, no and letters

YES_WORDS = "yes|yeah|yep|yup|affirmative|correct|true|indeed|definitely|certainly|absolutely"
NO_WORDS = "no|nope|nah|incorrect|false"

OPENING = (
    r"[\s\W]{0,40}(?:(?:assistant|model|response|output|a|ans)\s{0,2}:[\s\W]{0,20})?(?:(?:well|ok|okay|sure|so)[\s,.:!]{1,4})?"
)
"""What may stand before a leading yes or no: punctuation, a role's name, a filler."""

LEADING = re.compile(
    rf"{OPENING}(?P<word>(?P<yes>{YES_WORDS})|{NO_WORDS})\b(?!')(?P<after>\s{{0,4}}[^\s\w]{{0,3}}\s{{0,4}}(?:\w{{1,20}})?)"
)

BOTH = re.compile(
    r"\byes\W{1,5}(?:and|or|but also)\W{1,3}no\b|\bno\W{1,5}(?:and|or|but also)\W{1,3}yes\b|\byes\s?/\s?no\b|\bno\s?/\s?yes\b"
    r"|\b(?:could|can|may|might) (?:be|go) (?:either|both)\b|\beither (?:is|are|one is) possible\b|\beither way\b"
)

NO_AS_ANSWER = re.compile(
    r"(?:it|there|this|that|these|those|they|the|i|we|he|she|you|in|on|at|from|as|a|an|based|because|since|not|nothing|and|but|is|are|its)\b"
)
"""A word after "no" without punctuation that shows "no" to be the answer ("no it is not"), not a determiner ("no mass")."""

NOT_AFTER = re.compile(r"\s{1,3}not\b")  # "definitely not", "certainly not"
STRONG_YES = frozenset({"indeed", "definitely", "certainly", "absolutely"})

SHORT_VERDICT = re.compile(
    r"\W{0,20}(?:(?:i|we) (?:think|believe|would say|suppose) (?P<so>so|not)"
    r"|(?:i|we) (?:do not|don't) (?:think|believe) (?P<notso>so)"
    r"|(?:it|there|this|that|they) (?:is|are|does|do|has|have|seems to|appears to)(?P<isnot> not|n't)?(?P<is>)"
    r"|(?:probably|likely|most likely|very likely|it is likely|seems|appears) (?P<likely>yes|no|not|so)"
    r"|of course(?P<course> not)?)\W{0,10}$"
)

EXPLICIT = re.compile(
    r"\b(?P<final>final |correct |right |best |most likely )?(?:answer|verdict|conclusion|diagnosis)\b(?: to (?:the|this|your) question)?"
    r"\W{0,6}(?:is|would be|should be|must be|:|=|-)?(?: therefore| clearly| definitely| most likely)?"
    r"\W{0,12}(?:option |choice |letter )?\W{0,3}(?P<word>yes|no|[ab])\b(?!')(?P<after>.{0,12})"
    r"|\b(?:say|choose|select|pick|go with|answer with|answering|answer)\W{1,4}(?:option |choice |letter )?\W{0,3}(?P<word2>yes|no|[ab])\b(?!')(?P<after2>.{0,12})"
    r"|\b(?:option|choice)\W{1,3}(?P<word3>[ab])\b(?!')(?P<after3>.{0,12})"
    r"|\\boxed\W{1,3}(?:text\W{1,3})?(?P<word4>yes|no|[ab])\b(?P<after4>.{0,12})"
)
"""A verdict announced as one: "the answer is yes", "Final answer: (B)", "I would choose A"."""

MENTIONS_VERDICT = re.compile(r"answer|option|choice|choose|select|pick|say|go with|verdict|conclusion|diagnosis|boxed")

LETTER = re.compile(
    r"[\s\W]{0,40}(?:(?:option|choice|letter|answer)[\s:]{1,4})?[\s(\[{\"']{0,5}(?P<word>[ab])(?P<mark>[)\]}.:,;\"'/-]|\s|$)"
)
BOTH_LETTERS = re.compile(
    r"\ba\W{1,5}(?:and|or|&|/)\W{0,3}b\b|\bb\W{1,5}(?:and|or|&|/)\W{0,3}a\b|\ba\s?/\s?b\b|\bneither\b.{0,20}\b(?:a|option)?\b.{0,12}\bnor\b"
)
BOTH_OPTIONS = re.compile(
    r"\bboth (?:options|of them|are|a and b)\b|\bneither (?:option|of)\b|\beither (?:option|one)\b|^\W{0,5}(?:both|neither|either)\W{0,5}$"
)
LISTED = re.compile(r"(?:^|[\s(\[])a\s?[).:\]]\s?\S.{0,200}?[\s(\[]b\s?[).:\]]\s?\S", re.DOTALL)
LAST_LINE = re.compile(r"(?:^|\n)[\s\W]{0,40}(?:option |answer\W{1,4})?\W{0,3}(?P<word>yes|no|[ab])[\s\W]{0,20}$")

# ---------------------------------------------------------------- findings: what a mention of the condition says

SENTENCE_END = re.compile(r"[.!?]+(?=[\s\"')\]]|$)|\n+|;")
CLAUSE_END = re.compile(
    r"[.!?]+(?=[\s\"')\]]|$)|\n+|;|,? ?\b(?:but(?! also)|however|although|though|whereas|nevertheless|nonetheless|yet|except(?: for)?"
    r"|other than|apart from|aside from|besides|despite)\b"
)
BREAK = re.compile(
    r", (?:and |thus |therefore |possibly )?(?:with|which|suggest\w*|indicat\w*|consistent|compatible|represent\w*|show\w*|there|this|these|the|it|likely|most)\b"
    r"|\band (?:an?|there|this|the|it|is|are|shows?|has)\b|\bbecause\b|\bdue to\b|\btherefore\b|\bso\b"
)
"""Where the reach of a negation or a hedge ends within a clause."""

NEGATES = re.compile(
    r"\b(?:no(?! doubt| question)|not(?! only| just| (?:free of|without|negative for|clear of|necessarily|(?:be |been )?(?:ruled|excluded)))"
    r"|\w{2,8}n't|never|without(?! contrast| gadolinium)|neither|nor|none|nothing|free (?:of|from)|negative for|absence of|absent|lacks?|lacking"
    r"|clear of|devoid of|rather than|instead of|fails? to|unlikely|less likely|rules? out|ruled out|excludes?|excluded|denies|insufficient|cannot"
    r"|non)\b"
)
NEGATED_AFTER = re.compile(
    r"(?:\W+\w+){0,4}?\W+(?:is|are|was|were|has|have|appears?|seems?|does|do|can|could|be|been)(?:n't| not)\b(?! only| excluded| ruled| be (?:ruled|excluded))"
    r"|(?:\W+\w+){0,4}?\W+(?:is|are|was|were|be|been|appears?|seems?)(?: to be)?(?: \w+)? (?:absent|unlikely|ruled out|excluded|negative|cannot be seen)\b"
    r"|\s{0,3}[:?=-]{1,2}\s{0,3}(?:no|none|absent|negative|not)\b|\s{0,3}[(]?(?:absent|negative)\b|-free\b"
)
HEDGES = re.compile(
    r"\b(?:may|might|could|possibly|possibility|possible(?! to)|potential|potentially|perhaps|maybe|either|questionable|equivocal|differential"
    r"|consider|considered|can (?:be (?:a sign|caused|seen in|associated|an indication)|indicate|suggest|mean|represent)|not necessarily"
    r"|(?:cannot|can't|can not|not|to) (?:\w+ )?(?:exclude|rule out)|risk of|suspicion cannot)\b"
)
HEDGED_AFTER = re.compile(
    r"(?:\W+\w+){0,4}?\W+(?:can ?not|can't|could not|couldn't|not|n't)(?: \w+)?(?: be| been)?(?: \w+)? (?:ruled out|excluded|dismissed)\b"
    r"|(?:\W+\w+){0,3}?\W+(?:is|are|remains?) (?:also )?(?:an? )?(?:possible|possibility|uncertain|unclear|questionable|in question)\b"
    r"|(?:\W+\w+){0,2}?\W+(?:may|might|could) (?:or may not )?be\b|\s{0,2}\?|\W+or (?:not|something else|another)\b"
)
NEUTRAL = re.compile(
    r"\b(?:if|whether|unless|to (?:diagnose|detect|evaluate|assess|check|identify|confirm|determine|look for|screen|rule out)|evaluat\w{1,5} for|assess\w{0,5} for"
    r"|look(?:ing)? for|screen(?:ing)? for|check(?:ing)? for|test(?:ing|s)? for|history of|would (?:show|suggest|indicate|be)|patients? with|in cases? of|used to"
    r"|(?:types?|causes?|definition|treatment) of|risk factors? for|symptoms of|question (?:of|about)|determin\w{1,4}|asking about|known as)\b"
)
NEUTRAL_AFTER = re.compile(
    r" (?:is|are) (?:an? )?(?:\w+ )?(?:infection|disease|inflammation|illness|medical term|term|condition (?:that|in which|where))\b"
    r"|,? (?:can|typically|usually|generally|often) (?!be (?:seen|observed|identified|noted|appreciated))\w+"
)
PSEUDO = re.compile(r"\bnot (?:free of|without|negative for|clear of)\b")
BENIGN_OR_MALIGNANT = re.compile(r"\W+(?:or|and/or|versus|vs\.?|/)\W+(?:\w+\W+){0,2}?$")

ABNORMAL = (
    "abnormal",
    "abnormality",
    "abnormalities",
    "abnormally",
    "anomaly",
    "anomalies",
    "pathology",
    "pathologies",
    "pathologic",
    "pathological",
    "unhealthy",
    "diseased",
)
NORMAL = ("normal", "healthy", "unremarkable", "within normal limits")
WHOLE = re.compile(
    r"\b(?:image|picture|photo(?:graph)?|x ?-?rays?|radiographs?|scans?|mri|ct|cxr|film|study|exam(?:ination)?|lungs?|chest|brain|skin|lesion|tissue|slide"
    r"|patch|breast|cells?|appearance|findings?|everything|result|patient|it|this|that)\b"
)
"""What has to be called normal before a question about one disease is answered: the whole, not the heart's size."""

# ---------------------------------------------------------------- hedges and refusals

UNSURE = re.compile(
    r"\b(?:maybe|perhaps|possibly|unsure|uncertain|unclear|inconclusive|equivocal|indeterminate|undetermined|it depends|not (?:entirely |completely |quite )?(?:sure|certain|clear)"
    r"|(?:do not|don't) know|no idea|hard to (?:say|tell|know|determine)|difficult to (?:say|tell|know|determine|assess|provide|make|give|draw|conclude)"
    r"|(?:can ?not|can't|could not|couldn't|not) (?:be )?(?:completely |entirely |definitively )?(?:ruled? out|excluded?)"
    r"|(?:may|might|could) (?:or may not )?(?:be|indicate|suggest|represent)|may or may not|possible that|normal or not|not (?:necessarily|definitive)|borderline|suspicious)\b"
)

_CANNOT = (
    r"(?:(?:can(?:not|'t| not)|could not|couldn't|won't|will not|would not|wouldn't|must decline to|have to decline to|refuse to|decline to"
    r"|(?:'m|am|are|'re|is|be) (?:\w+ )?(?:unable|not able|not allowed|not permitted|not programmed|not authorized|not comfortable|not capable of|incapable of)(?: to)?"
    r"|(?:do not|don't|does not|lack) (?:have )?(?:the )?(?:ability|capability|capacity|means|access|authority)(?: to)?))"
)
_ADVERB = r"(?: \w{2,12}ly| even| currently| just| also| really)?"
_SEEN = r"(?! (?:any|no|evidence|signs?|a clear sign)\b)"

CAPABILITY = re.compile(
    rf"\b(?:i|we)(?: \w{{2,12}}ly)? ?{_CANNOT}{_ADVERB} ?(?:directly |physically )?"
    rf"(?:(?:see|view|detect|find|identify){_SEEN}|access|open|process|display|visuali[sz]e|look at|interpret|analy[sz]e|assess|examine|evaluate|determine|tell|ascertain"
    r"|conclude|distinguish|say (?:whether|if|for|with|definit)|read)\b"
    r"|\bunable to (?:see|view|access|open|process|display|visuali[sz]e|interpret|analy[sz]e|assess|examine|evaluate|determine|tell|identify)\b"
    r"|\b(?:not|im)possible (?:for me )?to (?:say|tell|determine|assess|evaluate|know|conclude|give|make|provide|diagnose|identify)\b"
    r"|\b(?:can ?not|can't|could not) be (?:\w+ly )?(?:determined|assessed|evaluated|seen clearly|interpreted|answered|concluded|judged|established)\b"
    r"|\bno (?:image|picture|x-?ray|scan|photo)\b.{0,30}\b(?:provided|attached|uploaded|visible|included|shared|here|found)\b"
    r"|\b(?:image|picture|x-?ray|scan|photo|link|attachment)\b.{0,25}\b(?:not|n't|never) (?:been )?(?:provided|attached|uploaded|loaded|loading|load|visible to me|shared|included|displayed|available|clear enough|of sufficient)\b"
    r"|\b(?:please|could you|can you) (?:\w+ )?(?:provide|upload|attach|share|send|resend) (?:me )?(?:with )?(?:the|an|your|a)?(?: \w+)? ?(?:image|picture|x-?ray|scan|photo)\b"
    r"|\b(?:insufficient|not enough|lack of|without (?:more|additional|further)) (?:\w+ )?(?:information|detail|context|data|resolution)\b"
    r"|\b(?:beyond|outside|exceeds) (?:of )?(?:my|the) (?:capabilit|abilit|scope)|\btext-(?:based|only) (?:ai|model|assistant|language)"
    r"|\bquality\b.{0,30}\b(?:too (?:low|poor|blurry)|insufficient|not sufficient|inadequate)|\btoo (?:blurry|dark|small|low|grainy|poor)\b.{0,30}\bto\b"
)

POLICY_FIRST_PERSON = re.compile(
    rf"\b(?:i|we)(?: \w{{2,12}}ly)? ?{_CANNOT}{_ADVERB} ?(?!help but|stress|emphasi[sz]e|wait|agree more|see|view)\w"
    r"|\b(?:i'm|i am|we are) (?:not (?:a |an )?(?:\w+ )?(?:doctor|physician|radiologist|pathologist|dermatologist|medical|healthcare|clinician|professional|qualified|licensed)"
    r"|(?:just |only )?an? (?:ai|artificial|language model|large language))"
    r"|\bas an? (?:\w+ )?(?:ai|artificial intelligence|language model|llm|assistant|chatbot)\b"
    r"|\b(?:i|i'm|i am|my) (?:\w+ )?(?:must |have to )?(?:decline|refuse|apologi[sz]e|afraid)\b(?! for the (?:inconvenience|delay))"
    r"|\bsorry,? (?:but )?(?:i|we|that|this)\b|\bagainst (?:my|our|the) (?:\w+ )?(?:polic|guideline|programming|principle)"
    r"|\bnot (?:something|a topic|a question) (?:that )?i (?:can|could|am able|will|should)\b"
)
INAPPROPRIATE = re.compile(
    r"\b(?:not|n't|never|neither|nor|in)(?: be| it's| it is)? ?(?:\w+ )?(?:appropriate|ethical|acceptable|legal|respectful|productive or)\b"
    r"|\b(?:illegal|unethical|inappropriate|offensive|harmful)\b.{0,40}\b(?:and|or|to)\b"
)
REFER = re.compile(
    r"\b(?:consult|see|contact|ask|visit|speak (?:to|with)|talk to|seek|refer(?:red)? to|evaluat\w+ by|reviewed by|interpreted by|(?:should|must) be \w+ by|advice (?:of|from))\b"
    r".{0,50}\b(?:doctor|physician|radiologist|dermatologist|pathologist|oncologist|specialist|clinician|(?:health ?care|medical|health|qualified|trained) (?:\w+ )?(?:professional|provider|advice|attention|help|practitioner|expert|evaluation))s?\b"
    r"|\b(?:not|no) (?:intended as |meant as )?(?:a )?(?:substitute|replacement) for\b|\bmedical (?:advice|diagnosis) (?:is|should|must|requires)\b"
)
CUES = re.compile(
    r"\bcan(?:not|'t| not)\b|\bcould(?:n't| not)\b|\bunable\b|\bnot (?:able|possible|enough|appropriate|ethical)|\bimpossible\b|\bai\b|\bsorry\b|n't|n’t|apologi|afraid"
    r"|declin|refus|not |consult|professional|doctor|physician|specialist|provide|please|insufficient|illegal|ethical|inappropriate|quality|too |beyond|text-|radiologist|no image"
)

MARKUP: dict[int, str] = {
    **dict.fromkeys(map(ord, "*`#_>~|\u00a0\u200b\u200c\u200d\u2009\u202f\ufeff\t\r"), " "),
    **dict(zip(map(ord, "\u201c\u201d\u2018\u2019\uff0c\u3002\uff1a\uff08\uff09\uff0e"), "\"\"'',.:().", strict=True)),
}
"""Markup, invisible and foreign punctuation → a blank or its plain form, one character for one, so that spans stay true."""
TAG = re.compile(r"</?[a-z!][^<>\n]{0,40}>", re.IGNORECASE)
