"""Secrets in what was recorded: found by their shape or by their name, and named where they stood.

Pipelines put passwords into settings, addresses and errors. What was recorded stays as it is, it is
evidence; what is shown of it goes through here. A mask says what it hides: `‹masked: password›`.

Every search takes time in proportion to the text, whatever the text is: each pattern begins at a
boundary, and no part of it can be read in two ways.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PASSWORD, KEY, TOKEN, PRIVATE_KEY = "password", "key", "token", "private key"  # words
CREDENTIAL, SIGNATURE = "credential", "signature"

# Nothing of a word stands before it.
_ALONE = r"(?<![A-Za-z0-9_\-])"

# Whole secrets that say themselves what they are.
_SHAPES: tuple[tuple[str, str], ...] = (
    (
        PRIVATE_KEY,
        (
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"(?s:.*?)(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
        ),
    ),
    (PRIVATE_KEY, r"AGE-SECRET-KEY-1[0-9A-Z]{20,}"),
    # Amazon, Google, Azure, DigitalOcean, Alibaba, Yandex.
    (KEY, r"(?:AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])"),
    (KEY, r"AIza[0-9A-Za-z_\-]{30,}"),
    (TOKEN, r"ya29\.[0-9A-Za-z_\-.]{20,}"),
    (KEY, r"GOCSPX-[0-9A-Za-z_\-]{20,}"),
    (TOKEN, r"do[opr]_v1_[0-9a-f]{40,}"),
    (KEY, r"LTAI[0-9A-Za-z]{12,}"),
    (KEY, r"AQVN[0-9A-Za-z_\-]{30,}"),
    # Code and packages.
    (TOKEN, r"gh[pousr]_[0-9A-Za-z]{20,}"),
    (TOKEN, r"github_pat_[0-9A-Za-z_]{20,}"),
    (TOKEN, r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|imt)-[0-9A-Za-z_\-.]{16,}"),
    (TOKEN, r"npm_[0-9A-Za-z]{30,}"),
    (TOKEN, r"pypi-[0-9A-Za-z_\-]{40,}"),
    (TOKEN, r"rubygems_[0-9a-f]{40,}"),
    (TOKEN, r"dckr_pat_[0-9A-Za-z_\-]{20,}"),
    (TOKEN, r"ATATT3[0-9A-Za-z_\-=]{40,}"),
    (TOKEN, r"ATBB[0-9A-Za-z]{20,}"),
    # Models.
    (KEY, r"sk-(?:ant-|proj-|svcacct-|or-v1-|lf-)?[0-9A-Za-z_\-]{20,}"),
    (TOKEN, r"hf_[0-9A-Za-z]{20,}"),
    (TOKEN, r"r8_[0-9A-Za-z]{20,}"),
    (KEY, r"gsk_[0-9A-Za-z]{20,}"),
    (KEY, r"pplx-[0-9A-Za-z]{20,}"),
    (KEY, r"xai-[0-9A-Za-z]{40,}"),
    (KEY, r"nvapi-[0-9A-Za-z_\-]{20,}"),
    (KEY, r"lsv2_(?:pt|sk)_[0-9a-f_]{20,}"),
    # Messages, mail, money.
    (TOKEN, r"xox[abeoprs]-[0-9A-Za-z\-]{10,}"),
    (TOKEN, r"xapp-[0-9A-Za-z\-]{20,}"),
    (KEY, r"SG\.[0-9A-Za-z_\-]{16,}\.[0-9A-Za-z_\-]{16,}"),
    (KEY, r"key-[0-9a-f]{32}(?![0-9a-f])"),
    (KEY, r"[0-9a-f]{32}-us[0-9]{1,2}(?![0-9])"),
    (KEY, r"SK[0-9a-f]{32}(?![0-9a-f])"),
    (TOKEN, r"[0-9]{8,10}:AA[0-9A-Za-z_\-]{33}(?![0-9A-Za-z_\-])"),
    (KEY, r"(?:sk|rk|pk)_(?:live|test)_[0-9A-Za-z]{16,}"),
    (KEY, r"whsec_[0-9A-Za-z+/=]{20,}"),
    (TOKEN, r"sq0(?:atp|csp|idp)-[0-9A-Za-z_\-]{20,}"),
    (TOKEN, r"EAAA[0-9A-Za-z_\-]{50,}"),
    (TOKEN, r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    # Houses of data and of watching.
    (TOKEN, r"dapi[0-9a-f]{32}(?:-[0-9])?"),
    (TOKEN, r"hv[sbr]\.[0-9A-Za-z_\-]{20,}"),
    (TOKEN, r"dp\.(?:pt|st|sa|ct|scim|audit)\.[0-9A-Za-z.]{20,}"),
    (TOKEN, r"gl(?:sa|c)_[0-9A-Za-z_+/=]{20,}"),
    (KEY, r"NRAK-[0-9A-Z]{20,}"),
    (TOKEN, r"sntry[su]_[0-9A-Za-z_=+/\-]{20,}"),
    (KEY, r"PMAK-[0-9a-f\-]{20,}"),
    (KEY, r"lin_(?:api|oauth)_[0-9A-Za-z]{20,}"),
    (TOKEN, r"ntn_[0-9A-Za-z]{20,}"),
    (TOKEN, r"figd_[0-9A-Za-z_\-]{20,}"),
    (TOKEN, r"sbp_[0-9a-f]{30,}"),
    (KEY, r"pscale_(?:tkn|pw|oauth)_[0-9A-Za-z_\-.]{20,}"),
    (TOKEN, r"lst_[0-9A-Za-z_\-]{40,}"),
    (TOKEN, r"eyJ[0-9A-Za-z_\-]{8,}\.eyJ[0-9A-Za-z_\-]{8,}\.[0-9A-Za-z_\-]*"),
)

# Secrets inside an address; what the groups `before` and `after` hold stays.
_PLACES: tuple[tuple[str, str], ...] = (
    (
        PASSWORD,
        (
            r"(?P<before>(?<![A-Za-z0-9+.\-])[A-Za-z][A-Za-z0-9+.\-]{0,40}://[^\s:/@\"'<>‹]{0,200}:)"
            r"(?P<secret>[^\s/?#\"'<>‹]+)(?P<after>@)"
        ),
    ),
    (
        CREDENTIAL,
        (
            r"(?P<before>(?<![A-Za-z0-9+.\-])[A-Za-z][A-Za-z0-9+.\-]{0,40}://)"
            r"(?P<secret>[^\s:/@?#\"'<>‹]{20,})(?P<after>@)"
        ),
    ),
    (
        CREDENTIAL,
        (
            r"(?P<before>hooks\.slack\.com/(?:services|workflows|triggers)/)"
            r"(?P<secret>[0-9A-Za-z_/\-]+)(?P<after>)"
        ),
    ),
    (
        CREDENTIAL,
        r"(?P<before>discord(?:app)?\.com/api/webhooks/[0-9]+/)(?P<secret>[0-9A-Za-z_\-]+)(?P<after>)",
    ),
    (
        CREDENTIAL,
        r"(?P<before>\.webhook\.office\.com/webhookb2/)(?P<secret>[0-9A-Za-z@/\-]+)(?P<after>)",
    ),
    (
        TOKEN,
        (
            r"(?P<before>(?<![A-Za-z0-9_\-])(?i:bearer|token|negotiate)\s{1,3})"
            r"(?P<secret>(?=[^\s\"']{0,400}[0-9])[0-9A-Za-z._~+/\-]{16,}=*)(?P<after>)"
        ),
    ),
    (
        PASSWORD,
        (
            r"(?P<before>(?i:authorization)[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?i:basic|digest)\s{1,3})"
            r"(?P<secret>[0-9A-Za-z+/=_\-]{4,})(?P<after>)"
        ),
    ),
    (
        PASSWORD,
        (
            r"(?P<before>(?<![A-Za-z0-9_\-])(?i:identified by|curl -u|--user)\s{1,3}[\"']?"
            r"(?:[^\s:\"']{1,80}:)?)"
            r"(?P<secret>[^\s\"';,‹›]+)(?P<after>)"
        ),
    ),
)

# Names whose values are secret, as the end of a name: `db_password`, `X-Api-Key`, `AccountKey`.
_NAMES: dict[str, str] = {
    r"pass(?:word|wd|phrase)?|pwd|passcode|pin[_-]?code": PASSWORD,
    r"secret|client[_-]?secret|app[_-]?secret|consumer[_-]?secret|shared[_-]?secret": "secret",
    r"api[_-]?key|access[_-]?key(?:[_-]?id)?|account[_-]?key|secret[_-]?key"
    r"|secret[_-]?access[_-]?key|shared[_-]?access[_-]?key|signing[_-]?key|encryption[_-]?key"
    r"|master[_-]?key|storage[_-]?key|subscription[_-]?key|service[_-]?key|license[_-]?key"
    r"|functions[_-]?key|function[_-]?key": KEY,
    r"private[_-]?key|ssh[_-]?key": PRIVATE_KEY,
    r"access[_-]?token|auth[_-]?token|refresh[_-]?token|id[_-]?token|session[_-]?token"
    r"|security[_-]?token|bearer[_-]?token|api[_-]?token|bot[_-]?token|csrf[_-]?token"
    r"|personal[_-]?token|deploy[_-]?token|oauth[_-]?token|webhook[_-]?token"
    r"|jwt|sas[_-]?token|x-amz-security-token": TOKEN,
    r"credentials?|authorization|proxy-authorization|cookie|set-cookie|session[_-]?id"
    r"|connection[_-]?string|webhook[_-]?url": CREDENTIAL,
    r"x-amz-signature|x-goog-signature|signature|sig": SIGNATURE,
}
_KINDS = [(kind, re.compile(rf"(?:{names})\Z", re.IGNORECASE)) for names, kind in _NAMES.items()]
# Some end other words without a boundary: `PGPASSWORD`, `dbpasswd`.
_RUN_ON = r"password|passwd|passphrase|apikey|secretkey|accesskey"
_SECRET_NAME = re.compile(
    rf"(?:(?:\A|[_.\-])(?:{'|'.join(_NAMES)})|(?:{_RUN_ON}))\Z", re.IGNORECASE
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# A name before what it is set to: in JSON, JSON within JSON, YAML, a connection string, a query, an
# environment, a command line.
_NAME = re.compile(
    r"(?<![\w.\-])(?P<name>[\w.\-]{1,80})(?:\\?[\"']?\s{0,3}(?:[:=]|=>)\s{0,3}|(?<=[\w])\s{1,3})"
)
_VALUE = re.compile(
    r"\\\"(?:[^\\\"]|\\\\.)*(?:\\\"|\Z)|\"(?:[^\"\\]|\\.)*(?:\"|\Z)|'(?:[^'\\]|\\.)*(?:'|\Z)"
    r"|\{[^{}\s]+\}(?=;|\Z)|[^\s\"'&;,{}\[\]()<>‹\\]+"
)
_LINE = re.compile(r"[^\r\n\"'‹]+")
# What stands for a value and is none: a variable, a template, a mask, a fingerprint.
_STANDS_FOR_IT = re.compile(
    r"(?:\$\{[^}]*\}|\$\w+|%\w+%|\{\{[^}]*\}\}|<[^>]*>|‹[^›]*›|\*+|x{3,}|\.{3}|\[?redacted\]?"
    r"|basic|bearer|digest|negotiate|token|none|null|true|false|undefined|[0-9]{1,3}|vault:\S*|env:\S*|secretref:\S*|fingerprint:\S*)\Z",
    re.IGNORECASE,
)
# Most texts hold nothing of the kind: one look at them says so.
_WORTH_A_LOOK = tuple(
    (  # noqa: SIM905  # words, laid out as words
        ":// -----begin age-secret pass pwd pin secret key token bearer negotiate auth cookie "
        "session credential connection webhook sig jwt identified --user curl akia asia agpa "
        "aida aroa aipa anpa anva abia acca aiza ya29 gocspx ltai aqvn atatt3 atbb eaaa eyj "
        "_v1_ _pat_ ghp_ gho_ ghu_ ghs_ ghr_ gl npm_ pypi- rubygems_ sk- sk_ rk_ pk_ hf_ r8_ "
        "gsk_ pplx- xai- nvapi- lsv2_ xox xapp- sg. -us sk :aa sq0 shp dapi hvs. hvb. hvr. dp. "
        "nrak sntry pmak lin_ ntn_ figd_ sbp_ pscale lst_ whsec_"
    ).split()
)

_BY_SHAPE = [
    (kind, re.compile(f"{before}(?:{'|'.join(text for other, text in _SHAPES if other == kind)})"))
    # A private key also begins behind the “n” of a line break that JSON wrote out.
    for kind, before in ((PRIVATE_KEY, ""), (KEY, _ALONE), (TOKEN, _ALONE))
]
_BY_PLACE = [(kind, re.compile(pattern)) for kind, pattern in _PLACES]


def masked(text: str) -> str:
    """The text with every secret that can be told replaced by a mask that says what it was."""
    folded = text.lower()
    if not any(hint in folded for hint in _WORTH_A_LOOK):
        return text
    for kind, pattern in _BY_SHAPE:
        text = pattern.sub(_mask(kind), text)
    for kind, pattern in _BY_PLACE:
        text = pattern.sub(_in_place(kind), text)
    return _by_name(text)


def _mask(kind: str) -> str:
    return f"‹masked: {kind}›"


def _in_place(kind: str) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        if _STANDS_FOR_IT.match(match["secret"]):
            return match[0]
        return f"{match['before']}{_mask(kind)}{match['after']}"

    return replace


def _by_name(text: str) -> str:
    """Mask what follows a name that says that it is secret."""
    parts, done = [], 0
    for named in _NAME.finditer(text):
        kind = _kind(named["name"]) if named.start() >= done else None
        # Words of a sentence are no settings; only options of a command line go without a sign.
        told = text[named.end("name") : named.end()].strip() or named["name"].startswith("--")
        if kind is None or not told:
            continue
        pattern = _LINE if named["name"].lower().endswith("cookie") else _VALUE
        value = pattern.match(text, named.end()) or _VALUE.match(text, named.end())
        if value is None:
            continue
        quote = next((mark for mark in ('\\"', '"', "'") if value[0].startswith(mark)), "")
        bare = value[0].removeprefix(quote).removesuffix(quote)
        if not bare or _STANDS_FOR_IT.match(bare):
            continue
        parts += [text[done : named.end()], quote, _mask(kind), quote]
        done = value.end()
    return "".join([*parts, text[done:]])


def _kind(name: str) -> str | None:
    """What the value of a name is, or None where nothing says that it is secret."""
    name = _HUMP.sub("_", name.lstrip("-"))
    if not _SECRET_NAME.search(name):
        return None
    return next((kind for kind, names in _KINDS if names.search(name)), CREDENTIAL)
