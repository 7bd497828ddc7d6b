import pytest

from recon.errors import ConfigError, PriorError
from recon.plain_yaml import MOST_BYTES, MOST_DEPTH, plain_yaml


def written(folder, text):
    path = folder / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_plain_values_pass_unchanged(tmp_path):
    text = "scene: demo\nviews: [1, 2]\nfield:\n  sdf: {width: 3, skip: []}\nname: '$5'\n"
    assert plain_yaml(written(tmp_path, text), ConfigError) == text
    assert plain_yaml(written(tmp_path, b"\xef\xbb\xbf" + text.encode()), ConfigError) == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a: 1\nb: ${oc.env:HOME}\n", "line 2: the interpolation"),
        ("a: 1\n${oc.env:HOME}: 2\n", "line 2: the interpolation"),
        ("a: ['x', \"${a}\"]\n", "the interpolation"),
        ("a: &x [1]\nb: [*x, *x]\n", "line 1: an anchor or alias"),
        ("a: !!python/object/apply:os.system [id]\n", "line 1: the tag"),
        ("a: !!python/name:os.system\n", "the tag"),
        ("a: 1\n---\nb: 2\n", "second document"),
        ("[" * (MOST_DEPTH + 1), "nested deeper"),
        ("[" * 100_000, "nested deeper|nesting depth"),
        ("a: [1\n", "cannot be read as YAML"),
        ("a: '" + "x" * MOST_BYTES + "'", "bytes, expected at most"),
        (b"a: \xff\xfe\x00\n", "cannot be read as YAML"),
        ("\x00", "cannot be read as YAML"),
    ],
)
def test_anything_else_is_refused_in_one_line_with_the_file(tmp_path, text, named):
    path = written(tmp_path, text)
    with pytest.raises(PriorError, match=named) as caught:
        plain_yaml(path, PriorError)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_or_nothing_is_refused_too(tmp_path):
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(ConfigError, match="cannot be read as YAML"):
            plain_yaml(path, ConfigError)
