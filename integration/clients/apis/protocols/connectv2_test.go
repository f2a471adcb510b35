package protocols

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// What generated code has of the service.
var (
	greetSpec = connect.Spec{StreamType: connect.StreamTypeUnary, Procedure: greet, IdempotencyLevel: connect.IdempotencyNoSideEffects}
	spellSpec = connect.Spec{StreamType: connect.StreamTypeServer, Procedure: spell}
	talkSpec  = connect.Spec{StreamType: connect.StreamTypeBidi, Procedure: talk}
)

// Generated code makes its clients from the connect.Client.
func Example_connectGoV2() {
	server := httptest.NewServer(greeter)
	defer server.Close()

	rt, err := respawn.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	client := connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: rt}, server.URL))

	var greeting text
	if err := client.CallUnary(context.Background(), greetSpec, wrapperspb.String("world"), &greeting); err != nil {
		log.Fatal(err)
	}
	fmt.Println(greeting.GetValue())
	// Output: hello, world
}

func TestConnectGoV2(t *testing.T) {
	for name, opts := range map[string][]connecthttp.Option{
		"connect":          nil,
		"connect with GET": {connecthttp.WithHTTPGet()},
		"gRPC":             {connecthttp.WithGRPC()},
		"gRPC-Web":         {connecthttp.WithGRPCWeb()},
	} {
		t.Run(name, func(t *testing.T) {
			clients.Client{
				Upstream: greeter,
				Adopt: func(_ testing.TB, rt http.RoundTripper, url string) clients.Calls {
					return greetingV2(connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: rt}, url, opts...)))
				},
			}.Test(t)
		})
	}
}

// greetingV2 returns the service's calls.
func greetingV2(client *connect.Client) clients.Calls {
	return clients.Calls{
		Call: func(ctx context.Context) error {
			var greeting text
			err := client.CallUnary(ctx, greetSpec, wrapperspb.String("world"), &greeting)
			if err == nil && greeting.GetValue() != "hello, world" {
				err = fmt.Errorf("answered %v", &greeting)
			}
			return err
		},
		Stream: func(ctx context.Context, piece func(string)) error {
			letters, err := client.CallServerStream(ctx, spellSpec, wrapperspb.String("abc"))
			if err != nil {
				return err
			}
			defer letters.Close()
			for {
				var letter text
				if err := letters.Receive(&letter); err != nil {
					if errors.Is(err, io.EOF) {
						return nil
					}
					return err
				}
				piece(letter.GetValue())
			}
		},
	}
}

func dialogV2(opts ...connecthttp.Option) func(context.Context, *http.Client, string) (dialog, error) {
	return func(ctx context.Context, hc *http.Client, url string) (dialog, error) {
		stream, err := connect.NewClient(connecthttp.NewTransport(hc, url, opts...)).CallClientStream(ctx, talkSpec)
		if err != nil {
			return dialog{}, err
		}
		return dialog{
			say: func(word string) (string, error) {
				if err := stream.Send(wrapperspb.String(word)); err != nil {
					return "", err
				}
				var heard text
				err := stream.Receive(&heard)
				return heard.GetValue(), err
			},
			end: func() error {
				if err := stream.CloseSend(); err != nil {
					return err
				}
				err := stream.Receive(new(text))
				return errors.Join(err, stream.Close())
			},
		}, nil
	}
}
