"""Pascal VOC XML: what is read, what is refused with its line, and what is only noted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.readers.pairs import Pairs
from ptl_sweep.datasets.readers.validator import Validator
from ptl_sweep.datasets.readers.voc.xml import Classes, add_voc
from ptl_sweep.datasets.validation import DataError

# As LabelImg writes it; the image is 100 x 80. Line 1 is <annotation>.
HEAD = """<annotation>
\t<folder>images</folder>
\t<filename>other name.jpg</filename>
\t<path>C:\\frames\\1.jpg</path>
\t<source>
\t\t<database>Unknown</database>
\t</source>
"""
SIZE = """\t<size>
\t\t<width>100</width>
\t\t<height>80</height>
\t\t<depth>3</depth>
\t</size>
"""
OBJECT = """\t<object>
\t\t<name>person</name>
\t\t<pose>Unspecified</pose>
\t\t<truncated>0</truncated>
\t\t<difficult>0</difficult>
\t\t<bndbox>
\t\t\t<xmin>10</xmin>
\t\t\t<ymin>20</ymin>
\t\t\t<xmax>40</xmax>
\t\t\t<ymax>60</ymax>
\t\t</bndbox>
\t</object>
"""
TAIL = "</annotation>\n"
VALID = HEAD + SIZE + OBJECT + TAIL
BUILT_IN = {"person": "person", "Not Defined": "person", "dog": "other"}

Read = Callable[..., Any]


@pytest.fixture
def voc(tmp_path: Path, write_image: Callable[..., Path]) -> Read:
    """read(text or bytes of a.xml beside a.jpg): an ImageSet."""

    def read(text: str | bytes, **keys: Any) -> Any:
        image = tmp_path / "a.jpg"
        if not image.exists():
            write_image(image)
        path = tmp_path / "a.xml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        config = DatasetConfig(name="mine", reader="voc", **keys)
        validator = Validator(config, "all")
        pairs = Pairs({"a": image}, {"a": path})
        add_voc(["a"], pairs, lambda _: "scene", Classes(BUILT_IN, config), validator)
        return validator.image_set()

    return read


def test_numbers_are_taken_as_they_stand(voc: Read) -> None:
    image_set = voc(VALID)
    (record,) = image_set.records
    assert record.boxes.tolist() == [[10, 20, 40, 60]]
    assert (record.image_id, record.scene, record.width, record.height) == ("a", "scene", 100, 80)
    assert (image_set.drops, image_set.warnings) == ({}, ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (VALID.replace("\n", "\r\n"), ()),
        ("\ufeff" + VALID, ()),
        ('<?xml version="1.0" encoding="utf-8"?>\r\n' + VALID.replace("\n", "\r\n"), ()),
        ('<?xml version="1.0" encoding="ISO-8859-1"?>' + VALID.replace("frames", "Slike ž"), ()),
        ("<!-- by hand -->" + VALID.replace("\n", "").replace("\t", ""), ()),
        (VALID.replace(SIZE, ""), ()),
        (VALID.replace(SIZE, "<size/>"), ()),
        (VALID.replace("100</width>", "0</width>"), ("size of width or height 0",)),
        (VALID.replace("80</height>", "0</height>"), ("size of width or height 0",)),
        (
            VALID.replace("100</w", "80</w").replace("80</h", "100</h"),
            ("width and height of size swapped",),
        ),
        (VALID.replace("\n", "\r\n", 3), ("mixed line ends",)),
        (VALID.replace(">10<", "> 1e1 <").replace(">20<", ">+20.0<"), ()),
        (
            VALID.replace(
                "<bndbox>",
                "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part><bndbox>",
            ),
            (),
        ),
    ],
)
def test_the_forms_that_tools_write_are_one_box(
    voc: Read, text: str, words: tuple[str, ...]
) -> None:
    image_set = voc(text)
    assert image_set.records[0].boxes.tolist() == [[10, 20, 40, 60]]
    assert [w.startswith(word) for w, word in zip(image_set.warnings, words, strict=True)] == [
        True
    ] * len(words)


def test_boxes_may_be_fractions_duplicates_past_the_border_or_flat(voc: Read) -> None:
    def box(*sides: float) -> str:
        text = OBJECT
        for old, new in zip((">10<", ">20<", ">40<", ">60<"), sides, strict=True):
            text = text.replace(old, f">{new}<")
        return text

    objects = box(1.5, 2.25, 3.5, 9.75), OBJECT, OBJECT, box(-5, 70, 40, 90), box(7, 7, 7, 30)
    image_set = voc(HEAD + SIZE + "".join(objects) + TAIL)
    assert image_set.records[0].boxes.tolist() == [
        [1.5, 2.25, 3.5, 9.75],
        [10, 20, 40, 60],
        [0, 70, 40, 80],
    ]
    assert image_set.drops == {"duplicate row": 1, "under 1 px": 1}


@pytest.mark.parametrize("text", [HEAD + SIZE + TAIL, "<annotation/>", "<annotation></annotation>"])
def test_a_file_without_objects_is_a_negative(voc: Read, text: str) -> None:
    assert len(voc(text).records[0].boxes) == 0


LAUGHS = """<?xml version="1.0"?>
<!DOCTYPE lolz [
 <!ENTITY a "ha">
 <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
]>
<annotation>&b;</annotation>
"""


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, ("is empty", "<annotation></annotation>")),
        (" \r\n", None, ("is empty",)),
        (LAUGHS, 2, ("has a DOCTYPE",)),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', 1, ("has a DOCTYPE",)),
        ("<annotation>&b;</annotation>", 1, ("is not valid XML: undefined entity",)),
        ("version https://git-lfs.github.com/spec/v1\noid 1", None, ("git-LFS pointer", "git lfs")),
        (VALID[:-30], 23, ("is not valid XML: unclosed token",)),
        (VALID.replace(TAIL, ""), 25, ("is not valid XML: no element found",)),
        (VALID + "<annotation/>", 26, ("is not valid XML: junk after document element",)),
        (VALID.encode().replace(b"frames", b"Slike \xe8"), 4, ("is not UTF-8", "b'\\xe8'")),
        ("<html><body/></html>", 1, ("starts with <html>", "must be <annotation>")),
        ("\n<annotations/>", 2, ("starts with <annotations>",)),
        (VALID.replace("40</xmax>", "4</xmax>"), 21, ("xmax is 4", "at least xmin (10)")),
        (VALID.replace("60</ymax>", "-1</ymax>"), 22, ("ymax is -1", "at least ymin (20)")),
        (VALID.replace(">10<", ">ten<"), 19, ("xmin is 'ten'", "a number of pixels")),
        (VALID.replace(">10<", "><"), 19, ("xmin is ''",)),
        (VALID.replace(">10<", ">nan<"), 19, ("xmin is 'nan'",)),
        (VALID.replace(">60<", ">1e400<"), 22, ("ymax is '1e400'",)),
        (VALID.replace(">60<", ">1e9<"), 22, ("ymax is '1e9'", "[-100000, 100000]")),
        (VALID.replace(">10<", "><b>10</b><"), 19, ("xmin is ''",)),
        (VALID.replace(">10<", ">1<b/>0<"), 19, ("xmin is '10'", "a number")),
        (VALID.replace("<ymin>20</ymin>", ""), 18, ("<bndbox> has no element ymin",)),
        (VALID.replace("<ymin>", "<xmin>1</xmin><ymin>"), 20, ("has 2 elements xmin",)),
        (VALID.replace("bndbox", "polygon"), 13, ("<object> has no element bndbox",)),
        (VALID.replace("<name>person</name>", ""), 13, ("<object> has no element name",)),
        (VALID.replace(">person<", "> <"), 14, ("name is empty",)),
        (VALID.replace(">person<", ">peson<"), 14, ("class 'peson'", "nearest is 'person'")),
        (VALID.replace("100</width>", "99</width>"), 8, ("size is 99x80", "a.jpg is 100x80")),
        (VALID.replace("100</width>", "-1</width>"), 8, ("size is -1x80",)),
        (VALID.replace("100</width>", "?</width>"), 9, ("width is '?'",)),
        (VALID.replace("<width>100</width>", ""), 8, ("<size> has no element width",)),
        (VALID.replace(SIZE, SIZE + SIZE), 13, ("has 2 elements size",)),
    ],
)
def test_what_cannot_be_right_names_file_line_value_and_fix(
    voc: Read, tmp_path: Path, text: str | bytes, line: int | None, words: tuple[str, ...]
) -> None:
    with pytest.raises(DataError) as error:
        voc(text)
    message = str(error.value)
    where = tmp_path / "a.xml"
    assert message.startswith(f"{where}: " if line is None else f"{where}, line {line}: ")
    assert message.count("\n") == 1
    assert "\n  fix: " in message
    for word in words:
        assert word in message


def test_lines_are_counted_alike_for_every_line_end(voc: Read) -> None:
    bad = VALID.replace(">10<", ">ten<")
    for end in ("\n", "\r\n", "\r"):
        with pytest.raises(DataError, match=r"a.xml, line 19: xmin"):
            voc(bad.replace("\n", end))


def test_deep_nesting_does_no_harm(voc: Read) -> None:
    depth = 200_000
    text = HEAD + "<a>" * depth + "</a>" * depth + SIZE + OBJECT + TAIL
    assert voc(text).num_persons == 1


def _save_turned(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new("RGB", (80, 100)).save(path, exif=exif)


def test_an_image_turned_by_exif_must_have_been_labelled_upright(voc: Read, tmp_path: Path) -> None:
    _save_turned(tmp_path / "a.jpg", 6)  # stored 80 x 100, shown 100 x 80
    assert voc(VALID).warnings == ()
    with pytest.raises(DataError, match=r"size is 80x100, but a.jpg is 100x80\n.*labelled without"):
        voc(VALID.replace("100</w", "80</w").replace("80</h", "100</h"))
    (warning,) = voc(VALID.replace(SIZE, "")).warnings
    assert warning.startswith("images turned by EXIF whose annotation has no size")


def test_class_names_are_compared_without_case_and_separators(voc: Read) -> None:
    for name in ("PERSON", "not_defined", "NotDefined", "Not  defined", " not-defined\n"):
        assert voc(VALID.replace(">person<", f">{name}<")).num_persons == 1
    image_set = voc(VALID.replace(">person<", ">Dog<"))
    assert (image_set.num_persons, image_set.drops) == (0, {"other category": 1})


def test_categories_change_and_add_meanings(voc: Read) -> None:
    assert len(voc(VALID, categories={"Person": "ignore"} | {"dog": "person"}).records[0].ignored)
    text = VALID.replace(">person<", ">boat<")
    image_set = voc(text, categories={"Boat": "other"})
    assert (image_set.drops, image_set.warnings) == ({"other category": 1}, ())
    with pytest.raises(ConfigError, match=r"mine.categories leaves no class that is a person"):
        voc(text, categories={"person": "other", "notdefined": "other"})


def test_a_category_that_no_annotation_has_is_noted(voc: Read) -> None:
    (warning,) = voc(VALID, categories={"persn": "ignore"}).warnings
    assert warning.startswith("categories that no annotation has: are they spelt right?: 1")
    assert "persn" in warning


def test_what_the_reader_does_not_use_may_be_anything(voc: Read) -> None:
    text = VALID.replace("<difficult>0</difficult>", "<difficult>1</difficult>")
    assert voc(text.replace("<pose>Unspecified</pose>", "")).num_persons == 1


CELL = st.one_of(
    st.integers(-30, 150).map(str),
    st.sampled_from(
        ["", " ", "nan", "-inf", "1e400", "1_0", "12.5", "x", "0x1", "1 2", "\u0662", "&lt;", "&a;"]
    ),
)
FIELDS = ("xmin", "ymin", "xmax", "ymax", "name", "width", "height")


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(FIELDS),
    CELL | st.sampled_from(["person", "Not_Defined", "dog", "cat"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["change", "delete", "double"]),
)
def test_a_mutated_field_is_parsed_right_or_named_with_its_line(
    voc: Read, name: str, cell: str, end: str, how: str
) -> None:
    values = {"xmin": "30", "ymin": "31", "xmax": "50", "ymax": "52", "name": "person"}
    values |= {"width": "100", "height": "80", name: cell}

    def row(key: str) -> str:
        text = f"<{key}>{values[key]}</{key}>"
        if key != name or how == "change":
            return text
        return "" if how == "delete" else text + text

    rows = ["<annotation>", OBJECT.rstrip().replace("\n", " "), "<object>", row("name"), "<bndbox>"]
    rows += [row(key) for key in FIELDS[:4]]
    rows += ["</bndbox>", "</object>", "<size>", row("width"), row("height"), "</size>"]
    text = end.join([*rows, "</annotation>", ""])
    refused = None
    try:
        (record,) = voc(text).records
    except DataError as error:
        refused = str(error)
    if refused is not None:
        numbers = [line for line in range(3, 16) if f"a.xml, line {line}: " in refused]
        assert len(numbers) == 1  # inside the mutated object or the size
        return
    assert how == "change"
    sides = [float(values[key]) for key in FIELDS[:4]]  # Python agrees that they are numbers
    size = tuple(float(values[key]) for key in ("width", "height"))
    assert size in ((100, 80), (0, 80), (100, 0))
    assert sides[0] <= sides[2]
    assert sides[1] <= sides[3]
    box = np.clip(sides, 0, [100, 80, 100, 80])
    expected = [[10, 20, 40, 60]]
    if values["name"] != "dog" and min(box[2:] - box[:2]) >= 1:
        expected.append(box.tolist())
    assert record.boxes.tolist() == expected
