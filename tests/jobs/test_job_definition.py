"""JOB.toml: what it means, and what its errors say."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfer.errors import InputError, UsageError
from vidfer.jobs.checks import check
from vidfer.jobs.definition import read_definition
from vidfer.pipeline.options import ProcessOptions
from vidfer.schema import document

ROOT = Path(__file__).parents[2]
LEAST = '[inputs]\npaths = ["videos"]\n[output]\nfolder = "results"\n'


def written(tmp_path, text):
    path = tmp_path / "job.toml"
    path.write_text(text)
    return path


def test_the_definition_to_copy_is_valid_and_means_what_it_says():
    job = read_definition(ROOT / "jobs" / "archive.toml")
    assert job.inputs.paths == (str(ROOT / "jobs" / "videos"),)
    assert job.folder == ROOT / "jobs" / "results"
    assert (job.executor.kind, job.executor.retries, job.slice_s) == ("local", 2, None)
    assert not job.options.render


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    job = read_definition(written(tmp_path, LEAST.replace('"videos"', '"videos", "s3://archive/tapes/*.mp4", "/abs"')))
    assert job.inputs.paths == (str(tmp_path / "videos"), "s3://archive/tapes/*.mp4", "/abs")
    assert job.folder == tmp_path / "results"


WRONG = {
    LEAST + "[option]\nfps = 5": "unknown key 'option', did you mean 'options'?",
    LEAST + "[options]\nlandmark = 68": "[options]: unknown key 'landmark', did you mean 'landmarks'?",
    LEAST + "[options]\nlandmarks = 67": "options.landmarks is 67: choose one of 68, 478, 'none'",
    LEAST + "[options]\nrender = 1": "options.render must be true or false, got 1",
    LEAST + "[options]\nfps = 5\nstride = 2": "stride",
    LEAST + '[options]\nstart = "soon"': "soon",
    LEAST + "[executor]\nworkers = 0": "executor.workers is 0: give at least 1",
    LEAST + "[executor]\nworkers = true": "executor.workers must be a whole number, got true",
    LEAST + "[executor]\nmemory_gb = nan": "executor.memory_gb must be a number, got nan",
    LEAST + "[executor]\nstall_s = 0": "executor.stall_s is 0: give at least 1",
    LEAST + "[slices]\nseconds = inf": "slices.seconds must be a number, got inf",
    LEAST + '[executor]\nkind = "slurm"': "executor.kind is 'slurm': choose one of 'local', 'ray'",
    LEAST + "[executor]\nnum_gpus = 1": "executor.num_gpus is for Ray",
    LEAST + "[slices]\nseconds = 1": "slices.seconds is 1: give at least 10",
    LEAST.replace('["videos"]', "[3]"): "inputs.paths, entry 1 must be a text in quotes, got 3",
    LEAST.replace('["videos"]', '[""]'): "inputs.paths, entry 1 is empty",
    LEAST.replace('["videos"]', "[]"): "[inputs] names no video: give paths or a manifest",
    LEAST.replace('["videos"]', '["ftp://host/a.mp4"]'): "ftp://host/a.mp4 is no object store: known are s3://",
    LEAST.replace('["videos"]', '["s3:///a.mp4"]'): "names no bucket",
    LEAST.replace('"results"', '"s3://b/results"'): "output.folder is s3://b/results: give a folder on a disk",
    LEAST.replace("paths =", 'column = "a"\npaths ='): "inputs.column is for a manifest",
    '[inputs]\npaths = ["a"]': "it lacks 'output'",
    '[inputs]\npaths = ["a"]\n[output]': "[output]: lacks 'folder'",
}


@pytest.mark.parametrize("text", WRONG, ids=WRONG.values())
def test_what_is_wrong_is_named_with_what_is_allowed(text, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        read_definition(path)
    assert str(error.value).startswith(f"{path}: ")
    assert WRONG[text] in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", ["s3://key:Geheim123@bucket/a.mp4", "s3://bucket/a.mp4?X-Amz-Signature=Geheim123"])
def test_credentials_in_a_definition_are_refused_and_not_shown(url, tmp_path):
    with pytest.raises(UsageError, match="holds credentials: give them in the environment") as error:
        read_definition(written(tmp_path, LEAST.replace("videos", url)))
    assert "Geheim" not in str(error.value)


def test_what_is_no_definition_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_definition(tmp_path / "missing.toml")
    with pytest.raises(InputError, match="is no TOML"):
        read_definition(written(tmp_path, "inputs = ["))


def test_every_option_of_process_that_makes_sense_can_be_given():
    known = set(document("job")["properties"]["options"]["properties"])
    assert known == set(ProcessOptions.__dataclass_fields__) - {"output_dir", "overwrite", "sequence_fps"}


def test_every_key_is_described():
    for name, table in document("job")["properties"].items():
        assert table["description"], name
        assert all(entry["description"] for entry in table["properties"].values()), name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = sorted({key for table in document("job")["properties"].values() for key in table["properties"]})


@given(
    st.dictionaries(
        st.sampled_from([*document("job")["properties"], "x"]), JSON | st.dictionaries(st.sampled_from(KEYS), JSON)
    )
)
def test_whatever_stands_in_a_definition_is_taken_or_refused_in_one_line(values):
    error = None
    try:
        check(values, document("job"))
    except UsageError as refusal:
        error = str(refusal)
    assert error is None or (error and "\n" not in error)
    assert error is not None or {"inputs", "output"} <= set(values)
