"""What the offline model understands, and which rule answers it: RULES, at the end, is the table.

A message is cut into requests. The first row that fits a request answers it. A request that names
nothing of its own ("how much is that?", "and the lamp?") is read with what was spoken of last.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from dataclasses import replace

from local import offline_english as english
from local import offline_lookup as shop
from local.offline_turn import ORDER, Instead, Turn, Wanted

Rule = Callable[[Turn, str], str]

MAX_REQUESTS = 2  # in one message: each may take a handoff, and the runner counts max_turns
ASK_REASON = "Why would you like to return it?"


def answer(turn: Turn) -> str:
    """The answer to the customer's last message. Raises Wanted if a tool is needed first."""
    if again := _open_return(turn):
        wish = again.partition(":")[0]
        agreed, _, why = turn.message.partition(",")
        if re.search(english.YES, english.spelled(turn.message)):
            turn = replace(turn, message=again)
        elif re.search(english.YES, english.spelled(agreed)) and _is_told(why):
            turn = replace(turn, message=f"{wish}: {english.sentence(why)}")
        elif _is_told(turn.message) and _is_reason(turn, again):
            return f'To return it for that reason, say "{wish}: {english.sentence(turn.message)}".'
    answers: list[str] = []
    requests = _requests(turn)
    for number, (rule, request) in enumerate(requests, 1):
        if number > MAX_REQUESTS:
            rule = f"One thing after the other. Please ask this next: {request}"
        try:
            answers.append(rule if isinstance(rule, str) else rule(turn, request))
        except Instead as instead:
            answers.append(str(instead) or shop.UNKNOWN)
    text = "\n\n".join(dict.fromkeys(answers))
    for known in (NOTE, MENU):  # say each once in a conversation
        if known in "\n".join(turn.spoken):
            text = text.replace(known, "").rstrip() or text
    # After talk of the return, the way back to it stays in sight.
    done = r'say "return|Return initiated|already|cannot be returned|\?$'
    if not again or any(rule not in OF_RETURNS for rule, _ in requests) or re.search(done, text):
        return text
    return f'{text}\n\nTo return it after all, say "{again}".'


def _requests(turn: Turn) -> list[tuple[Rule | str, str]]:
    """What the message asks for: the rules that answer it, each with its part of the message."""
    if hint := re.match(r"return (ORD-\d+): (.+)", turn.message):  # as we say it ourselves
        return [(functools.partial(_give_back, why=hint[2]), hint[1])]
    found = list[tuple[Rule | str, str]]()
    for part in english.parts(turn.message):
        rule = _with_topic(turn, part)
        # "My tier, and what do I get" is one question.
        if not (found and callable(found[-1][0]) and _is_vague(rule, part)):
            found.append((rule, part))
    told = [part for _, part in found if _is_told(part)]
    asked = [f for f in found if f[1] not in told]
    keeps = KEEP in dict(asked)
    if turn.spoken[-1].endswith(ASK_REASON) and not (keeps or _give_back in dict(asked)):
        if _picks(turn):
            return [(f"Orders go back whole.\n\n{ASK_REASON}", turn.message)]
        asked = [f for f in asked if f[0] not in (CARRY_ON, NOTHING_WAITS, shop.article)]
        asked += [(_give_back, turn.subject)] * bool(told or not asked)
    elif told and turn.spoken[-1].endswith(shop.ASK_ORDER):
        asked.append((_give_back, turn.message))
    if _give_back in dict(asked):
        asked = [f for f in asked if f[0] not in (*SMALL_TALK, shop.article)]
        # Last: its answer may be our question, and the next message is the answer to that.
        return sorted(asked, key=lambda f: f[0] is _give_back)
    # Beside a request, small talk, a statement and "how fast is it" need no answer of their own.
    polite = [f for f in found if f[0] in SMALL_TALK]
    talk = [f for f in found if f[0] in VAGUE and f[1] in told]
    talk += [f for f in found if f[0] is shop.article and re.search(english.PRONOUN, f[1])]
    return [f for f in found if f not in polite + talk] or polite[:1] or found[-1:]


def _row(text: str) -> Rule | str:
    """The first row of the table that fits."""
    said = english.spelled(text)
    return next((rule for row, rule in RULES if re.search(rf"\b(?:{row})", said)), shop.article)


