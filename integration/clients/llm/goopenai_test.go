package llm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
	openai "github.com/sashabaranov/go-openai"
)

var hello = openai.ChatCompletionRequest{
	Model:    "gpt",
	Messages: []openai.ChatCompletionMessage{{Role: openai.ChatMessageRoleUser, Content: "Hello?"}},
}

func Example_goOpenai() {
	server := httptest.NewServer(http.HandlerFunc(chat)) // in place of api.openai.com
	defer server.Close()

	rt, err := respawn.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	config := openai.DefaultConfig("key")
	config.BaseURL = server.URL
	config.HTTPClient = &http.Client{Transport: rt}
	client := openai.NewClientWithConfig(config)

	answer, err := client.CreateChatCompletion(context.Background(), hello)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Choices[0].Message.Content)
	// Output: hello
}

var goOpenAI = clients.Client{
	Upstream: http.HandlerFunc(chat),
	Adopt: func(_ testing.TB, rt http.RoundTripper, url string) clients.Calls {
		config := openai.DefaultConfig("key")
		config.BaseURL = url
		config.HTTPClient = &http.Client{Transport: rt}
		client := openai.NewClientWithConfig(config)
		return clients.Calls{
			Call: func(ctx context.Context) error {
				answer, err := client.CreateChatCompletion(ctx, hello)
				if err == nil && answer.Choices[0].Message.Content != "hello" {
					err = fmt.Errorf("answered %v", answer)
				}
				return err
			},
			Stream: func(ctx context.Context, piece func(string)) error {
				stream, err := client.CreateChatCompletionStream(ctx, hello)
				if err != nil {
					return err
				}
				defer stream.Close()
				for {
					chunk, err := stream.Recv()
					if errors.Is(err, io.EOF) {
						return nil
					}
					if err != nil {
						return err
					}
					piece(chunk.Choices[0].Delta.Content)
				}
			},
		}
	},
}

func TestGoOpenAI(t *testing.T) { goOpenAI.Test(t) }
