"""Settings: profiles, overrides, and messages that name the cure."""

import pytest

from ato.errors import SettingsError
from flows.settings import Settings, load_settings, profile_names
from tasks.settings import OperatorSettings


def test_every_profile_loads():
    for name in profile_names():
        assert isinstance(load_settings(name), Settings)


def test_the_demo_tells_the_whole_story_of_the_larger_study_on_less():
    demo, study = load_settings("demo"), load_settings("study-smollm2")
    assert demo.operators.methods == study.operators.methods
    assert demo.causal.interventions == study.causal.interventions
    assert set(demo.causal.positions) <= set(study.causal.positions)
    assert len(demo.saes.layers) == len(study.saes.layers) == 3
    assert {target for _, target in demo.operators.pairs} == set(demo.saes.layers)
    assert len({target - source for source, target in demo.operators.pairs}) == 4
    assert demo.collect.n_tokens < study.collect.n_tokens


def test_the_larger_study_spans_at_least_five_sources_and_four_leaps():
    settings = load_settings("study-smollm2")
    assert len(settings.operators.source_layers) >= 5
    assert len(settings.operators.leaps) >= 4
    assert len(settings.operators.pairs) == len(settings.operators.source_layers) * len(settings.operators.leaps)
    assert len(settings.saes.layers) >= 3


def test_layers_are_what_pairs_and_saes_need():
    settings = Settings(operators=OperatorSettings(source_layers=[2], leaps=[1, 3]), saes={"layers": [4]})
    assert settings.layers == [2, 3, 4, 5]


def test_an_override_changes_one_setting_and_nothing_else():
    plain, changed = load_settings("demo"), load_settings("demo", ["collect.n_tokens=5000"])
    assert changed.collect.n_tokens == 5000
    assert changed.model_dump(exclude={"collect"}) == plain.model_dump(exclude={"collect"})


def test_override_values_are_read_as_yaml():
    settings = load_settings("demo", ["operators.leaps=[1, 2]", "collect.max_norm_multiple=null"])
    assert settings.operators.leaps == [1, 2]
    assert settings.collect.max_norm_multiple is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("collect.n_token=5", "did you mean collect.n_tokens?"),
        ("collect.n_tokens=many", "collect.n_tokens = 'many'"),
        ("collect", "write --set stage.setting=value"),
        ("colect.n_tokens=5", "did you mean collect?"),
        ("operators.leaps=[0]", "operators.leaps.0 = 0"),
        ("evaluate.computed_below=0.9", "must be smaller"),
    ],
)
def test_a_wrong_override_is_one_line_with_a_hint(override, message):
    with pytest.raises(SettingsError) as caught:
        load_settings("demo", [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(SettingsError, match="demo"):
        load_settings("nonesuch")


def test_settings_are_the_same_whether_they_were_left_out_or_written_down():
    written = Settings.model_validate(load_settings("demo").model_dump(mode="json"))
    assert written.model_dump_json() == load_settings("demo").model_dump_json()
    assert Settings.model_validate_json(Settings().model_dump_json()).model_dump_json() == Settings().model_dump_json()


def test_a_profile_may_extend_another_and_says_only_what_differs(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("extends: demo\ncausal: {n_sequences: 5}\n")
    demo = load_settings("demo").model_dump()
    assert load_settings(str(own)).model_dump() == demo | {"causal": demo["causal"] | {"n_sequences": 5}}
    further = tmp_path / "further.yaml"
    further.write_text(f"extends: {own}\ncollect: {{n_tokens: 5000}}\n")
    assert load_settings(str(further)).causal.n_sequences == 5
    own.write_text(f"extends: {further}\n")
    with pytest.raises(SettingsError, match="itself"):
        load_settings(str(own))


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LAUGHS, "more than 100,000 values"),
        ("model: &m [*m]", "an alias contains itself"),
        ("model: !!python/object/apply:os.system [id]", "tag"),
        ("model: {name: a}\nmodel: {name: b}", "model is given twice .*line 2"),
        ("model: {name: a, name: b}", "name is given twice"),
        ("[" * 5000, "nested too deeply"),
        ("model: " + "1" * 5000, "4300 digits"),
        ("model: 2026-13-45", "month must be in"),
        ("model: {name: a", "not valid YAML"),
    ],
)
def test_a_hostile_or_ambiguous_settings_file_is_one_short_line(tmp_path, text, says):
    (tmp_path / "profile.yaml").write_text(text)
    with pytest.raises(SettingsError, match=says) as raised:
        load_settings(str(tmp_path / "profile.yaml"))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_aliases_and_merged_groups_are_read_as_yaml_means_them(tmp_path):
    (tmp_path / "profile.yaml").write_text("operators: &o {leaps: [2]}\nextends: demo\nevaluate: {<<: *o}\n")
    with pytest.raises(SettingsError, match=r"evaluate\.leaps"):
        load_settings(str(tmp_path / "profile.yaml"))
