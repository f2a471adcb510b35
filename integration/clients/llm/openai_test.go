package llm

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
)

var question = openai.ChatCompletionNewParams{
	Model:    "gpt",
	Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Hello?")},
}

func Example_openaiGo() {
	server := httptest.NewServer(http.HandlerFunc(chat)) // in place of api.openai.com
	defer server.Close()

	rt, err := respawn.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	client := openai.NewClient(
		option.WithHTTPClient(&http.Client{Transport: rt}),
		option.WithBaseURL(server.URL), option.WithAPIKey("key"),
	)

	answer, err := client.Chat.Completions.New(context.Background(), question)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Choices[0].Message.Content)
	// Output: hello
}

var openAIGo = clients.Client{
	Upstream: http.HandlerFunc(chat),
	Attempts: 3,
	Adopt: func(_ testing.TB, rt http.RoundTripper, url string) clients.Calls {
		client := openai.NewClient(
			option.WithHTTPClient(&http.Client{Transport: rt}),
			option.WithBaseURL(url), option.WithAPIKey("key"),
		)
		return clients.Calls{
			Call: func(ctx context.Context) error {
				answer, err := client.Chat.Completions.New(ctx, question)
				if err == nil && answer.Choices[0].Message.Content != "hello" {
					err = fmt.Errorf("answered %s", answer.RawJSON())
				}
				return err
			},
			Stream: func(ctx context.Context, piece func(string)) error {
				stream := client.Chat.Completions.NewStreaming(ctx, question)
				defer stream.Close()
				for stream.Next() {
					piece(stream.Current().Choices[0].Delta.Content)
				}
				return stream.Err()
			},
		}
	},
}

func TestOpenAIGo(t *testing.T) { openAIGo.Test(t) }
