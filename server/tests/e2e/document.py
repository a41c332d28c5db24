"""Holds answers against the server's own description of them, `GET /openapi.json`.

Every answer that a test gets by `requests` from a process of the harness passes here: its status, its type and its JSON must
stand in the document. Operations that are not in it are refused, or the console's.
"""

import re
import urllib.parse

import jsonschema_rs
import requests

METHODS = ("get", "put", "post", "delete")


class Document:
    def __init__(self, document):
        self.document = document
        components = {"schemas": {name: closed(schema) for name, schema in document["components"]["schemas"].items()}}
        self.components = components
        # A path without parameters is meant before one with them.
        paths = sorted(document["paths"], key=lambda path: path.count("{"))
        self.patterns = [(path, re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))) for path in paths]
        self.validators = {}
        # (method, path, status) of what was held against it.
        self.seen = set()

    @property
    def operations(self):
        return {(method.upper(), path) for path, item in self.document["paths"].items() for method in METHODS if method in item}

    def path_of(self, path):
        return next((template for template, pattern in self.patterns if pattern.fullmatch(path)), None)

    def hold(self, answer, is_streamed=False):
        """What is not as the document says, as text; None if all of it is."""
        request, status = answer.request, answer.status_code
        method = "GET" if request.method == "HEAD" else request.method
        path = self.path_of(request.path_url.split("?")[0])
        operation = self.document["paths"].get(path, {}).get(method.lower())
        media = answer.headers.get("content-type", "").split(";")[0]
        if media == "text/html" and method == "GET" and status in (200, 304):
            return None  # A page of the console.
        if operation is None:
            return None if status >= 400 or not path else f"is answered with {status} and not in the document"
        documented = operation["responses"].get(str(status))
        if documented is None:
            return f"{status} is not in the document: {answer.text[:300] if not is_streamed else ''}"
        self.seen.add((method, path, status))
        content = documented.get("content", {})
        if media not in content and (content or media):
            return f"{status} with {media!r} in the place of {list(content)}"
        if media != "application/json" or is_streamed or request.method == "HEAD":
            return None
        errors = [f"{error.instance_path}: {error.message}" for error in self.validator(method, path, status).iter_errors(answer.json())]
        return f"{status}: {errors[:3]} of {answer.text[:500]}" if errors else None

    def validator(self, *key):
        if key not in self.validators:
            method, path, status = key
            schema = self.document["paths"][path][method.lower()]["responses"][str(status)]["content"]["application/json"]["schema"]
            self.validators[key] = jsonschema_rs.Draft202012Validator({**closed(schema), "components": self.components})
        return self.validators[key]


def closed(schema):
    """The schema without room for properties that it does not name: what is sent and not described is a fault as well."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        schema.setdefault("additionalProperties", False)
    return schema


class Watch:
    """Has each answer from one of `ports` held against `document`; faults are kept until they are asked for."""

    def __init__(self):
        self.document = None
        self.ports = set()
        self.faults = []

    def start(self, document):
        self.document = Document(document)
        send = requests.Session.send

        def sent(session, request, **options):
            answer = send(session, request, **options)
            if urllib.parse.urlsplit(answer.url).port in self.ports:
                fault = self.document.hold(answer, options.get("stream", False))
                if fault:
                    self.faults.append(f"{request.method} {request.path_url}: {fault}")
            return answer

        requests.Session.send = sent

    def taken(self):
        faults, self.faults = self.faults, []
        return faults


WATCH = Watch()
