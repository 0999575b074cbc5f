"""The app's FHIR record against the official R5 definitions, by a library that carries them."""

import json
from importlib import import_module
from pathlib import Path

import pytest

# Written and held by app/tests/record.test.ts.
RECORD = Path(__file__).parents[2] / "app/tests/fixtures/fhir-record.json"

pytest.importorskip("fhir.resources", reason="fhir.resources is not installed")


def _validated(resource: dict) -> object:
    model = import_module(f"fhir.resources.{resource['resourceType'].lower()}")
    return getattr(model, resource["resourceType"]).model_validate(resource)


@pytest.fixture(scope="module")
def record() -> dict:
    return json.loads(RECORD.read_text("utf-8"))


def test_the_bundle_and_each_resource_follow_the_definitions(record: dict) -> None:
    bundle = _validated(record)
    assert bundle.get_resource_type() == "Bundle"
    kinds = set()
    for entry in record["entry"]:
        kinds.add(_validated(entry["resource"]).get_resource_type())
    assert {
        "Patient",
        "BodyStructure",
        "DocumentReference",
        "ImagingSelection",
        "Observation",
        "DiagnosticReport",
    } <= kinds


def test_codes_with_a_required_value_set_are_in_it(record: dict) -> None:
    for entry in record["entry"]:
        resource = entry["resource"]
        fields = type(_validated(resource)).model_fields
        status = fields.get("status")
        allowed = (status.json_schema_extra or {}).get("enum_values") if status else None
        if allowed:
            assert resource["status"] in allowed, resource["resourceType"]
    regions = [r for e in record["entry"] for i in e["resource"].get("instance", []) for r in i["imageRegion2D"]]
    assert regions
    for region in regions:
        assert region["regionType"] in ("point", "polyline", "interpolated", "circle", "ellipse")
        assert region["coordinate"][:2] == region["coordinate"][-2:], "a closed line ends where it begins"


def test_a_field_that_the_definitions_do_not_have_is_refused(record: dict) -> None:
    patient = dict(record["entry"][0]["resource"], shoeSize=43)
    with pytest.raises(ValueError, match="shoeSize"):
        _validated(patient)
