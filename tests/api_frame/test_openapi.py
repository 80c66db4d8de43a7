from typing import Any

from openapi_spec_validator import validate

from daemon.api import config, openapi, run_files, samples, system
from daemon.api.registry import Route
from tests.api_frame.conftest import DEMO, Server


def of(routes: list[Route]) -> dict[str, Any]:
    made = openapi.document(routes)
    validate(made)
    return made


async def test_the_served_document_is_valid_and_holds_every_route(server: Server) -> None:
    async with server.call("GET", "/openapi.json") as response:
        made = await response.json()
    validate(made)
    assert made["openapi"] == "3.1.0"
    assert {(method.upper(), path) for path, item in made["paths"].items() for method in item} == {
        (route.method, route.path) for route in [*DEMO, *openapi.ROUTES]
    }


def test_the_document_of_the_real_routes_is_valid() -> None:
    made = of([*config.ROUTES, *samples.ROUTES, *system.ROUTES, *openapi.ROUTES])
    ids = [operation["operationId"] for item in made["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))


def test_a_routes_errors_parameters_and_body_are_told() -> None:
    made = of(DEMO)
    order = made["paths"]["/order"]["post"]
    assert set(order["responses"]) == {"200", "400", "401", "403", "409", "413", "415", "429", "500"}
    assert order["requestBody"]["required"] is True
    assert order["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Order"}
    assert made["components"]["schemas"]["Order"]["additionalProperties"] is False
    assert made["paths"]["/loose"]["post"]["requestBody"]["required"] is False
    page = made["paths"]["/page"]["get"]
    assert [(item["name"], item["in"], item["required"]) for item in page["parameters"]] == [
        ("limit", "query", False),
        ("order", "query", False),
    ]
    assert [(item["name"], item["in"]) for item in made["paths"]["/things/{name}"]["get"]["parameters"]] == [("name", "path")]
    assert set(made["paths"]["/ws"]["get"]["responses"]) >= {"101", "401", "403"}


def test_a_public_route_asks_for_no_token() -> None:
    health = of(DEMO)["paths"]["/health"]["get"]
    assert health["security"] == []
    assert "401" not in health["responses"]


def test_each_operation_names_its_role_and_where_it_may_be_too_much() -> None:
    made = of([*DEMO, *config.ROUTES, *run_files.ROUTES])
    operations = made["paths"]
    assert operations["/order"]["post"]["security"] == [{"token": ["admin"]}]
    assert operations["/config/current"]["get"]["security"] == [{"token": ["viewer"]}]
    assert operations["/ws"]["get"]["security"] == [{"token": ["admin"]}, {"subprotocol": ["admin"]}]
    assert {scheme for item in operations.values() for one in item.values() for need in one["security"] for scheme in need} == set(
        made["components"]["securitySchemes"]
    )
    assert "429" in operations["/runs/{run_id}/log"]["get"]["responses"]
    assert "429" not in operations["/health"]["get"]["responses"]
    assert made["components"]["responses"]["TooManyRequests"]["headers"]["Retry-After"]["schema"]["type"] == "integer"
    assert "options" not in {method for item in operations.values() for method in item}


def test_every_error_has_the_one_schema() -> None:
    made = of(DEMO)
    for response in made["components"]["responses"].values():
        assert response["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ProblemBody"}
    assert set(made["components"]["schemas"]["ProblemBody"]["required"]) == {"error", "message", "details"}