def _with_topic(turn: Turn, text: str) -> Rule | str:
    """The rule for `text`; if that names nothing of its own, the rule for what it is about."""
    rule, last, said = _row(text), turn.spoken[-1], english.spelled(text)
    points_back = re.search(english.PRONOUN, text)
    of_order, of_article = "ORD-" in "".join(turn.subjects), turn.article[0]
    if rule is KEEP and "cancel" in text.lower() and not _open_return(turn):
        return IMPOSSIBLE
    if rule is shop.product and of_order and re.search(r"\b(those|them|these|was|were)\b", text):
        return shop.order
    if rule is shop.order and points_back and "Return initiated" in last:
        return _returns
    if of_article and re.search(r"\b(ago|old)\b", text):
        return shop.more
    if of_article and points_back and rule is HELP["payment"]:
        return shop.more
    if rule in STAY and not re.search(OWN, said) and shop.follows(turn, text):
        return shop.more
    if rule not in VAGUE or not (points_back or _is_vague(rule, text)):
        return rule
    if of_article:
        return shop.more
    asks = "?" in said or (re.search(english.ASKS, said) and not last.endswith(ASK_REASON))
    if rule is shop.article and not (asks and re.search("[a-z]", said)):
        return rule
    if re.search(OF_RETURN, last) or _open_return(turn):
        return _returns
    return shop.order if of_order else shop.product if turn.subjects else rule


def _is_vague(rule: Rule | str, text: str) -> bool:
    """Whether `text` names nothing of its own."""
    own = {*english.nouns_of(text)} - {"month", "year"} or re.search(shop.OF_ALL, text)
    return rule in VAGUE and not own


def _again(turn: Turn, request: str) -> str:
    """ "And the keyboard?": what was asked before, for what this names."""
    before = next(filter(lambda rule: rule is not _again, map(_row, turn.earlier[::-1])), None)
    if isinstance(before, str) and before in ABOUT_AN_ORDER:
        return f"{shop.order(turn, request)}\n\n{before}"
    if before is _give_back:
        part = re.search(r"\b(only|just|keep)\b", request)
        return _whole(turn, request) if part else _give_back(replace(turn, message=""), request)
    if before in (_returns, shop.lost) and callable(before):
        return before(turn, request)
    if isinstance(before, functools.partial) and turn.article[0]:
        return shop.more(turn, f"{turn.earlier[-1]} {request}")
    picks = re.search(f"{english.PLACE} (one|order)|{shop.TYPED_ORDER}", request)
    if picks or "get_order" in turn.offered:
        return shop.order(turn, request)
    return shop.product(turn, f"do you have {request}")


def _is_told(text: str) -> bool:
    """Whether `text` is neither a question nor a request, so that it may be a reason."""
    return _row(text) in TOPICS and not re.search(english.ASKS, english.spelled(text))


# Returns


def _is_reason(turn: Turn, again: str) -> bool:
    """Whether what is told after talk of a return may be its reason, and is nothing new."""
    begins = re.match(BECAUSE, turn.message.lower()) and turn.subject in again
    asked = turn.spoken[-1].endswith(ASK_REASON)  # then it is one, and no hint is needed
    return not asked and bool(":" in again or begins) and not re.search(ELSEWHERE, turn.message)


def _give_back(turn: Turn, request: str, why: str = "") -> str:
    picks = turn.earlier and turn.spoken[-1].endswith(shop.ASK_ORDER)  # an order, by this message
    if picks and not why:
        why = _reason(turn.earlier[-1])
    if not (why or picks) or re.search(english.STATES, english.spelled(turn.message)):
        why = why or _reason(turn.message)
    if len(shop.typed_orders(turn.message)) > 1:
        return f"One order after the other, please.\n\n{_returns(turn, request, why)}"
    number = shop.meant_order(turn, request, ask=f"One order at a time. {shop.ASK_ORDER}")
    again, _, reason = _open_return(turn).partition(": ")
    why = why or (reason if again == f"return {number}" else "")
    told = shop.explained(turn, number)
    if "possible until" not in told:
        told = f"It has a return already.\n\n{told}" if "Return reason" in told else told
        wrong = "window has closed" in told and re.search(DEFECT, english.spelled(turn.message))
        return f"{told}\n\n{HELP['warranty'](turn, '')}" if wrong else told
    if not why:
        once = f'A return of {number} needs a reason, such as "too heavy".'
        return f"{once if turn.spoken[-1].endswith(ASK_REASON) else told}\n\n{ASK_REASON}"
    items = re.findall(r"Item\*\*: \d+ x ([^(]*)", told)
    part = len(items) > 1 and english.naming(items, english.nouns_of(turn.message or request))
    output = turn.use("initiate_return", WHOLE * bool(part), order_id=number, reason=why)
    if re.match(r"(?!Return initiated).*(not approved|answer was no)", output):
        # The program itself says that nothing was returned.
        return f'All right. If you change your mind, say "return {number}: {why}".'
    return output  # word for word, a refusal as well


