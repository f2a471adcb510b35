package llm

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"
	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
)

var prompt = anthropic.MessageNewParams{
	Model:     "claude",
	MaxTokens: 1024,
	Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("Hello?"))},
}

func Example_anthropicSDKGo() {
	server := httptest.NewServer(http.HandlerFunc(messages)) // in place of api.anthropic.com
	defer server.Close()

	rt, err := respawn.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	client := anthropic.NewClient(
		option.WithHTTPClient(&http.Client{Transport: rt}),
		option.WithBaseURL(server.URL), option.WithAPIKey("key"),
	)

	message, err := client.Messages.New(context.Background(), prompt)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(message.Content[0].Text)
	// Output: hello
}

var anthropicSDKGo = clients.Client{
	Upstream: http.HandlerFunc(messages),
	Attempts: 3,
	Adopt: func(_ testing.TB, rt http.RoundTripper, url string) clients.Calls {
		client := anthropic.NewClient(
			option.WithHTTPClient(&http.Client{Transport: rt}),
			option.WithBaseURL(url), option.WithAPIKey("key"),
		)
		return clients.Calls{
			Call: func(ctx context.Context) error {
				message, err := client.Messages.New(ctx, prompt)
				if err == nil && message.Content[0].Text != "hello" {
					err = fmt.Errorf("answered %s", message.RawJSON())
				}
				return err
			},
			Stream: func(ctx context.Context, piece func(string)) error {
				stream := client.Messages.NewStreaming(ctx, prompt)
				defer stream.Close()
				for stream.Next() {
					piece(stream.Current().Delta.Text)
				}
				return stream.Err()
			},
		}
	},
}

func TestAnthropicSDKGo(t *testing.T) { anthropicSDKGo.Test(t) }

// messages answers as the Messages API does.
func messages(w http.ResponseWriter, req *http.Request) {
	var asked struct{ Stream bool }
	if err := json.NewDecoder(req.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !asked.Stream {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"id":"1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hello"}]}`)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	const delta = `event: content_block_delta` + "\n" +
		`data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":%q}}` + "\n\n"
	clients.Pieces(w, fmt.Sprintf(delta, "hel"), fmt.Sprintf(delta, "lo"),
		"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
}
