"""The index finds the model that genai-prices itself finds."""

from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.pricing.index import ModelIndex

PROVIDERS = get_snapshot().providers
INDEXES = {provider.id: ModelIndex(provider.models) for provider in PROVIDERS}
IDS = sorted({model.id for provider in PROVIDERS for model in provider.models})
ENDINGS = ["", "-2024-08-06", "-20251211", "-20259999", "-latest", ":free", "-v1:0", "x", "-mini"]
BEGINNINGS = ["", "us.", "openai/", "models/", "x"]


def test_finds_every_listed_model_by_its_id() -> None:
    for provider in PROVIDERS:
        for model in provider.models:
            name = model.id.lower()
            alone = next((listed for listed in provider.models if listed.is_match(name)), None)
            assert INDEXES[provider.id].find(name) is alone or alone is None


@settings(max_examples=300, deadline=None)
@given(
    provider=st.sampled_from(PROVIDERS),
    name=st.tuples(st.sampled_from(BEGINNINGS), st.sampled_from(IDS) | st.text(max_size=12), st.sampled_from(ENDINGS)),
)
def test_finds_what_genai_prices_finds(provider: object, name: tuple[str, str, str]) -> None:
    written = "".join(name).lower()
    known = next(listed for listed in PROVIDERS if listed is provider)
    assert INDEXES[known.id].find(written) is known.find_model(written)
