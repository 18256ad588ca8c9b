"""The claims of the demo: invented, and the same on every machine.

A claim is made of its number alone, so that a run can go on where it stopped. Nothing is drawn at
random: what looks like chance is a hash of names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

T = TypeVar("T")

HOSPITAL_CLAIM = 311
HOSPITAL_LINES = 500
HOSPITAL_TOTAL = Decimal("18406.20")
LINE_OVER_TARIFF = 46
LINE_OUT_OF_CATALOGUE = 147
UNKNOWN_CODE = "T-9901"

# Claims to whom something happens; every other one goes through, or to a person if its answer
# is unsure.
BAD_AMOUNT = {258: "1.240,OO", 333: "n/a", 432: "12O.50", 547: "-"}
BAD_DATES = frozenset({274, 349, 417, 533})
ANSWER_CUT = frozenset({289, 455})
FRAUD_SERVICE_DOWN = frozenset({303, 448})
_UNSURE_PERCENT = 15
_SLOW_MODEL_PERCENT = 6
_SLOW_FRAUD_PERCENT = 5
_OVER_TARIFF_PERCENT = 4

_CENT = Decimal("0.01")


@dataclass(frozen=True, kw_only=True)
class Service:
    """An entry of the tariff catalogue; codes that begin with T-44 are asked for one by one."""

    code: str
    text: str
    tariff: Decimal

    @property
    def is_asked_for(self) -> bool:
        """Whether the tariff changes so often that the list of the quarter lacks it."""
        return self.code.startswith("T-44")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of an invoice, counted from 0 as the tokens of its expansion are."""

    number: int
    service: Service
    billed: Decimal


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A sort of claim: what the model should call it, and who sends such invoices."""

    benefit_group: str
    tariff: str
    diagnosis: str
    letter: str
    provider: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim as the file of its day has it."""

    number: int
    kind: Kind
    policy: str
    insured_since: str
    incident_date: date
    reported_date: date
    amount: str
    lines: tuple[Line, ...]
    confidence: Decimal

    @property
    def row(self) -> dict[str, Any]:
        """The record of the file; amounts are text there, as in any CSV."""
        return {
            "claim_id": self.number,
            "policy": self.policy,
            "insured_since": self.insured_since,
            "tariff": self.kind.tariff,
            "provider": self.kind.provider,
            "diagnosis": self.kind.diagnosis,
            "letter": self.kind.letter,
            "incident_date": self.incident_date,
            "reported_date": self.reported_date,
            "amount": self.amount,
            "lines": len(self.lines),
        }


def share(*names: object) -> int:
    """A number from 0 to 99 that these names always have."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8]) % 100


def pick(options: Sequence[T], *names: object) -> T:
    """The option that these names always choose."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return options[int.from_bytes(digest[:8]) % len(options)]


def model_is_slow(number: int) -> bool:
    """Whether the triage model times out once on this claim."""
    return number != HOSPITAL_CLAIM and share("slow model", number) < _SLOW_MODEL_PERCENT


def fraud_is_slow(number: int) -> bool:
    """Whether the fraud service times out once on this claim."""
    return number == HOSPITAL_CLAIM or share("slow fraud", number) < _SLOW_FRAUD_PERCENT


def claim(number: int, *, day: date) -> Claim:
    """The claim of this number, in the file of this day."""
    if number == HOSPITAL_CLAIM:
        return _hospital_claim(day)
    kind = pick(KINDS, "kind", number)
    lines = _lines(number, kind)
    reported = day - timedelta(days=1)
    before = 1 + share("incident", number) % 28
    late = number in BAD_DATES
    return Claim(
        number=number,
        kind=kind,
        policy=f"P-{200_000 + share('policy', number) * 97 + number}",
        insured_since=f"{2003 + share('since', number) % 20}-{1 + number % 12:02}-01",
        incident_date=reported + timedelta(days=before if late else -before),
        reported_date=reported,
        amount=BAD_AMOUNT.get(number) or str(sum(line.billed for line in lines)),
        lines=lines,
        confidence=_confidence(number),
    )


def _confidence(number: int) -> Decimal:
    unsure = share("unsure", number) < _UNSURE_PERCENT
    low, spread = (38, 38) if unsure else (78, 21)
    return Decimal(low + share("confidence", number) % spread) / 100


def _lines(number: int, kind: Kind) -> tuple[Line, ...]:
    count = 1 + share("lines", number) % 3
    services = SERVICES[kind.benefit_group]
    made = []
    for place in range(count):
        service = pick(services, "service", number, place)
        over = share("over", number, place) < _OVER_TARIFF_PERCENT
        factor = Decimal("1.18") if over else pick(_FACTORS, "factor", number, place)
        made.append(
            Line(number=place, service=service, billed=(service.tariff * factor).quantize(_CENT))
        )
    return tuple(made)


