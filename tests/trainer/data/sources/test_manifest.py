import json

import pytest

from trainer.data.errors import BadManifest
from trainer.data.sources.manifest import MOST_ROWS, Manifest, names_images, read_manifest

ROWS = [("cats/été.png", "chat"), ("dogs/1.png", "chien, grand")]


def rows_of(manifest: Manifest) -> list[tuple[str, str]]:
    return [(row.file, row.label) for row in manifest.rows]


def csv_of(delimiter: str = ",", end: str = "\n") -> str:
    lines = [delimiter.join(("file_name", "label"))]
    lines += [delimiter.join((file, f'"{label}"')) for file, label in ROWS]
    return end.join(lines) + end


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_spreadsheets_write(encoding: str, delimiter: str, end: str) -> None:
    assert rows_of(read_manifest("m.csv", csv_of(delimiter, end).encode(encoding))) == ROWS


def test_jsonl_gives_the_same_rows() -> None:
    lines = [json.dumps({"file_name": file, "label": label}) for file, label in ROWS]
    content = "\n".join(["", *lines, ""]).encode()
    assert rows_of(read_manifest("m.jsonl", content)) == ROWS
    assert [row.line for row in read_manifest("m.jsonl", content).rows] == [2, 3]


def test_split_group_and_weight() -> None:
    content = b"path;class;split;group;weight\na;x;Train;p1;2\nb;x;valid;p2;0,5\nc;y;TEST;p3;0\n"
    rows = [tuple(row) for row in read_manifest("m.csv", content).rows]
    assert rows == [(2, "a", "x", "train", "p1", 2), (3, "b", "x", "val", "p2", 0.5), (4, "c", "y", "test", "p3", 0)]


def test_a_column_of_groups_is_named() -> None:
    content = b"file,label,Patient ID\na,x,7\nb,y,8\n"
    assert [row.group for row in read_manifest("m.csv", content).rows] == [None, None]
    named = read_manifest("m.csv", content, group_column="patient id")
    assert ([row.group for row in named.rows], named.columns.group) == (["7", "8"], "Patient ID")
    with pytest.raises(BadManifest, match="has no column 'site'") as caught:
        read_manifest("m.csv", content, group_column="site")
    assert caught.value.detail == ["file", "label", "Patient ID"]


@pytest.mark.parametrize(
    ("header", "file", "label"),
    [
        ("id,breed", "id", "breed"),  # Kaggle, dog-breed-identification
        ("image_id,label", "image_id", "label"),  # Kaggle, cassava
        ("annotation_id,annotator,choice,id,image", "image", "choice"),  # Label Studio
        ("class id,filepaths,labels,data set", "filepaths", "labels"),  # Kaggle, BIRDS 525
        ("label,text,file_name", "file_name", "label"),  # Hugging Face
    ],
)
def test_the_columns_of_known_programs(header: str, file: str, label: str) -> None:
    found = read_manifest("m.csv", f"{header}\n{','.join('train' for _ in header.split(','))}\n".encode()).columns
    assert (found.file, found.label) == (file, label)


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (b"file,label\n,x\nb,\n", ["line 2: no file", "line 3: b: no class"]),
        (b"file,label,split\na,x,holdout\nb,y,\n", ["line 2: a: the split 'holdout' is none of train, val and test",
                                                   "line 3: b: no split; it is one of train, val and test"]),
        (b"file,label,weight\na,x,heavy\nb,y,-1\nc,y,nan\n",
         [f"line {line}: {file}: the weight {value!r} is no number from 0 on"
          for line, file, value in ((2, "a", "heavy"), (3, "b", "-1"), (4, "c", "nan"))]),
        (b'file,label,group\na,x,\n"b\nc",y,g\n', ["line 2: a: no group",
                                                    "line 3: 'b\\nc' cannot be the name of a file"]),
    ],
)  # fmt: skip
def test_bad_rows_are_named_by_their_lines(content: bytes, problems: list[str]) -> None:
    with pytest.raises(BadManifest) as caught:
        read_manifest("m.csv", content)
    assert caught.value.detail == problems
    assert caught.value.message.startswith(f"m.csv cannot be imported: {problems[0]}")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", b"", "needs a column of files"),
        ("m.csv", b"a.png,cat\nb.png,dog\n", "Its columns: a.png, cat."),
        ("m.csv", b"file,label\n", "has no rows"),
        ("m.csv", b"file,label,label\na,x,y\n", "has two columns 'label'"),
        ("m.csv", b"file,label\na,x,y\n", "line 2 has 3 values for 2 columns"),
        ("m.csv", "file,label\na,x\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ("m.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "is no text file"),
        ("m.csv", b"file,label\na," + b"x" * 200_000, "line 2: field larger than field limit"),
        ("m.jsonl", b'{"file": "a", "label": "x"}\n[1]\n', "line 2 is no JSON object"),
        ("m.jsonl", b'{"file": "a", "label": "x"\n', "line 1 is no JSON object"),
        ("m.jsonl", b"[" * 100_000, "line 1 is no JSON object"),
        ("m.jsonl", b'{"file": "a", "objects": {"x": 1}}\n', "needs a column of files"),
    ],
)
def test_what_is_no_manifest_is_refused(name: str, content: bytes, message: str) -> None:
    with pytest.raises(BadManifest) as caught:
        read_manifest(name, content)
    assert message in caught.value.message


def test_values_that_are_no_text() -> None:
    manifest = read_manifest("m.jsonl", b'{"file_name": "a", "label": 3}\n{"file_name": "b", "label": true}\n')
    assert [row.label for row in manifest.rows] == ["3", "true"]
    with pytest.raises(BadManifest, match="line 1: a: no class"):
        read_manifest("m.jsonl", b'{"file_name": "a", "label": ["x"]}\n')


def test_a_caption_file_is_no_manifest() -> None:
    assert not names_images("metadata.csv", b"file_name,text\na.png,a cat\n")
    assert names_images("metadata.csv", b"file_name,text,label\na.png,a cat,cat\n")


def test_a_million_rows_are_the_limit() -> None:
    rows = b"".join(b"train/%06d.png,%d,train\n" % (row, row % 10) for row in range(MOST_ROWS + 1))
    with pytest.raises(BadManifest, match="more than 1,000,000 rows"):
        read_manifest("m.csv", b"file_name,label,split\n" + rows)