def _reason(message: str) -> str:
    """What is told beside the wish to return. The customer reads it before the yes."""
    told = [part for part in english.parts(message) if _is_told(part)]
    if not told:
        return ""
    whole = message[message.find(told[0]) : message.rfind(told[-1]) + len(told[-1])]
    if all(map(_is_told, english.parts(whole))):  # then in the customer's very words
        told = [whole]
    return english.sentence(" ".join(told))


def _picks(turn: Turn) -> bool:
    """Whether the message only picks one of the items that were listed."""
    items = re.findall(r"\*\*Item\*\*: .*", "\n".join(turn.spoken))
    text = english.spelled(turn.message)
    words = re.findall(r"[a-z]+", re.sub(english.PICKING, "", text))
    return "a" <= text[:1] <= "z" and all(english.naming(items, [word]) for word in words)


def _open_return(turn: Turn) -> str:
    """What asks for the return again, if this message came in place of a reason or of a yes."""
    if hints := re.findall(r'say "(return[^"]+)"', turn.spoken[-1]):
        return str(hints[-1])
    if turn.spoken[-1].endswith(ASK_REASON):
        return f"return {turn.subject}"
    *earlier, message = turn.earlier or [""]
    *spoken, last = [said for said in turn.spoken if said != WHOLE]
    if not message or last != message:
        return ""
    before = replace(turn, message=message, earlier=earlier, spoken=spoken)
    try:  # the same rules, so the message that was left without an answer leads to the same call
        return answer(replace(before, done=turn.done_before, offered=["initiate_return"])) and ""
    except Wanted as wanted:
        call = json.loads(wanted.args[1])
        return f"return {call['order_id']}: {call['reason']}"


def _returns(turn: Turn, request: str, why: str = "") -> str:
    """What was returned, what can be, and the rules: the answer to all questions on returns."""
    lines = re.findall(rf"(?m)^{ORDER}.*", turn.use("list_orders"))
    lines = english.naming(lines, english.nouns_of(request)) or lines
    named = [line.partition(":")[0] for line in lines]
    told, how = list[str](), list[str]()
    of_one = re.search(rf"{english.PRONOUN}|how (long|many days|much)|when", request)
    if of_one and turn.subject in named:
        named = [turn.subject]
    for number in (shop.typed_orders(turn.message) or named)[:4]:
        facts = turn.use("get_order", order_id=number)
        made = re.sub(r"(?s).*Return reason", "return initiated. Reason", facts).replace("\n", ". ")
        made = re.sub(r"(?s).*Return: (Order \S+ )?", "no return so far; ", made)
        told.append(f"{number}: {made}")
        if "possible until" in facts:
            again = _open_return(turn)
            again = again if number in again else f"return {number}{': ' * bool(why)}{why}"
            how.append(f'To return {number}, say "{again}".')
    rules = re.findall(r"- (A delivered order can.*)", turn.instructions)
    if any(rule in "\n".join(turn.spoken) for rule in rules):  # then only what answers
        rules = list(filter(None, (shop.fitting(rule, request) for rule in rules)))
    if re.search(BESIDE_RULES, request.lower()):
        rules.append(f"I know no other rule. {shop.WRITE}")
    return "\n\n".join([shop.bullets(told), *rules, *how])


def _any_reason(turn: Turn, request: str) -> str:
    asked = f"\n\n{ASK_REASON}" * turn.spoken[-1].endswith(ASK_REASON)
    return f"A return is stored with its reason, and any reason will do.{asked}"


def _whole(turn: Turn, request: str) -> str:
    return f"{WHOLE}\n\n{_returns(turn, request)}"


# Small talk


def _why(turn: Turn, request: str) -> str:
    if "There is no order" in turn.spoken[-1]:
        return shop.order(turn, "all my orders")
    of_return = re.search(f"{OF_RETURN}|cannot be returned", turn.spoken[-1])
    return HELP["return"](turn, request) if of_return else shop.NO_MORE


