package jaeger

import (
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A caller is a client of the gateway. Each of its requests has a trace of its
// own, as those of different users do.
type caller struct{ base string }

// A request is one that has been answered, with its trace.
type request struct {
	traceID string
	status  int
}

func (c caller) get(t *testing.T) request {
	t.Helper()
	r := request{traceID: randomHex(16)}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base+"/v1/models", nil)
	require.NoError(t, err)
	req.Header.Set("Traceparent", "00-"+r.traceID+"-"+randomHex(8)+"-01")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	r.status = resp.StatusCode
	return r
}

// randomHex is n bytes, none of them zero: ids of zeros are none, and leading
// ones would be left out by Jaeger.
func randomHex(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + rand.IntN(255))
	}
	return hex.EncodeToString(b)
}

// breakWith injects a fault into the gateway's way to its upstream; none undoes
// it.
func (c caller) breakWith(t *testing.T, fault string) {
	t.Helper()
	resp, err := http.Post(c.base+"/chaos/"+fault, "", nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

// untilAnswered sends requests until one is answered, and returns all of them,
// that one last.
func (c caller) untilAnswered(t *testing.T) []request {
	t.Helper()
	var sent []request
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		sent = append(sent, c.get(t))
		if sent[len(sent)-1].status == http.StatusOK {
			return sent
		}
		require.True(t, time.Now().Before(deadline), "not answered: %+v", sent)
	}
}
