import pytest

from trainer.system.controls import escape_controls, without_controls


@pytest.mark.parametrize(
    ("text", "clean", "escaped"),
    [
        ("birds.zip", "birds.zip", "birds.zip"),
        ("Vögel 猫.zip", "Vögel 猫.zip", "Vögel 猫.zip"),
        ("a\x1b[2Jb\0.zip", "a[2Jb.zip", "a\\x1b[2Jb\\x00.zip"),
        ("a\nb\x7f\x9b", "ab", "a\\nb\\x7f\\x9b"),
        ("\u202egpj.exe\udcff", "gpj.exe", "\\u202egpj.exe\\udcff"),
    ],
)
def test_control_characters_are_left_out_or_escaped(text: str, clean: str, escaped: str) -> None:
    assert (without_controls(text), escape_controls(text)) == (clean, escaped)
