package llm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/respawnhttp/respawn/integration/clients"
	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// chat answers as an OpenAI-compatible API does, such as LiteLLM's.
func chat(w http.ResponseWriter, req *http.Request) {
	var asked struct{ Stream bool }
	if err := json.NewDecoder(req.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if asked.Stream {
		w.Header().Set("Content-Type", "text/event-stream")
		chunk := "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}]}\n\n"
		clients.Pieces(w, fmt.Sprintf(chunk, "hel"), fmt.Sprintf(chunk, "lo"), "data: [DONE]\n\n")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"}}]}`)
}

// A chat is a POST that does not say that it may be sent again. One that broke after it
// was sent is left to the SDK.
func TestAChatThatBrokeIsLeftToTheSDK(t *testing.T) {
	for name, c := range map[string]clients.Client{
		"openai-go": openAIGo, "anthropic-sdk-go": anthropicSDKGo, "go-openai": goOpenAI,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked, sent atomic.Int32
				answer := c.Upstream
				c.Upstream = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if asked.Add(1) == 1 {
						panic(http.ErrAbortHandler)
					}
					answer.ServeHTTP(w, req)
				})
				w := clients.NewWorld(t, c)
				rt := w.Respawn()
				err := w.Adopt(roundTripper(func(req *http.Request) (*http.Response, error) {
					sent.Add(1)
					return rt.RoundTrip(req)
				})).Call(t.Context())
				assert.Equal(t, c.Attempts > 1, err == nil)
				assert.Equal(t, sent.Load(), asked.Load(), "respawn has sent it again")
				w.End(rt)
			})
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
