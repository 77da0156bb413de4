"""The OpenAPI document of the console's API."""

from typing import Any

from headend import __version__
from headend.app.jobs.model import State, Verb

_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 0}
_TIME = {"type": "string", "format": "date-time"}
_STATE = {"type": "string", "enum": [state.value for state in State]}
_PRIORITY = {"type": "integer", "minimum": 0, "maximum": 100}


def _object(properties: dict[str, Any], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


SCHEMAS: dict[str, Any] = {
    "Entry": _object(
        {"job": _TEXT, "title": _TEXT, "state": _STATE, "priority": _PRIORITY, "hold": {"type": "boolean"}}
    ),
    "Entries": _object({"jobs": _array(_ref("Entry")), "total": _COUNT}),
    "Attempt": _object({"task": _TEXT, "attempt": _COUNT, "worker": _TEXT, "at": _TIME, "error": _TEXT}),
    "Change": _object({"state": _STATE, "at": _TIME, "why": _TEXT}),
    "Progress": _object(
        {
            "at": _TIME,
            "share": {"type": "number", "minimum": 0, "maximum": 1},
            "tasks": _COUNT,
            "tasks_done": _COUNT,
            "tasks_running": _COUNT,
            "tasks_waiting": _COUNT,
            "reused_parts": _COUNT,
            "retries": _COUNT,
            "frames_per_s": _NUMBER,
            "realtime": _NUMBER,
            "left_s": _or_null(_NUMBER),
        }
    ),
    "Account": _object(
        {
            "cpu_s": {"type": "object", "additionalProperties": _NUMBER},
            "task_s": _NUMBER,
            "failed_cpu_s": _NUMBER,
            "total_cpu_s": _NUMBER,
            "predicted_cpu_s": _NUMBER,
            "stored_bytes": _COUNT,
            "put_requests": _COUNT,
            "cost": _object({"amount": _NUMBER, "currency": _TEXT, "prices": _TEXT}),
        }
    ),
    "Job": _object(
        {
            "job": _TEXT,
            "title": _TEXT,
            "state": _STATE,
            "cancelling": {"type": "boolean"},
            "priority": _PRIORITY,
            "hold": {"type": "boolean"},
            "master": _TEXT,
            "submitted_at": _TIME,
            "submitted_by": _TEXT,
            "labels": {"type": "object", "additionalProperties": _TEXT},
            "why": _TEXT,
            "ahead": _or_null(_COUNT),
            "release": _or_null(_TEXT),
            "history": _array(_ref("Change")),
            "progress": _or_null(_ref("Progress")),
            "attempts": _array(_ref("Attempt")),
            "account": _ref("Account"),
        }
    ),
    "Run": _object(
        {
            "run": _COUNT,
            "job": _TEXT,
            "title": _TEXT,
            "task": _TEXT,
            "attempt": {"type": "integer", "minimum": 1},
            "worker": _TEXT,
            "began_s": _NUMBER,
            "ended_s": _or_null(_NUMBER),
            "failed": {"type": "boolean"},
        }
    ),
    "Worker": _object(
        {"worker": _TEXT, "threads": _COUNT, "busy": _COUNT, "memory_bytes": _or_null(_COUNT), "used_bytes": _COUNT}
    ),
    "RunningJob": _object({"job": _TEXT, "progress": _or_null(_ref("Progress"))}),
    "Overview": _object(
        {
            "dispatcher": _TEXT,
            "fence": _COUNT,
            "store": _TEXT,
            "now_s": _NUMBER,
            "right": {"type": "string", "enum": ["read", "operate"]},
            "jobs": {"type": "object", "additionalProperties": _COUNT},
            "workers": _array(_ref("Worker")),
            "running": _array(_ref("RunningJob")),
            "runs": _array(_ref("Run")),
        }
    ),
    "Command": _object(
        {"verb": {"type": "string", "enum": [verb.value for verb in Verb]}, "priority": _PRIORITY},
        optional=("priority",),
    ),
    "Error": _object({"error": _TEXT}),
}


def _answer(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(schema)}}}


def _errors(*statuses: int) -> dict[str, Any]:
    meaning = {
        400: "The request is malformed.",
        401: "The token is missing or unknown.",
        403: "The token has no right to operate.",
        404: "There is no such job.",
        409: "The command is invalid in the job's state.",
        415: "The body is not application/json.",
        503: "The store can't be reached.",
    }
    return {str(status): _answer(meaning[status], "Error") for status in (*statuses, 401, 503)}


_ID = {"name": "job", "in": "path", "required": True, "schema": _TEXT}


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "headend dispatcher", "version": __version__},
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
        "paths": {
            "/api/v1/overview": {
                "get": {
                    "summary": "The dispatcher, its workers, their runs, and the number of jobs in each state.",
                    "responses": {"200": _answer("The overview.", "Overview"), **_errors()},
                }
            },
            "/api/v1/jobs": {
                "get": {
                    "summary": "The newest jobs, in order of submission.",
                    "parameters": [
                        {"name": "state", "in": "query", "schema": _STATE},
                        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 10000}},
                    ],
                    "responses": {"200": _answer("The jobs.", "Entries"), **_errors(400)},
                }
            },
            "/api/v1/jobs/{job}": {
                "get": {
                    "summary": "One job.",
                    "parameters": [_ID],
                    "responses": {"200": _answer("The job.", "Job"), **_errors(404)},
                }
            },
            "/api/v1/jobs/{job}/quality": {
                "get": {
                    "summary": "The quality report on a job's release, as an HTML page.",
                    "parameters": [_ID],
                    "responses": {
                        "200": {"description": "The page.", "content": {"text/html": {"schema": _TEXT}}},
                        **_errors(404),
                    },
                }
            },
            "/api/v1/jobs/{job}/commands": {
                "post": {
                    "summary": "Give a job a command; requires the right to operate.",
                    "parameters": [_ID],
                    "requestBody": {
                        "required": True,
                        "content": {"application/json": {"schema": _ref("Command")}},
                    },
                    "responses": {
                        "200": _answer("The job after the command.", "Job"),
                        **_errors(400, 403, 404, 409, 415),
                    },
                }
            },
            "/api/v1/events": {
                "get": {
                    "summary": "Server-sent events: 'overview' with an Overview, 'jobs' with the changed Entries, and "
                    "'trouble' with an Error while the store can't be read.",
                    "responses": {
                        "200": {"description": "A stream.", "content": {"text/event-stream": {"schema": _TEXT}}},
                        **_errors(),
                    },
                }
            },
        },
    }