def _now_what(turn: Turn, request: str) -> str:
    if re.search(OF_RETURN, last := turn.spoken[-1]):
        return _returns(turn, request)
    in_trouble = turn.article[0] or shop.WRITE in last or "cannot" in last
    return HELP["contact"](turn, request) if in_trouble else SKILLS


def _recall(turn: Turn, request: str) -> str:
    who = "".join(re.findall(r"customer is (.+)\. Today", turn.instructions))
    said = ["\n\nYour last messages:\n", *turn.earlier[-3:]] if turn.earlier else []
    return f"You are signed in as {who}." + "\n- ".join(said)


def _tier(turn: Turn, request: str) -> str:
    tier = "".join(re.findall(r", tier (\w+)", turn.instructions))
    told = f"Your tier is {tier}.\n\n{HELP['loyalty'](turn, request)}"
    if not re.search(r"why|far|more|need|spen[dt]|until|left|missing|get to|become|reach", request):
        return told
    total = shop.total(re.findall(rf"(?m)^{ORDER}.*", turn.use("list_orders")))
    return f"{told}\n\nYour orders in this shop come to {total}; older ones I do not see."


NOTE = "I am rule-based and know simple English. With OPENAI_API_KEY set, a real model answers."
MENU = (
    "I can look up, track and return your orders, and answer questions on products, shipping, "
    "payment, warranty and the loyalty program. For example:\n\n- where is my order?\n- what can I "
    "return?\n- how much is express shipping?"
)
SKILLS = f"{MENU}\n\n{NOTE}"
ELSE = "I do not know that: I know only the orders, products and policies of this shop."
SORRY = f"I am sorry about the trouble. Where I cannot help, a person may. {shop.WRITE}"
FOREIGN = f"I know simple English only. {SKILLS}"
HELLO = f"Hello, how can I help? {SKILLS}"
GLAD = "I am glad to hear it."
THANKS = "You are welcome. I am here when you need anything else."
FINE = "All right."
NOTHING_WAITS = "Nothing waits for a yes. Tell me what I can do for you."
CARRY_ON = "All right. I am here when you need anything else."
GOODBYE = "Goodbye, and come back any time."
KEEP = "All right, I leave it at that."
NO_ADDRESS = (
    f"I do not know where to send a return, who pays for that, or whether there is a fee. "
    f"{shop.WRITE}"
)
NO_CARRIER = f"I do not know which carrier brings it, where to, or where it was left. {shop.WRITE}"
WHOLE = "An order goes back whole."
NO_SHOP = f"I do not know of a shop that you can visit. {shop.WRITE}"
IMPOSSIBLE = (
    "An order cannot be cancelled, changed, exchanged or sent to another address, nor a return "
    "undone. Once an order is delivered, you can return it in this chat. For all else there is "
    "support@example.com."
)
# What names a topic of its own: it is not one more question on the article that was told last.
OWN = (
    r"order|arriv|track|return|refund|money|\d{4}|laptop|sleeve|lamp|keyboard|headphone|sell"
    r"|do you have|by (the )?\w+day"
)
DEFECT = (
    r"warranty|photo|picture|covered|i drop|accident(s|al)?\b|guarant|repair|fix|broke|crack"
    r"|break|spill|defect|damage|faulty|(not|\w+n't|stopped|won't) (work|turn|start|charg)|smash"
    r"|shatter|(dent|tear|stain)|die[sd]?\b|dying|only lasts|rattl|squeak|buzz"
    r"|wobbl|advertis|(key|bar|button|hinge)\w* .*stuck|no longer|\w+n't (\w+ )?any ?more"
    r"|scratch|torn|flicker|leak|burn|loose|dead\b|hole\b|\bwet\b"
)
BECAUSE = r"\W*(it|they|the|too|because|bc|i (don't|do not|never))\b"
ELSEWHERE = r"\d{4}|\bmy\b|never (got|came)|nothing here|n't (arriv|here|come|got)|thank|mind"
OF_RETURN = "no return so far|[Rr]eturn initiated|Why would you like|say .return ORD"
BESIDE_RULES = r"\b(box|packag\w+|unopened|opened|used|receipt|husband|wife|friend)\b"
BACK = (
    r"return|refund|(?<!take the )(?<!take my )money|cash|rid of"
    r"|(sen[dt]|sending|get|got|giv\w+|tak\w+|bring|go|goes)\b.*\bback"
)
QUESTION = (
    r"^(.*(, |\b(me|know|so|and|but|then) ))?(how|why|when|what|where|who|which|until|if|whether"
    r"|do(?! return)|does|did|am|is|are|was|will)\b.*"
)
HELP = {
    about: functools.partial(shop.article, about=about)
    for about in "return warranty shipping payment loyalty contact tracking".split()
}
# What a request is about, and the rule or the text that answers it. A pattern begins at a word.
RULES: list[tuple[str, Rule | str]] = [
    (r"are you (an? )?(real|human|bot|robot|ai|person|machine|chatbot)|you('re| are) an? (robot|bot"
     r"|human|machine)|who (made|are) you|what (model|bot) are|what('s| is) your name|am i (talk"
     r"|chat|speak)", NOTE),
    (r"(chang|updat|edit|correct|fix|wrong)\w* (my |the )?(e-?mail|name|password)|my (e-?mail|name"
     r"|password)\b.* (chang|updat|wrong|fix|typo)", HELP["contact"]),
    (r"remember|(did|have) (i|we) (ask|say|said|talk|discuss)|who am i\b(?! talk)|(about|on) me\b"
     r"|my name\b|what('s| is) my e?-?mail|(and|what about) my (e-?mail|name)|(my|i am|i'm)\b.*@",
     _recall),
    (r"\w*[\u00df-\u00ff\u0370-\u1fff\u3040-\u9fff\uac00-\ud7af]|(hola|gracias|pedido|quiero"
     r"|devolver|por favor|ich|meine?|nicht|bestellung|danke|bitte|wo|wie|ist|das|und|cuando|puedo"
     r"|bonjour|merci|commande|je)\b", FOREIGN),
    (r"weather|world cup|who wins|rain\b|joke|football|politic|president|capital of|recipe|song"
     r"|poem|movie|python\b", ELSE),
    # Of somebody else, or not possible
    (r"(?<!my )(?!(it|what|who|where|how|when|that|there|here|let|\w*day|order|thi|wa|ha|carrier"
     r"|list)'?s)\w{2,}('s( [a-z]+)?|s) (address|e-?mail|phone|orders?|account|password|tier|name"
     r"|data)\b|(his|her|their) (address|e-?mail|phone|orders?|account|wife|husband)\b"
     r"|orders? (of|by) (?!mine|me\b|my\b)\w+|(other|all|every) (customer|people|user)|(what"
     r"|where|which) (?!i\b|we\b|did|you\b|have|was|my\b|is\b)\w+ (ordered"
     r"|bought)", "I see only your own account."),
    (r"(refund|pay|give).*\bdifference", shop.UNKNOWN),
    (r"(log|sign) ?(out|off)\b", "Type /quit to leave. Then log in with another email."),
    (r"(delet|eras|forget|clos|remov|deactivat|cancel)\w*\b.*\b(account|profile|data)\b",
     f"That cannot be done here. {shop.WRITE}"),
    (r"^(ok(ay)? )?(buy|order) (it|one|this|that)\b|i'?(ll| will) (take|buy) (?!.*back)|(want"
     r"|wanna|like|love|can i|could i|(how|where) (do|can) i|can you) (to )?(buy|order|purchase"
     r"|reorder)\b|(place|make) an? (\w+ )?order|(in|to) my (cart|basket)|check ?out",
     f"I cannot take orders here. {shop.WRITE}"),
    (r"never ?mind|nvm\b|forget (it|that)|(?<!do i )(?<!can i )keep(ing)? (it|them|that)|(\w+n't"
     r"|not) (want to )?(return(?!able)|send|refund)|not (that|this) one|no need"
     r"|^\W*(ok )?cancel (that|it)\b|^((no|wait|then|ok|just)\W+)*leave it|maybe (later|not"
     r"|another)|^(nope|nah)\b|wrong button|^((ok|well|oh|um|sorry|actually)\W+)*(n|no|nope|nah"
     r"|stop|don't|nothing|no,? (thanks?( you)?|wait|not yet|later))\W*$", KEEP),
    (r"^(no\W+)?(i )?((have|'ve|just) )*chang\w* my mind\W*$", FINE),
    (r"(?<!noise )cancel|undo|(chang|differ|wrong|new).*(?<!mail )addres|addres.*(chang|wrong)"
     r"|exchang|(?<!hot.)swap|replace(?!able)|(?<!have )(a new|different) one|add\b.* to (my|the|it"
     r"|\w*\d)|add (an?|another|one|two)\b|can i .*change my mind|(modif|edit|chang)\w* (my|the"
     r"|an) order|(send|ship|deliver) (it|them|this|\w*\d{4}) to\b|revert|withdraw|(i"
     r"|we)('ve)? moved\b(?!.*need)|chang\w* where|delay|postpone|expedit|redirect|reroute"
     r"|new (place|flat|home|house)\b|take .*\b(out|off)\b|remov\w* .*\b(from|order|item)|refuse"
     r"|how (do|can) i stop|chang\w* (it|this|that) to|speed .*up|hurry|(make|it|this"
     r"|that) .*faster|combine|send me (a new|another)", IMPOSSIBLE),
    # Returns: first the questions and the wishes that cannot be met, last the wish
    (r"(move|level) up\b|lose my (gold|platinum|status|tier|level|bonus)", _tier),
    (r"\d+ ?% (off|refund|discount)|match\w* (your |the )?price|price match", shop.UNKNOWN),
    (r"(?<!privacy )polic(y|ies)\b(?!.*(ship|pay|warrant))|(return|refund) (window"
     r"|period)(?!.*\b(my|end))|how (long|many days)\b.*\b(something|an? (order|item"
     r"|product))\b", HELP["return"]),
    (r"^(?!.*(cheap|thing|product|sell)).*(your|an?|the|any) (\w+ )?(store|shop|showroom|branch"
     r"|outlet)\b(?! credit)|in person|visit you|where are you|pick .*up", NO_SHOP),
    (r"(have|need|must) .*(give|say|tell) .*(reason|why)|why do you (want|need|ask)|mandatory",
     _any_reason),
    (r"where.*\bi (send|ship|bring|drop|return)|return address|label\b|restocking"
     r"|postage|refund.*(shipping|delivery)|^(?!.*(shipping|express|deliver|pay)).*\b(fees?|charges"
     r"|any charge)\b|(pay|free|cost).*(return|send.*back)|return shipping|who pays", NO_ADDRESS),
    (r"(return|send|sending|refund|take)\b(?!.*\d{4}).*\b(only|keep|just (one|the|a|my|half|that"
     r"|this))\b|(return|send|refund|take|give)\b.*(?<![erst] )\b(one|half|part|1) (?!of my ord)"
     r"|partial|can i keep|^\W*(just|only) (the|one|that)\b|in parts|keep (the|one|my)\b"
     r"|only\b.*\b(return|send|refund)", _whole),
    (rf"{QUESTION}({BACK})"
     r"|have to (go|be sent) back|(can|could|may) (it|they|this|that|either|any) .*\b(back"
     r"|returned)|deadline|check\w* .*(refund|return)|wait too long|miss .*(window|deadline)"
     r"|(refund|return\w*) (\w+ )?status|(i|have|already|was) returned|(no|any|open"
     r"|pending) (return|refund)s?\b|\w+n't (sent|returned)\b|go (back )?(on|to) my|(on|to) (which"
     r"|what) (account|card)|(which|what) (account|card).*go|(money|refund)[\w ]{1,20}\b(account"
     r"|card)\b|(did|has|is|was) (it|that) (work|go|gone|done|made(?! of))\b|how (long"
     r"|many days) (do|would|will|have) i (have|got)\b|how much (would|will|do|can) i (get|receive)"
     r"|(lost|threw|without|need|keep|original)\b.*\b(box|packaging)|open\w* .*\bbox\b"
     r"|\bbox\b.*(threw|lost|gone|need|open)|(need|without)\b.*receipt|(never|not|\w+n't) (got|get"
     r"|received|see\w*)\b.*(refund|money)|store credit|money (land|come|arrive|get)s|(refund"
     r"|money) (\w+n't|\w+ not|never|still)\b|(return|refund).*\b(after|used|opened|without)\b"
     r"|chang\w* my mind about|about (my |a )?(return|refund)|returns\W*$|what.*get for (it|that"
     r"|\w*\d{4})", _returns),
    (r"(?<!tax )return(?!ed|s)|refund(?!s)|(sen[dt]|sending|give|giving|take|taking"
     r"|bring)\b.*\bback\b|(money|cash) back|(want|have|get) (the|my) (money|cash)|my money\b"
     r"|reimburs|rid of", _give_back),
    # Help articles, orders, products
    (r"total\b|altogether|(how much|what) (did|have|do) i (pay|paid|spen|owe)\b(?! with|.*shipping)"
     r"|(has|did|have)\b.*cost me", shop.order),
    (r"missing|only (got|received|one\b.*(inside|in the box|came))|wrong (?!with)\w+|empty\b"
     r"|for nothing|twice|double|stolen|overcharg", SORRY),
    (r"(deliver|arriv)\w*\b.*\b(nobody|no one|but (i|we|there|no)\b|never|nothing|nowhere"
     r"|not \w+|wrong|\w+n't)\b|never (got|came|received|arrived)|nothing (came|arrived)|(can't"
     r"|cannot) find (it|them|my)", shop.lost),
    (r"(which|what|who)\b.*(carrier|courier|company)|who('s| is| will)?( be)? (deliver|bring|ship)"
     r"|where .*(left|leave) (it|them)|who signed|(which|what) address", NO_CARRIER),
    (r"(already|been|have you|did you|when|will|was|is|get)\b.*\bcharged? (me|my)\b.*\bfor (my|the"
     r"|it)", shop.charged),
    (r"^(many )?(thanks|thank you|thx)\b(?!.*\b(but|where|what|how|when|can|is|i)\b)", THANKS),
    (r"^(i |just )?.*\b((love (it|them|the|my|this|your)|happy with)( \w+)*|(are|is) (great|awesome"
     r"|perfect|lovely))\W*$", GLAD),
    (r"(recommend|better|best)\b.*\bor\b|(good|suitable|ok) for\b|colou?rs?\b|waterproof|\bspecs?\b"
     r"|ports?\b|\bram\b", shop.product),
    *((words, HELP[about]) for words, about in (
        (DEFECT, "warranty"),
        (r"lost\b(?!.*(invoice|receipt|password))|what (if|happens)\b.*(come|arriv|deliver|late\b"
         r"|show up)|track\w*\b.*(\w+n't|not|stuck)\b|mailbox|neighbo", "tracking"),
        (r"shipping|(?<!american )express|if i (order|buy)|(way|cost|much|cheap\w*) to (ship"
         r"|deliver)|overnight|abroad|overseas|international|(do|can) you (ship|deliver)"
         r"|deliver\w* (take|cost|time)", "shipping"),
        (r"take (the|my) money|invoice|receipt|bill\b|pa(id|y)\b|pay(ing|ment|pal)"
         r"|(?<!gift )cards?\b|(i|be|been|get|got|you) charge|(?<!not )accept|financ|instal"
         r"|american express|taken from|visa|amex|credit|bitcoin|crypto|tax\b|vat\b",
         "payment"),
    )),
    (r"(gold|platinum|loyalty|member|points|reward|tier|bonus|vip|level|percent|perk|benefit)"
     r"|to spend|(am i|i'm|only|still|says|why) standard", _tier),
    (r"my account|do about (it|this|that)\b|person\b|human|manager|customer (service|care)"
     r"|supervisor|agent|representative|someone|complain|contact|hotline|call\b|(talk|speak"
     r"|chat) (to|with)|(what|your|opening|business|office|support) (\w+ )?hours|open(ing|ed| (on"
     r"|at|today|now|right|still|until))|(your|tele)phone|phone n|password"
     r"|(?<!got an )(?<!sent an )e-?mail|what time do you|(i|to) phone\b|who (can|do"
     r"|should) i (ask|write)|reach\b|what are the hours|in touch|live chat|whatsapp|(open"
     r"|deliver)\w*\b.*\bon (the )?(week\w+|\w+day)s?\b", HELP["contact"]),
    (r"^but (i|we|you|that)\b", SORRY),
    (r"privacy|best.?sell|popular|discount|voucher|coupon|promo|gift ?(card|wrap)"
     r"|sales?\b|jobs?\b|private|safe\b|secure|newsletter|insur", shop.UNKNOWN),
    (rf"^(ord-?)?\d{{4}}\W*$|{english.PLACE} (one|order)\b(?!.*stock)|(the|my) one (for|with)\b"
     r"|the other\W*$", _again),
    (r"ord-?\d|order|track|check (up )?on|parcel|package|deliver|ship|arriv|status|waiting|my stuff"
     r"|mine\b|coming|(?<!working )late\b|(where|when)('s|\b.*\b(my|is|its|are|get\w*"
     r"|come))\b(?!.*(stock|back|more\b))|purchase|items?\b|i (ever |have )?(bought|paid|spen)"
     r"|everything i|did i (buy|pay|spend)|how long (will|until|till)\b|will (it|they) (come|arrive"
     r"|get)|in time\b|(by|before) (the )?(\w+day|tomorrow|tonight|next|weekend)|(\w+n't|not) (here"
     r"|there|come|got)|dispatch|warehouse|news (on|of|about)|update|supposed to|overdue|(not"
     r"|n't) moved|(go|gone|going|sent) out|eta\b"
     rf"|{shop.TYPED_ORDER}", shop.order),
    (r"catalog|price|cost|how (much|many|big|heavy|large|loud|tall|wide)|looking for|got any"
     r"|suggest\b|(under|below|around) \W*\d|(tell|know|more).* about|avail|stock|should i (buy|get"
     r"|take|choose)|(get|have) more|they come|(be|come) (back|in\b)|alternative|similar|cheaper"
     rf"|{shop.OF_ALL}|{shop.COMPARES}"
     r"|^(and |so )?(is|are|does|has|can) (the|your|it|this)\b", shop.product),
    # Small talk
    (r"(good)?bye\b|good ?night|see (you|ya)\b|that('s| is) all\b", GOODBYE),
    (r"thank|thx|cheers|you('re| are) (great|awesome|the best|nice|good)|well done|nice shop",
     THANKS),
    (r"^(\W*\b(ok(ay)?|u+gh|oh|great|cool|fine|good|perfect|k|h+m+|later|not (now|yet)|lol|(ha)+h?"
     r"|nice|wow|whatever|just|kidding|i see|got it|alright|no (worries|problem)|(wait|one (sec"
     r"|mom)|(let me|i'?ll) (think|check)|hold on).*)\b)+\W*$", CARRY_ON),
    (english.YES, NOTHING_WAITS),
    (r"i have \w+ question|(can|could) you (check|look)( it| that)?\W*$|can you help( me"
     r"| us)?( with \w+( things?)?)?\W*$|can i ask|help me\W*$|^\W*(hi|hiya|hello|hey|yo|sup"
     r"|howdy|help|good \w+)\b|how(( i|')s| are) (it|you|things)\b|(you|any(one|body)) (there"
     r"|awake|here|home)", HELLO),
    (r"repeat|(say|said) (that|it) again", lambda turn, _: turn.spoken[-1] or HELLO),
    (r"what (then|now|next|happens (now|next)|(can|do|should) i do)\b|my options", _now_what),
    (r"what( \w+)? can you|(what|who|how) (can|are|do) you\b(?! (need|mean))|(\w+n't"
     r"|not) (understand|get it)|confus", SKILLS),
    (r"angry|not (very )?helpful|rude\b|damn|wtf|ridiculous|useless|terrible|worst|stupid|scam"
     r"|awful|annoy|f[u*]ck|not accept|compensat|exception|shit|hate|suck|crap|unacceptable"
     r"|disappoint|frustrat|fed up|horribl|junk|garbage|rubbish|unfair", SORRY),
    (r"what do you mean|^(but )?(why|how come)( not| is that| can't (i|you))?\W*$", _why),
    (r"^(ok(ay)? )?(then )?((and|or) (the|an?|my|for)|(what|how) about)\b|^((it'?s )?(for|about) "
     r"|it'?s )?(the|my) \S+( \S+)?\W*$|i mean\b|inside\b|^(ok )?then (the|my) ", _again),
]  # fmt: skip
VAGUE = (shop.article, shop.product)
STAY = (shop.article, shop.product, shop.order, NO_ADDRESS, IMPOSSIBLE, _returns)
SMALL_TALK = (_recall, GLAD, GOODBYE, THANKS, CARRY_ON, HELLO, SKILLS, NOTHING_WAITS, _now_what)
ABOUT_AN_ORDER = (SORRY, IMPOSSIBLE, NO_CARRIER)
OF_RETURNS = (KEEP, FINE, NO_ADDRESS, _any_reason, _returns, _whole, shop.article, HELP["return"])
# A sentence on one of these that asks nothing may be the reason of a return.
TOPICS = (*HELP.values(), shop.article, shop.order, shop.lost, shop.product, _again,
          THANKS, SORRY, FINE, FOREIGN)  # fmt: skip
