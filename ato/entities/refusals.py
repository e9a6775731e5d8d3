"""Does a completion decline to answer? Phrases of the study "Do I Know This Entity?", mended and versioned.

Mended: two pairs of phrases that a missing comma had fused match again, phrases are matched in lower case as the text is,
typographic apostrophes are plain ones, and words that right answers hold as well (unknown, fictional, illegal, unable to,
please note, there is no, unfortunately) count only in clauses that decline.
"""

import re

VERSION = 1

_ANYWHERE = (
    # the entity is not known to exist
    "there is no widely known", "is not a known", "doesn't seem to be a widely known", "there's no widely known",
    "there doesn't seem to be a", "doesn't seem to be a known", "there doesn't appear to be a ", "it's not a widely known",
    "not a very well-known one", "not a known", "a bit of a trick", "there is no evidence", "the premise of the question is incorrect",
    # no information
    "no publicly available information", "not publicly available information", "i couldn't find any information",
    "i can't find any information", "i cannot find", "i could not find", "i couldn't find", "could not find any", "couldn't find any",
    "do not have information", "don't have information", "do not have any information", "don't have any information",
    "not readily available", "not yet available", "do not have access to", "don't have access to", "any information about",
    "any information on", "the context does not specify", "the context does not provide", "is not explicitly stated",
    "not mentioned in the context", "information is not provided", "was not provided", "is not provided",
    # asks back
    "please provide me with", "provide me with more", "provide more context", "please provide more", "please clarify",
    "be more specific", "need a bit more information", "need a little more", "need more information",
    # cannot or will not
    "i cannot give you an", "i can't give you a specific", "i'm unable", "i am unable", "i'm not able", "i am not able",
    "i cannot answer", "i can't answer", "i cannot provide", "i can't provide", "i cannot assist", "i can't assist",
    "it's impossible to give", "there's no single definitive answer", "this is a complex ",
    # does not know
    "not familiar with", "i'm not familiar", "not aware of", "i'm not aware", "i am not aware", "not sure", "i do not know", "i don't know",
    "i do not recognize", "i don't recognize", "there doesn't seem to be any", "i believe you",
    "i have no idea", "no one knows", "nobody knows", "do you mean",
)  # fmt: skip
_PREFIXES = (
    "i'm sorry", "i am sorry", "i'm really sorry", "i am really sorry", "sorry", "i apologize", "my apologies", "as an ai", "i'm an ai",
    "i'm just an ai", "as a language model", "i cannot", "i can't", "i do not have", "there are several", "there are multiple",
    "there isn't a single ", "it's difficult to ", "it is difficult to", "unfortunately", "no information", "no answer",
    "not available", "n/a",
)  # fmt: skip
_CLAUSES = re.compile(
    r"\b(?:is|are|was|were|remains?) (?:currently |still |largely |generally )?(?:unknown|not known|unavailable|not available)\b"
    r"|^\W*(?:unknown|not known|none|unavailable|unspecified|not specified)\b\W*(?:$|\n|\.\s)"
    r"|\bunknown to (?:me|us)\b"
    r"|\b(?:is|are|be|was|appears? to be|seems? to be|as) (?:a |an |the |not a real |purely |entirely |completely )*"
    r"(?:fictional|fictitious|made-up|invented) (?:city|country|person|player|movie|film|song|work|place|entity|name|character"
    r"|one|location)\b"
    r"|\b(?:is|appears to be|seems to be|may be) (?:fictional|fictitious|made up|non-existent|nonexistent)\b"
    r"|\b(?:does not|doesn't|do not|don't) (?:seem to |appear to |actually |really )?exist\b"
    r"|\bthere (?:is|was) no (?:\w+ )?(?:such|known|record|information|official|specific|city|country|person|player|movie|film|song"
    r"|work)\b"
    r"|\bi(?:'m| am| was|'ve been| have been) unable to\b|\bunable to (?:find|provide|answer|determine|verify|identify|locate)\b"
    r"|\b(?:no|never) (?:heard|knowledge) of\b|\bhaven't heard of\b|\bhave not heard of\b"
    r"|, unfortunately\b.*\b(?:not|n't|no)\b|\bunfortunately,? (?:i|there|we|the|it|no)\b.*?\b(?:not|n't|no|cannot|unable)\b"
    r"|\bnot aware\b"
)
_NOT = r"(?:not|n't|cannot|never|unable|no|nothing|without|lack)"
_KNOWING = (
    r"(?:know|knowledge|information|data|find|found|heard|recall|recogni[sz]e|familiar|determine|answer|access|provide|aware|sure|idea"
    r"|certain|confirm|verify|help|include|details?|record|identify|locate|tell|say)"
)
_SPEAKER = re.compile(  # the speaker, a negation and a word of knowing, in this order and near each other
    rf"(?:^|[.,;!?\n\"(]\s*|\b(?:but|and|that|sorry|afraid|as|because|apologi[sz]e)\s+)(?:i|we|my|our)\b[^.!?\n]{{0,40}}?"
    rf"(?:\b|(?<=[a-z])){_NOT}\b[^.!?\n]{{0,40}}?\b{_KNOWING}\b"
)
_IMPERSONAL = re.compile(
    r"\b(?:is|are|was|were|has|have)(?: not|n't)(?: been)?(?: yet| publicly| widely| explicitly| officially| currently| well| clearly)*"
    r" (?:specified|announced|available|known(?! (?:for|as|to|part|by))|provided|mentioned|documented|disclosed|recorded|clear|stated|given"
    r"|listed|found|released any|confirmed|determined|enough)\b"
    r"|\b(?:no|not enough|insufficient|without)(?: \w+){0,3} (?:information|records?|data|details|mentions?|evidence|context|list)\b"
    r"|\b(?:can|could|would|will) you (?:please )?(?:tell|provide|clarify|give|specify|confirm|elaborate|share|check|be)\b"
    r"|\bit is (?:not clear|unclear|impossible to)\b|\bcannot be (?:determined|answered|found|identified)\b"
)


def is_refusal(completion: str) -> bool:
    """Whether a completion declines to answer: it says that nothing is known, asks back, or apologises.

    An answer that follows a remark of doubt (``I'm not sure, but Paris``) still declines here; ``graders.grade`` asks
    for correctness first.
    """
    lines = completion.lower().replace("’", "'").replace("‘", "'").splitlines()
    text = "\n".join(" ".join(line.split()) for line in lines)
    opening = text.lstrip(" \n\"'*-.:")
    return (
        opening.startswith(_PREFIXES)
        or any(phrase in text for phrase in _ANYWHERE)
        or any(pattern.search(text) for pattern in (_CLAUSES, _SPEAKER, _IMPERSONAL))
    )
