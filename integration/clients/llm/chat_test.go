package llm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/respawnhttp/respawn/integration/clients"
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
