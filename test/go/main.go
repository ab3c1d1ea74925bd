// Calls a gate with stubs that were generated from the schema alone: a read, a write, and a refusal with its details.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	portcullis "portcullis.test/gen/portcullis/v1"
)

type told struct {
	Self   string `json:"self"`
	Agent  string `json:"agent"`
	Code   string `json:"code"`
	Reason string `json:"reason"`
	Domain string `json:"domain"`
	Field  string `json:"field"`
}

func main() {
	connection, err := grpc.NewClient(os.Getenv("GATE_ADDRESS"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+os.Getenv("GATE_KEY"))

	self, err := portcullis.NewSystemServiceClient(connection).GetSelf(ctx, &portcullis.GetSelfRequest{})
	if err != nil {
		log.Fatal(err)
	}
	agents := portcullis.NewAgentServiceClient(connection)
	made, err := agents.CreateAgent(ctx, &portcullis.CreateAgentRequest{Name: "made in Go"})
	if err != nil {
		log.Fatal(err)
	}
	answer := told{Self: self.GetPrincipal().GetId(), Agent: made.GetAgent().GetName()}

	_, refusal := agents.CreateAgent(ctx, &portcullis.CreateAgentRequest{})
	answer.Code = status.Code(refusal).String()
	for _, detail := range status.Convert(refusal).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			answer.Reason, answer.Domain = detail.GetReason(), detail.GetDomain()
		case *errdetails.BadRequest:
			answer.Field = detail.GetFieldViolations()[0].GetField()
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		log.Fatal(err)
	}
}
