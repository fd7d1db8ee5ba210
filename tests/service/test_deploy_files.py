"""What deploy/ holds is valid where we can tell."""

from pathlib import Path

from ruamel.yaml import YAML

from tocsin.service.loading import load_text

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_sidecar_s_configuration_is_valid() -> None:
    config_map, deployment = YAML(typ="safe").load_all(DEPLOY / "kubernetes" / "sidecar.yaml")
    environ = {
        "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0/B0/x",
        "TOCSIN_METRICS_TOKEN": "a-token-for-prometheus",
    }
    loaded = load_text(config_map["data"]["config.yaml"], environ=environ)
    assert [rule.name for rule in loaded.rules] == ["runaway-conversation"]
    [_, container] = deployment["spec"]["template"]["spec"]["containers"]
    assert {entry["name"] for entry in container["env"]} == set(environ)
    assert container["args"] == ["serve", "--config", "/etc/tocsin/config.yaml"]
    assert loaded.configuration.limits.memory is not None
    assert loaded.configuration.limits.memory < 512 * 1024 * 1024


def test_the_collector_s_pipelines_name_exporters_that_are_there() -> None:
    collector = YAML(typ="safe").load(DEPLOY / "collector" / "tocsin.yaml")
    for pipeline in collector["service"]["pipelines"].values():
        assert set(pipeline["exporters"]) <= set(collector["exporters"])
