"""What a scan is, from its headers: typical protocols of the vendors, contradictions, and gaps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acuity.anatomy import Sequence
from acuity.dicom.reading.scan import Scan
from acuity.dicom.selection.agents import agent_given
from acuity.dicom.selection.classify import classify
from acuity.dicom.selection.rules import default_rules

T1, T2, FLAIR = Sequence.T1, Sequence.T2, Sequence.FLAIR


def scan(
    kinds: str = "",
    tr: float | None = None,
    te: float | None = None,
    ti: float | None = None,
    name: str = "",
    **values: Any,
) -> Scan:
    sets: dict[str, Any] = {k: frozenset(v) if isinstance(v, list) else v for k, v in values.items()}
    return Scan(
        description=name,
        scanning_sequence=frozenset(kinds.split()),
        repetition_time=tr,
        echo_time=te,
        inversion_time=ti,
        slices=30,
        **sets,
    )


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (T1, scan("SE", 550, 11)),
        (T1, scan("SE", 700, 20, name="3d space")),
        (T1, scan("", 550, 11)),  # ScanningSequence is absent
        (T1, scan("GR IR", 2300, 2.98, 900, sequence_variant=["SK", "SP", "MP"])),  # Siemens MPRAGE
        (T1, scan("GR", 8.2, 3.2, 450, sequence_variant=["SS", "SP", "SK"])),  # GE BRAVO
        (T1, scan("GR", 8.1, 3.7, sequence_variant=["MP"], flip_angle=8)),  # Philips TFE, no TI
        (T1, scan("GR", 250, 2.5, flip_angle=70)),  # 2D FLASH
        (T1, scan("SE IR", 2000, 9, 860)),  # T1 FLAIR
        (T2, scan("SE", 4500, 99)),
        (T2, scan("SE", 3200, 408, name="spc")),  # 3D T2
        (T2, scan("RM", 4000, 105)),  # PROPELLER
        (FLAIR, scan("SE IR", 9000, 120, 2500)),
        (FLAIR, scan("SE IR", 5000, 388, 1800)),  # 3D SPACE
        (FLAIR, scan("IR SE", 4000, 194, 1400)),  # 64 mT
        (FLAIR, scan("SE", 8000, 130, 2100)),  # the word IR is missing, TI is not
        (FLAIR, scan("SE IR", 9000, 120)),  # TI is missing, the word IR is not
        (None, scan("SE", 3000, 15)),  # proton density
        (None, scan("SE IR", 4000, 60, 160)),  # STIR
        (None, scan("GR", 600, 20)),  # T2*
        (None, scan("GR", 28, 20)),  # SWI
        (None, scan("EP SE", 5000, 90)),
        (None, scan("SE", 5000, 90, b_value=1000.0)),
        (None, scan("GR", 22, 4, sequence_variant=["TOF"])),
        (None, scan("GR", 22, 4, name="tof_fl3d_tra")),
        (None, scan("GR", 5.9, 2.6, name="ax FIESTA")),
        (None, scan("GR IR", 5000, 3, 2500)),  # second inversion of MP2RAGE
        (None, scan("GR", 488, 4.9, name="gre_b0")),  # timing of a field map
        (None, scan("SE IR", 7500, 320, 3000, name="3D DIR")),
        (None, scan("SE", 550, 11, name="T1 sag C-spine")),
        (None, scan("SE", 550, 11, body_part="KNEE")),
        (None, scan("SE", 550, 11, image_type=["DERIVED", "SECONDARY", "MIP"])),
        (None, scan("SE", 4500, 99, image_type=["ORIGINAL", "PRIMARY", "PHASE"])),
        (None, scan("SE", 4500, 99, stacks=8)),  # T2 mapping
        (None, replace(scan("SE", 550, 11), slices=3)),
        (None, replace(scan("SE", 550, 11), made_by_acuity=True)),
    ],
)
def test_physics(expected: Sequence | None, found: Scan) -> None:
    kind = classify(found, default_rules())
    assert kind.sequence is expected, kind.reason
    assert kind.warning == ""


NAMES: dict[Sequence | None, list[str]] = {
    T1: ["T1", "AX T1", "t1_mprage_sag_p2_iso", "Ax 3D BRAVO", "sT1W_3D_TFE", "T1W_SE", "t1_se_tra", "Sag T1 FLAIR",
         "t1ce", "T1+C", "AX T1 POST GD", "fl3d_t1"],
    T2: ["T2", "t2_tse_tra", "AX T2 FSE", "T2W_TSE", "3DT2"],
    FLAIR: ["FLAIR", "AX T2 FLAIR", "t2_tirm_tra_dark-fluid", "T2W_FLAIR", "3DFLAIR"],
    None: ["AX T2* GRE", "T2 star", "SWI", "PD", "DWI b1000", "ADC", "localizer", "TOF 3D", "ASL", "T1 SUB", "AX MIP",
           "STIR", "T1 lumbar spine", "HEAD", "T1 MAP", ""],
}  # fmt: skip
# What a name says of the agent, in the languages of the market: a word for it, and a word that denies it.
AGENT_NAMES: dict[bool | None, list[str]] = {
    True: ["t1_mprage +C", "T1 C+", "T1 GD", "t1 tra KM", "T1Gd", "t1_se_mit_KM", "T1 avec gado", "T1 con contraste",
            "t1ce", "T1 post-contrast", "AX T1 POST", "T1 nach KM", "T1 tra gado", "AX T1 W CONTRAST",
            "Ax T1 FLAIR +C", "AX T1 +GD PRE-OP", "AX T1 POST W/O FS", "T1 +C PRE-SAT", "t1_mprage_KM_p2", "T1-Gd",
            "T1 - Gd", "T1 GD - SAG", "T1 dopo mdc", "T1 apres injection", "T1 po kontrastu",
            "t1_vibe_dixon_tra_KM_W", "T1 met contrast", "T1 efter kontrast", "T1 c/ contraste", "T1 SAG C+",
            "T1 no fs +C", "T1 CE"],
    False: ["T1 w/o contrast", "T1 nativ", "t1 ohne KM", "T1 sans gado", "T1 sin contraste", "T1 pre-contrast",
            "T1 non contrast", "T1 vor KM", "avant gado", "NO CONTRAST", "T1 zonder contrast", "T1 utan kontrast",
            "T1 uten kontrast", "T1 uden kontrast", "T1 bez kontrastu", "T1 prima mdc", "T1 Gd-", "T1 kein KM",
            "T1 o. KM", "T1 before contrast", "T1 w.o. contrast", "T1 non enhanced", "T1 ennen kontrasti",
            "T1 przed kontrastem", "T1 -Gd", "T1 Gd (-)", "T1 (-)", "T1 senza mdc", "T1 sem contraste", "T1 sin gad",
            "T1 sans injection", "T1 avant l'injection", "T1 pas de gado", "T1 antes de contraste", "T1 AX S/C",
            "T1 kontrasztanyag nélkül", "T1 før kontrast", "T1 PRE", "T1 pre Gd", "T1 GD PRE", "AX T1 PRE (GAD)",
            "T1 without", "T1 minus KM", "T1 ohne", "T1 unenhanced", "T1 noncontrast", "t1_nativ", "T1 до контраста",
            "T1 без КУ", "T1 W/O", "T1 -C", "T1 C-", "T1 w/o GAD", "T1 voor contrast", "T1 před KL",
            "T1 enne kontrasti", "T1 fara contrast", "T1 nonenhanced", "T1 precontrast", "T1 senza contrasto"],
    None: ["t1_mprage_sag", "AX T1", "T1 PRE-OP", "T1 POST OP", "T1 W/O FS", "T1 no FS", "T1 avant et apres gado",
            "T1 PRE POST GD", "T1 SANS FS", "T1 PRESAT", "T1-C", "T1 POST RT", "SAG T1 FS", "T1_mprage_iso"],
}  # fmt: skip
DENIALS = ["vor", "ohne", "kein", "avant", "sans", "no", "without", "w/o", "pre", "before", "zonder", "geen", "senza",
           "prima", "bez", "przed", "sin", "sem", "antes de", "utan", "uten", "uden", "fara", "pas de"]  # fmt: skip
AGENTS = ["KM", "Kontrastmittel", "contrast", "contraste", "gado", "Gd", "mdc", "injection", "contrasto", "Gadovist"]
# What ContrastBolusAgent, which is free text (PS3.3 C.7.6.4), says of it.
AGENT_TEXTS: dict[bool | None, list[str]] = {
    True: ["Gadobutrol", "Dotarem 10 ml", "YES", "GADAVIST", "MultiHance", "10 ml Gd", "KM", "IV", "Gd-DTPA",
            "Gadovist 1.0", "Magnevist", "ProHance", "PROHANCE 15CC", "GADOTERATE MEGLUMINE", "CONTRAST", "APPLIED"],
    False: ["NO CONTRAST", "NONE GIVEN", "ohne KM", "NOT GIVEN", "sans", "SIN CONTRASTE", "NULL", "NONE & NONE",
            "none", "kein KM", "senza", "patient refused", "0 ml", "bez", "No Gd", "without", "zonder contrast",
            "N/A", "aucun", "-", "--", "NO", "n", "0", "nil", "na", "false"],
    None: ["UNKNOWN", "?", "unbekannt", "XXXX"],
}  # fmt: skip


@pytest.mark.parametrize(("expected", "name"), [(kind, name) for kind, names in NAMES.items() for name in names])
def test_names_count_where_timing_is_missing(expected: Sequence | None, name: str) -> None:
    kind = classify(scan(name=name), default_rules())
    assert kind.sequence is expected, kind.reason
    if expected is not None:
        assert kind.reason == f"the timing is missing; the name says {expected.value}"
        assert kind.warning == f"{expected.value} was chosen by name alone."


def test_the_pulse_sequence_names_what_the_description_does_not() -> None:
    assert classify(scan(name="head", sequence_name="*tfl3d1_16ns"), default_rules()).sequence is T1


@pytest.mark.parametrize(
    ("found", "kind", "name"),
    [
        (scan("SE", 550, 11, name="AX T2"), "T1", "T2"),
        (scan("SE IR", 9000, 120, 2500, name="AX T2"), "FLAIR", "T2"),
        (scan("SE", 4500, 99, name="AX T1"), "T2", "T1"),
        (scan("GR IR", 2300, 3, 900, name="FLAIR"), "T1", "FLAIR"),  # an inversion, but no FLAIR
        (scan("SE", 3000, 15, name="AX T2"), "proton density", "T2"),
        (scan("GR", 600, 20, name="AX T2"), "susceptibility", "T2"),
        (scan("SE", 3000, 99, name="FLAIR"), "T2", "FLAIR"),
    ],
)
def test_physics_wins_over_the_name_and_warns(found: Scan, kind: str, name: str) -> None:
    result = classify(found, default_rules())
    assert (result.sequence.value if result.sequence else None) == (kind if kind in ("T1", "T2", "FLAIR") else None)
    assert result.warning == f"Its name says {name}, but its timing says {kind}; the timing counts."


def test_a_word_of_diffusion_does_not_exclude_a_scan_too_short_for_it() -> None:
    assert classify(scan("SE", 550, 11, name="DWI"), default_rules()).sequence is T1


def test_without_inversion_time_the_name_tells_flair_from_t2() -> None:
    timing = scan("SE", 9000, 120)
    assert classify(replace(timing, description="AX FLAIR"), default_rules()).sequence is FLAIR
    assert classify(replace(timing, description="AX"), default_rules()).sequence is T2
    unknown = scan("", 5000, 120)
    assert classify(replace(unknown, description="AX FLAIR"), default_rules()).sequence is FLAIR
    assert classify(replace(unknown, description="AX T2"), default_rules()).sequence is T2


def test_timing_that_fits_no_rule_falls_back_to_the_name() -> None:
    kind = classify(scan("SE", 1500, 55, name="T2 special"), default_rules())
    assert kind.sequence is T2
    assert kind.reason == "SE, TR 1500, TE 55 ms fits no rule; the name says T2"


@pytest.mark.parametrize(("expected", "name"), [(kind, name) for kind, names in AGENT_NAMES.items() for name in names])
def test_agent_by_name(expected: bool | None, name: str) -> None:
    assert agent_given(scan(name=name), default_rules().agent).given is expected


@pytest.mark.parametrize(("expected", "text"), [(kind, text) for kind, texts in AGENT_TEXTS.items() for text in texts])
def test_agent_by_the_free_text_of_the_header(expected: bool | None, text: str) -> None:
    assert agent_given(scan(name="AX T1", agent=text), default_rules().agent).given is expected


def test_a_header_that_denies_the_agent_of_the_name_leaves_it_open() -> None:
    agent = agent_given(scan(name="T1 +C", agent="none given"), default_rules().agent)
    assert agent.given is None and "its header denies one" in agent.warning


@given(
    st.sampled_from(DENIALS),
    st.sampled_from(AGENTS),
    st.sampled_from(["", "AX ", "t1_se_"]),
    st.sampled_from([" ", "_", "  "]),
)
def test_a_denial_and_an_agent_deny_together(denial: str, agent: str, before: str, gap: str) -> None:
    words = default_rules().agent
    assert words.name_says(f"{before}T1 {denial}{gap}{agent}") == (False, True)
    assert words.name_says(f"{before}T1 {agent}")[0]
    assert words.header_says(f"{denial} {agent}") is False


def test_the_stated_agent_wins_over_the_name_and_warns() -> None:
    agent = agent_given(scan(name="T1 PRE", agent="Gadovist"), default_rules().agent)
    assert agent.given is True
    assert agent.warning == "Its name says that no contrast agent was given, but its header states one."
