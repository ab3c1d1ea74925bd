"""Calls a gate with stubs that were generated from the schema alone: a read, a write, and a refusal."""

import json
import os
import sys

sys.path.insert(0, os.environ["STUBS"])

import grpc  # noqa: E402
from portcullis.v1 import agent_pb2, agent_pb2_grpc, system_pb2, system_pb2_grpc  # noqa: E402

metadata = [("authorization", f"Bearer {os.environ['GATE_KEY']}")]
with grpc.insecure_channel(os.environ["GATE_ADDRESS"]) as channel:
    system = system_pb2_grpc.SystemServiceStub(channel)
    agents = agent_pb2_grpc.AgentServiceStub(channel)
    principal = system.GetSelf(system_pb2.GetSelfRequest(), metadata=metadata, timeout=20).principal
    agent = agents.CreateAgent(agent_pb2.CreateAgentRequest(name="made in Python"), metadata=metadata, timeout=20).agent
    try:
        agents.CreateAgent(agent_pb2.CreateAgentRequest(), metadata=metadata, timeout=20)
    except grpc.RpcError as error:
        details = dict(error.trailing_metadata())["grpc-status-details-bin"]
        print(
            json.dumps(
                {
                    "self": principal.id,
                    "agent": agent.name,
                    "code": error.code().name,
                    "details": [name for name in ("google.rpc.ErrorInfo", "google.rpc.BadRequest") if name.encode() in details],
                }
            )
        )