def _hospital_claim(day: date) -> Claim:
    lines = []
    for place in range(HOSPITAL_LINES - 1):
        service = pick(SERVICES["inpatient_surgery"], "hospital", place)
        billed = service.tariff
        if place == LINE_OVER_TARIFF:
            service, billed = ANAESTHESIA, Decimal("412.00")
        lines.append(Line(number=place, service=service, billed=billed))
    # The last line is what is left of the sum on the invoice.
    rest = HOSPITAL_TOTAL - sum(line.billed for line in lines)
    stay = Service(code="T-1001", text="Case rate, 10 nights, theatre included", tariff=rest)
    lines.append(Line(number=HOSPITAL_LINES - 1, service=stay, billed=rest))
    return Claim(
        number=HOSPITAL_CLAIM,
        kind=HOSPITAL_STAY,
        policy="P-231174",
        insured_since="2014-03-01",
        incident_date=day - timedelta(days=23),
        reported_date=day - timedelta(days=1),
        amount=str(HOSPITAL_TOTAL),
        lines=tuple(lines),
        confidence=Decimal("0.91"),
    )


def _service(code: str, text: str, tariff: str) -> Service:
    return Service(code=code, text=text, tariff=Decimal(tariff))


_FACTORS = (Decimal("0.96"), Decimal(1), Decimal(1), Decimal(1), Decimal("1.03"))
ANAESTHESIA = _service("T-4410", "Anaesthesia, per started hour", "380.00")
SERVICES: dict[str, tuple[Service, ...]] = {
    "inpatient_surgery": (
        _service("T-1110", "Ward round, consultant", "31.40"),
        _service("T-1204", "Nursing care, acute ward, per shift", "46.80"),
        _service("T-1310", "Blood count, complete", "14.60"),
        _service("T-1312", "C-reactive protein", "9.20"),
        _service("T-1318", "Electrolytes, serum", "11.90"),
        _service("T-1420", "Ceftriaxone 2 g, infusion", "22.50"),
        _service("T-1423", "Metronidazole 500 mg, infusion", "12.80"),
        _service("T-1427", "Paracetamol 1 g, infusion", "7.30"),
        _service("T-1431", "Crystalloid infusion, 1 l", "6.40"),
        _service("T-1510", "Wound dressing, change", "18.70"),
        _service("T-1514", "Drain, care and measurement", "16.20"),
        _service("T-1602", "Physiotherapy, bedside, 20 min", "27.00"),
        _service("T-1705", "Ultrasound, abdomen", "58.30"),
        _service("T-1811", "Thrombosis prophylaxis, injection", "8.90"),
    ),
    "outpatient": (
        _service("T-2010", "Consultation, detailed", "24.80"),
        _service("T-2044", "Electrocardiogram, resting", "34.60"),
        _service("T-2071", "Spirometry", "41.20"),
        _service("T-4423", "Infusion of an antibody, per session", "612.00"),
    ),
    "dental": (
        _service("T-3005", "Professional cleaning", "92.00"),
        _service("T-3021", "Composite filling, three surfaces", "128.40"),
        _service("T-3060", "Root canal, one canal", "214.50"),
    ),
    "physiotherapy": (
        _service("T-3510", "Manual therapy, 25 min", "38.60"),
        _service("T-3522", "Lymphatic drainage, 45 min", "52.10"),
    ),
    "medical_aids": (
        _service("T-3810", "Knee orthosis, hinged", "318.00"),
        _service("T-3833", "Compression stockings, made to measure", "86.90"),
    ),
}
HOSPITAL_STAY = Kind(
    benefit_group="inpatient_surgery",
    tariff="HOSPITAL PLUS",
    diagnosis="K35.3",
    letter="appendicitis with localised peritonitis. Operation on day 1, second look on day 3"
    " after fever",
    provider="Klinikum Nord",
    reason="Localised peritonitis with a second operation explains ten nights. Length of stay is"
    " within the usual 7 to 12 days. The invoice has 500 lines; prices were not checked here.",
)
KINDS = (
    Kind(
        benefit_group="outpatient",
        tariff="OUTPATIENT COMFORT",
        diagnosis="J45.1",
        letter="asthma, follow-up after change of inhaler",
        provider="Lung practice Am Markt",
        reason="A follow-up with lung function fits the diagnosis and the interval.",
    ),
    Kind(
        benefit_group="outpatient",
        tariff="OUTPATIENT BASIC",
        diagnosis="I10",
        letter="blood pressure check with ECG",
        provider="Dr. Okafor, general practice",
        reason="A yearly check with ECG fits the diagnosis.",
    ),
    Kind(
        benefit_group="dental",
        tariff="DENTAL 80",
        diagnosis="K02.1",
        letter="caries of dentine, filling at 36",
        provider="Dental practice Lindenhof",
        reason="Filling and cleaning fit the findings on the letter.",
    ),
    Kind(
        benefit_group="physiotherapy",
        tariff="OUTPATIENT COMFORT",
        diagnosis="M54.5",
        letter="low back pain, six sessions prescribed",
        provider="Physiotherapy Hafenstraße",
        reason="The sessions are within the six that were prescribed.",
    ),
    Kind(
        benefit_group="medical_aids",
        tariff="AIDS 90",
        diagnosis="S83.5",
        letter="strain of the cruciate ligament, orthosis prescribed",
        provider="Orthotics Weber",
        reason="An orthosis is usual for this injury, and it was prescribed.",
    ),
)
