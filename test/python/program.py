"""The official Python SDKs, driven by a test: one JSON object a line on stdin, one answer a line on stdout.

A call is {"id", "family", "method", "params", "client"}, where `client` has the arguments of the SDK's client. Its
answer is {"id", "told"} or {"id", "failure"}. A value {"$said": ID} in the params stands for what the model said in an
earlier answer: the very object that the SDK made of it, as programs give it back.
"""

import json
import sys
import threading
import traceback

import anthropic
import openai
from pydantic import BaseModel


class Weather(BaseModel):
    city: str
    days: int


clients = {}
making = threading.Lock()
said = {}
writing = threading.Lock()


def main():
    for line in sys.stdin:
        # One that hangs must not hold the others up.
        threading.Thread(target=run, args=(json.loads(line),), daemon=True).start()


def run(call):
    answer = {"id": call["id"]}
    try:
        client = client_of(call["family"], call["client"])
        spoken, answer["told"] = methods[call["method"]](client, given_back(call["params"]))
        said[call["id"]] = spoken
    except Exception as error:
        answer["failure"] = failure_of(error)
    with writing:
        print(json.dumps(answer), flush=True)


def client_of(family, options):
    # As programs do: one client for many calls, with its own connections.
    key = json.dumps([family, options])
    with making:
        if key not in clients:
            create = anthropic.Anthropic if family == "anthropic" else openai.OpenAI
            clients[key] = create(**options)
        return clients[key]


def given_back(value):
    if isinstance(value, dict):
        if "$said" in value:
            return said[value["$said"]]
        return {name: given_back(member) for name, member in value.items()}
    if isinstance(value, list):
        items = []
        for item in value:
            known = given_back(item)
            # What a Response says is several items of the next input.
            items.extend(known) if isinstance(known, list) and isinstance(item, dict) else items.append(known)
        return items
    return value


def failure_of(error):
    response = getattr(error, "response", None)
    body = getattr(error, "body", None)
    # Of an error in mid-stream OpenAI's SDK keeps the body alone.
    told = body if isinstance(body, dict) else {}
    return {
        "classes": [each.__name__ for each in type(error).__mro__],
        "message": str(error),
        "status": getattr(error, "status_code", None),
        "requestId": getattr(error, "request_id", None) or told.get("request_id"),
        "type": getattr(error, "type", None),
        "code": getattr(error, "error_code", None) or getattr(error, "code", None),
        "param": getattr(error, "param", None),
        "headers": {} if response is None else dict(response.headers),
        "trace": traceback.format_exc(limit=-3),
    }


def told(answer, spoken=None, events=(), request_id=None, parsed=None):
    """What the model said, for later turns, and what the test is told."""
    return spoken, {
        "answer": answer.to_dict(mode="json", warnings=parsed is None) if isinstance(answer, BaseModel) else answer,
        "events": list(events),
        "requestId": request_id or getattr(answer, "_request_id", None),
        "parsed": None if parsed is None else parsed.model_dump(),
    }


def told_events(stream, request_id_header):
    with stream:
        events = [event.to_dict(mode="json") for event in stream]
        return told(None, events=events, request_id=stream.response.headers.get(request_id_header))


def message_create(client, params):
    message = client.messages.create(**params)
    return told(message, message.content)


def message_events(client, params):
    return told_events(client.messages.create(**params, stream=True), "request-id")


def message_stream(client, params):
    with client.messages.stream(**params) as stream:
        events = [event.type for event in stream]
        message = stream.get_final_message()
        return told(message, message.content, events, stream.request_id)


def message_parse(client, params):
    message = client.messages.parse(**params, output_format=Weather)
    return told(message, message.content, parsed=message.parsed_output)


def completion_create(client, params):
    completion = client.chat.completions.create(**params)
    return told(completion, completion.choices[0].message)


def completion_events(client, params):
    return told_events(client.chat.completions.create(**params, stream=True), "x-request-id")


def completion_stream(client, params):
    with client.chat.completions.stream(**params) as stream:
        events = [event.type for event in stream]
        completion = stream.get_final_completion()
        return told(completion, completion.choices[0].message, events)


def completion_parse(client, params):
    completion = client.chat.completions.parse(**params, response_format=Weather)
    message = completion.choices[0].message
    return told(completion, message, parsed=message.parsed)


def response_create(client, params):
    response = client.responses.create(**params)
    return told(response, response.output)


def response_events(client, params):
    return told_events(client.responses.create(**params, stream=True), "x-request-id")


def response_stream(client, params):
    with client.responses.stream(**params) as stream:
        events = [event.type for event in stream]
        response = stream.get_final_response()
        return told(response, response.output, events)


def response_parse(client, params):
    response = client.responses.parse(**params, text_format=Weather)
    return told(response, response.output, parsed=response.output_parsed)


def model_ids(client, params):
    # Iterating asks for further pages by itself.
    return told([model.id for model in client.models.list(**params)])


methods = {
    "messages.create": message_create,
    "messages.events": message_events,
    "messages.stream": message_stream,
    "messages.parse": message_parse,
    "messages.count": lambda client, params: told(client.messages.count_tokens(**params)),
    "completions.create": completion_create,
    "completions.events": completion_events,
    "completions.stream": completion_stream,
    "completions.parse": completion_parse,
    "responses.create": response_create,
    "responses.events": response_events,
    "responses.stream": response_stream,
    "responses.parse": response_parse,
    "embeddings.create": lambda client, params: told(client.embeddings.create(**params)),
    "models.list": model_ids,
}

main()
